# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stolen controller: with the key of a sealed device's login, everything is tried and nothing is changed.

Each attempt aims at ``/etc/owned`` or at something just as telling; what the device shows before and after is compared
whole, with the engine's state and but for its own records (`sealing.RECORD`).
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Fleet, archives, evidence

from . import sealing
from .engine import STATE, Engine
from .project import Project
from .sealing import ASK, PROGRAM, Thief
from .site import Site

OWNED = "/etc/owned"
INFO = json.dumps({"v": 1, "verb": "info"})
EVIL = "/tmp/evil"
#: A program of the thief in every place where Python or a shell might look for one.
PLANT = f"""
umask 022; mkdir -p {EVIL}/.local/lib/python3.11/site-packages {EVIL}/bin
printf 'import os\\nopen("{OWNED}", "w")\\n' >{EVIL}/json.py
for name in sitecustomize usercustomize os site encodings fleet_ota; do cp {EVIL}/json.py {EVIL}/$name.py; done
cp {EVIL}/*.py {EVIL}/.local/lib/python3.11/site-packages
printf '#!/bin/sh\\ntouch {OWNED}\\n' >{EVIL}/bin/fleet-ota; chmod 755 {EVIL}/bin/fleet-ota
for name in env python3 sh systemctl systemd-run dpkg openssl tar; do cp {EVIL}/bin/fleet-ota {EVIL}/bin/$name; done
cp {EVIL}/bin/fleet-ota {EVIL}/.profile; echo not-elf >{EVIL}/evil.so
"""
#: Name -> script. None may succeed in changing anything; those below may run, for they ask nothing that is forbidden.
SCRIPTS = {
    "an argument": f"{ASK} worker / {STATE} x",
    "a sealed state of mine": f"{ASK} sealed / {EVIL}",
    "an empty argument": f"{ASK} ''",
    "another command": f"sudo -n touch {OWNED}",
    "a shell": f"sudo -n -s touch {OWNED}",
    "a login shell": f"sudo -n -i touch {OWNED}",
    "sh -c": f"sudo -n /bin/sh -c 'touch {OWNED}'",
    "the interpreter": f'sudo -n /usr/bin/python3 -c \'open("{OWNED}", "w")\'',
    "sudoedit": f"EDITOR='touch {OWNED}' sudoedit -n /etc/passwd",
    "another user": f"sudo -n -u edge {PROGRAM}",
    "another group": f"sudo -n -g root {PROGRAM}",
    "a directory": f"sudo -n -D {EVIL} {PROGRAM}",
    "another root": f"sudo -n -R {EVIL} {PROGRAM}",
    "an environment": f"sudo -n PYTHONPATH={EVIL} {PROGRAM}",
    "keeping the environment": f"sudo -n -E {PROGRAM}",
    "a copy": f"cp {PROGRAM} {EVIL}/fleet-ota && sudo -n {EVIL}/fleet-ota",
    "a hard link": f"ln {PROGRAM} {EVIL}/bin/hard && sudo -n {EVIL}/bin/hard",
    "a program of that name here": f"cd {EVIL}/bin && sudo -n ./fleet-ota",
    "replacing the program": f"cp {EVIL}/bin/fleet-ota {PROGRAM} || ln -sf {EVIL}/bin/fleet-ota {PROGRAM}",
    "replacing its folder": "mv /usr/local/sbin /usr/local/old",
    "looking at the state": f"ls {STATE}",
    "a link in the inbox": f"ln -s /etc/shadow {STATE}/inbox/{'a' * 64}",
    "a link for the state": f"ln -sfn {EVIL} {STATE}",
    "the rule": "echo 'ALL ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/zz",
    "another key": "echo ssh-ed25519 AAAA >>~/.ssh/authorized_keys",
    "another home": "mv ~/.ssh ~/.old || rm -rf ~/.ssh/authorized_keys",
    "a password": "printf 'x\\nx\\n' | passwd",
    "a unit as root": f"systemd-run --wait touch {OWNED}",
    "the guard": "systemctl stop fleet-ota-guard.service; systemctl mask fleet-ota-guard.service",
    "the bus": "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager Reboot",
    "the memory of pid 1": "cat /proc/1/environ || dd if=/dev/zero of=/proc/1/mem bs=1 count=1",
    "signals": "kill -9 -1; kill -9 1",
}
#: What is allowed to run must answer as ever, whatever is around it.
SURROUNDINGS = {
    "plain": ASK,
    "everything planted": (
        f"cd {EVIL}; HOME={EVIL} PATH={EVIL}/bin:$PATH PYTHONPATH={EVIL} PYTHONHOME={EVIL} PYTHONSTARTUP={EVIL}/json.py"
        f" PYTHONINSPECT=1 PYTHONUSERBASE={EVIL}/.local LD_PRELOAD={EVIL}/evil.so LD_LIBRARY_PATH={EVIL} TMPDIR={EVIL}"
        f" BASH_ENV={EVIL}/.profile ENV={EVIL}/.profile OPENSSL_CONF={EVIL}/evil.so SSLKEYLOGFILE={EVIL}/keys"
        f" exec /usr/bin/{ASK}"
    ),
    "one of that name": f"cd {EVIL}/bin && PATH={EVIL}/bin exec /usr/bin/sudo -n fleet-ota",
    "a link to it": f"mkdir {EVIL}/link; ln -s {PROGRAM} {EVIL}/link/fleet-ota; exec sudo -n {EVIL}/link/fleet-ota",
    "a strange mask": f"umask 0777; exec {ASK}",
    "little of everything": f"ulimit -c 0; ulimit -n 20; exec {ASK}",
    "a terminal of mine": f"""exec python3 -c 'import pty; pty.spawn(["sh", "-c", "stty -echo; {ASK}"])'""",
}


@pytest.fixture(scope="module")
def site(lab_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A sealed device on which gateway 2 was confirmed after gateway 1; gateway 3 is published."""
    folder = tmp_path_factory.mktemp("thief")
    project = Project(folder / "project")
    lab_fleet.reset([1])
    site = Site(project, lab_fleet, folder / "enroll")
    site.devices = [lab_fleet[1]]
    assert site.play("enroll", fleet_ota_hosts="dev1", **sealing.variables(lab_fleet)) == 0, site.said()
    for version in ("1", "2"):
        project.publish(project.gateway(version))
        run = Site(project, lab_fleet, folder / version)
        login = {"ansible_user": sealing.LOGIN, "fleet_ota_hosts": "dev1"}
        assert run.rollout(f"gateway/{version}", **login) == 0, run.said()
    newest = project.publish(project.gateway("3"))
    # Its metadata are known from now on, which is no harm; its payload is not here.
    assert Thief(site.devices[0]).ask("apply", bundle=newest.wire())["missing"]
    return site


@pytest.fixture(scope="module")
def thief(site: Site) -> Thief:
    """Whoever stole the controller, with everything planted."""
    thief = Thief(site.devices[0])
    assert thief.sh(PLANT).returncode == 0
    return thief


@pytest.fixture
def unchanged(thief: Thief) -> Iterator[None]:
    """The device shows the same before and after, byte by byte."""
    before = sealing.everything(thief.device)
    yield
    assert evidence.differences(before, sealing.everything(thief.device)) == {}
    assert (evidence.http_json(thief.device, archives.PORT, wait=3) or {}).get("version") == "2"


def test_the_shell_of_the_login_gets_nowhere(thief: Thief, unchanged: None) -> None:
    done = {name: thief.sh(script).returncode for name, script in SCRIPTS.items()}
    assert [name for name, code in done.items() if code == 0] == []
    assert evidence.read(thief.device, OWNED) is None


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_the_program_takes_nothing_of_its_surroundings(thief: Thief, name: str) -> None:
    done = thief.sh(SURROUNDINGS[name], INFO.encode() + b"\n")
    reply = json.loads(done.stdout.splitlines()[-1])
    assert reply["sealed"]["login"] == sealing.LOGIN, done
    assert b"evil" not in done.stderr.replace(b"evil.so' from LD_PRELOAD cannot be preloaded", b"")
    assert evidence.read(thief.device, OWNED) is None


def test_no_terminal_and_no_forwarding(thief: Thief) -> None:
    plain = thief.device.ssh("tty", user=sealing.LOGIN)
    forced = subprocess.run([*plain[:1], "-tt", *plain[1:]], capture_output=True, check=False, timeout=30)
    assert b"/dev/" not in forced.stdout
    inside = subprocess.run(
        [*plain[:1], "-W", "127.0.0.1:22", *plain[1:-1]], capture_output=True, check=False, timeout=30
    )
    assert b"SSH-" not in inside.stdout


# -- through the program ---------------------------------------------------------------------------------------------


def requests(project: Project, foreign: Project) -> dict[str, dict[str, Any]]:
    """Name -> a request that must not get through."""
    mine, theirs = project.fetch("gateway/3").wire(), foreign.fetch("gateway/4").wire()
    document = json.loads(mine["documents"][mine["target"]])
    document["payloads"][0]["destination"] = "/etc"
    timestamp = json.loads(mine["timestamp"])
    digest = "a" * 64
    check = {"name": "x", "type": "command", "command": ["touch", OWNED]}
    identity = {"format": 1, "name": "dev1", "hardware": "edge-gw-1", "site": "", "labels": {}}
    first = project.fetch("gateway/1").wire()
    piece = {"length": 5, "offset": 0, "size": 5}
    unsigned = {**timestamp, "signatures": []}
    older = {**timestamp, "signed": {**timestamp["signed"], "version": 1}}
    return {
        "another trust root": {"verb": "enroll", "identity": identity, "trust_root": foreign.trust_root.read_text()},
        "another identity": {"verb": "enroll", "identity": {**identity, "hardware": "x"}, "trust_root": "{}"},
        "other settings": {"verb": "enroll", "identity": identity, "sealed": {"login": "x", "rollback": True}},
        "a path as digest": {"verb": "stage", "put": {**piece, "sha256": "../trust/root.json"}},
        "a longer path as digest": {"verb": "stage", "put": {**piece, "sha256": "../../../../etc/owned"}},
        "a file to pull": {"verb": "stage", "files": [{"sha256": digest, "length": 9}], "pull": {digest: ["file:///etc/shadow"]}},
        "a service to pull": {"verb": "apply", "bundle": mine, "pull": {digest: ["http://127.0.0.1:22/"]}},
        "another root": {"verb": "apply", "bundle": theirs, "root": EVIL},
        "another state": {"verb": "apply", "bundle": theirs, "state_dir": EVIL},
        "another state by dots": {"verb": "info", "state_dir": f"{STATE}/../../../{EVIL}"},
        "another repository": {"verb": "apply", "bundle": theirs},
        "a release of another repository": {"verb": "apply", "bundle": {**mine, "documents": theirs["documents"]}},
        "its channel": {"verb": "apply", "bundle": {**mine, "roles": theirs["roles"]}},
        "a changed release": {"verb": "apply", "bundle": {**mine, "documents": {mine["target"]: json.dumps(document)}}},
        "no signature": {"verb": "apply", "bundle": {**mine, "timestamp": json.dumps(unsigned)}},
        "older metadata": {"verb": "apply", "bundle": {**mine, "timestamp": json.dumps(older)}},
        "an older release": {"verb": "apply", "bundle": first},
        "an older release retried": {"verb": "apply", "bundle": first, "retry_rejected": True},
        "nothing as bundle": {"verb": "apply", "bundle": {}},
        "no guard": {"verb": "apply", "bundle": mine, "guard": "none"},
        "a guard that dies": {"verb": "apply", "bundle": mine, "guard": "process"},
        "for ever": {"verb": "apply", "bundle": mine, "deadline": 10**9},
        "logs to take back": {"verb": "apply", "bundle": mine, "protect": ["/var/log"]},
        "the whole disk": {"verb": "apply", "bundle": mine, "protect": ["/usr", "/var", "/etc"]},
        "a command as check": {"verb": "health", "checks": [check]},
        "a snapshot": {"verb": "snapshot", "action": "create", "name": "x", "paths": ["/etc"]},
        "a snapshot put back": {"verb": "snapshot", "action": "restore", "name": "x"},
        "without transaction": {"verb": "install", "bundle": mine},
        "a downgrade": {"verb": "rollback", "name": "gateway", "guard": "auto"},
        "a verb of the inside": {"verb": "worker"},
        "another protocol": {"verb": "info", "v": 2},
    }  # fmt: skip


def test_nothing_forbidden_gets_through_the_program(thief: Thief, site: Site, unchanged: None, tmp_path: Path) -> None:
    foreign = Project(tmp_path / "foreign")
    foreign.publish(foreign.gateway("4"))
    answers = {name: thief.ask(data=b"12345", **entry) for name, entry in requests(site.project, foreign).items()}
    codes = {name: answer.get("code") for name, answer in answers.items()}
    assert {name: answer for name, answer in answers.items() if answer.get("outcome") != "refused"} == {}
    by_signature = [
        "another repository", "a release of another repository", "its channel", "a changed release", "no signature",
        "older metadata", "an older release", "nothing as bundle",
    ]  # fmt: skip
    assert {name for name, code in codes.items() if code != "SEALED"} == set(by_signature)
    assert codes["an older release"] == "ROLLBACK"


@pytest.mark.parametrize("content", [b"", b"{\n", b"[]\n", b"\0" * 70_000_000, b"{" * 200_000 + b"\n"])
def test_whatever_is_said_it_answers_and_ends(thief: Thief, content: bytes) -> None:
    done = thief.sh(ASK, content, timeout=120)
    assert json.loads(done.stdout)["error"]["code"] in ("ENGINE", "SEALED")


def test_closed_and_stopped_sessions_hold_nothing_up(thief: Thief, unchanged: None) -> None:
    thief.sh(f"{ASK} <&- >&- 2>&-")
    # A terminal of the thief's own, and every key that ends or stops a program, while a piece is arriving.
    script = f"""
import os, pty, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp("sudo", ["sudo", "-n", "{PROGRAM}"])
put = '{{"v": 1, "verb": "stage", "put": {{"sha256": "{"b" * 64}", "length": 9, "offset": 0, "size": 9}}}}'
os.write(fd, put.encode() + b"\\n12")
time.sleep(1)
os.write(fd, b"\\x1a\\x03\\x1c")
time.sleep(1)
"""
    encoded = base64.b64encode(script.encode()).decode()
    thief.sh(f"echo {encoded} | base64 -d >{EVIL}/stop.txt; python3 {EVIL}/stop.txt")
    assert thief.ask("status", wait=0)["state"] == "confirmed"
    assert Engine(thief.device).transaction()["state"] == "confirmed"


def test_files_swapped_while_they_are_applied(thief: Thief, site: Site) -> None:
    """The release itself is signed, so it may be installed; what is installed is what was signed."""
    before = sealing.everything(thief.device)
    bundle = site.project.fetch("gateway/3")
    (entry,) = bundle.payloads()
    content = bundle.payload(entry["sha256"]).read_bytes()
    whole = {"sha256": entry["sha256"], "length": len(content), "offset": 0, "size": len(content)}
    line = json.dumps({"v": 1, "verb": "stage", "put": whole}).encode() + b"\n"
    held = thief.start(ASK)
    assert held.stdin
    held.stdin.write(line)
    held.stdin.flush()
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for offset in (0, len(content) // 2):
                piece = {**whole, "offset": offset, "size": len(content) - offset}
                thief.ask("stage", bytes(len(content) - offset), put=piece)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _attempt in range(20):
            thief.ask("stage", content, put=whole)
            reply = thief.ask("apply", bundle=bundle.wire(), rollout="thief", wait=60)
            if reply.get("state") == "unconfirmed":
                break
            with contextlib.suppress(BrokenPipeError):
                held.stdin.write(b"x")
                held.stdin.flush()
    finally:
        stop.set()
        swapping.join()
        held.kill()
        held.wait()
    while reply.get("missing"):
        # The swapping won every time, and may delay, no more. An honest controller goes on from what is there; if that
        # gives other bytes they are forgotten, and it begins anew.
        offset = reply["missing"][0]["offset"]
        thief.ask("stage", content[offset:], put={**whole, "offset": offset, "size": len(content) - offset})
        reply = thief.ask("apply", bundle=bundle.wire(), rollout="thief", wait=60)
    assert reply["state"] == "unconfirmed", reply
    installed = evidence.tree(thief.device, [f"{archives.DESTINATION}/releases/3"])
    assert thief.sh("pkill -9 -f pyz; kill -9 $(pgrep -f fleet-ota)").returncode != 0
    reply = thief.ask("restore", rollout="thief", wait=60)
    assert reply["outcome"] == "restored", reply
    expected = {f"{archives.DESTINATION}/releases/3/VERSION", f"{archives.DESTINATION}/releases/3/bin/gateway"}
    assert expected <= set(installed)
    after = sealing.everything(thief.device)
    # newer signed metadata, that this release went back, and copies of the records
    records = ("/trust", "/installed.json", "/kept", "/snapshots")
    changed = [
        path for path in evidence.differences(before, after) if not path.startswith(tuple(STATE + r for r in records))
    ]
    assert changed in ([], [STATE])
    assert thief.ask("apply", bundle=bundle.wire(), rollout="again")["code"] == "REJECTED"


def test_the_device_is_still_an_honest_ones(site: Site, thief: Thief) -> None:
    site.project.publish(site.project.gateway("5"))
    run = Site(site.project, site.fleet, site.journals.parent / "after")
    login = {"ansible_user": sealing.LOGIN, "fleet_ota_hosts": "dev1"}
    assert run.rollout("gateway/5", **login) == 0, run.said()
    assert run.outcomes() == {"dev1": ("updated", None)}
