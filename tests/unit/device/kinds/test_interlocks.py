# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A device says not now: each kind as it holds, lets go and cannot tell; and what that means for an update."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base import schema
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds import interlocks
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds import interlocks as notnow
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds.interlocks import logged_in
from ansible_collections.fleet.ota.plugins.module_utils._device.system import command
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout

from ..conftest import Device, Publisher
from ..transaction.test_transaction import apply, update

pytestmark = pytest.mark.one_python

HOLD = {"name": "batch", "type": "file", "path": "/run/batch"}
Entry = t.Dict[str, t.Any]


def says(root: Path, entry: Entry) -> str | None:
    """What one interlock answers: None to go, else why not."""
    found = interlocks.held(Layout(str(root)), [{"name": "x", **entry}], "here")
    return found[0].reason if found else None


def cannot_tell(root: Path, entry: Entry) -> bool:
    """Whether the entry's ``unknown`` decides, and holds when it does not say."""
    reason = says(root, entry)
    assert says(root, {**entry, "unknown": "go"}) is None or not (reason or "").startswith("cannot tell")
    return bool(reason and reason.startswith("cannot tell: "))


def problems(*entries: t.Any) -> list[str]:
    """What is wrong with a list of interlocks."""
    found = schema.Problems()
    interlocks.validate("interlocks", list(entries), found)
    return found.found


# -- kinds -----------------------------------------------------------------------------------------------------------


def test_file(tmp_path: Path) -> None:
    there, missing = {"type": "file", "path": "/run/batch"}, {"type": "file", "path": "/run/go", "absent": True}
    (tmp_path / "run").mkdir()
    assert says(tmp_path, there) is None
    assert says(tmp_path, missing) == "/run/go is not there"
    (tmp_path / "run/batch").symlink_to("nowhere")
    (tmp_path / "run/go").write_text("")
    assert says(tmp_path, there) == "/run/batch is there", "a link that leads nowhere is there"
    assert says(tmp_path, missing) is None
    assert says(tmp_path, {"type": "file", "path": "/run/go/below"}) is None
    assert cannot_tell(tmp_path, {"type": "file", "path": "/" + "x" * 300})


@pytest.mark.parametrize(
    ("script", "held"),
    [
        ("exit 0", None),
        ("echo batch 7 runs; exit 75", "says batch 7 runs"),
        ("exit 75", "says not now"),
        ("echo broken >&2; exit 1", "cannot tell: /bin/sh ended with 1: broken"),
        ("kill -9 $$", "cannot tell"),
        ("test $FLEET_OTA_ROOT != / || exit 75", None),
    ],
)
def test_command(tmp_path: Path, script: str, held: str | None) -> None:
    found = says(tmp_path, {"type": "command", "argv": ["/bin/sh", "-c", script]})
    assert found is None if held is None else found is not None and held in found


def test_a_command_that_is_not_there_or_does_not_end_cannot_tell(tmp_path: Path) -> None:
    assert cannot_tell(tmp_path, {"type": "command", "argv": ["/nowhere/at/all"]})
    began = time.monotonic()
    assert cannot_tell(tmp_path, {"type": "command", "argv": ["sleep", "60"], "timeout": 0.1})
    assert time.monotonic() - began < 10


def test_all_are_asked_side_by_side(tmp_path: Path) -> None:
    """Each waits until all the others are there."""
    script = "touch %s/$0; while [ $(ls %s | wc -l) -lt 5 ]; do sleep 0.02; done; exit 75" % (tmp_path, tmp_path)
    entries = [{"name": str(n), "type": "command", "argv": ["sh", "-c", script, str(n)]} for n in range(5)]
    assert [one.reason for one in interlocks.held(Layout("/"), entries, "x")] == ["sh says not now"] * 5


@pytest.fixture()
def server() -> t.Iterator[tuple[str, list[int]]]:
    """A web server that answers with the last status of a list."""
    status = [200]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status[-1])
            self.send_header("Location", "/ok")
            self.end_headers()

        def log_message(self, *_: t.Any) -> None:
            pass

    found = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield "http://user:secret@127.0.0.1:%d/go" % found.server_port, status
    found.shutdown()
    thread.join()
    found.server_close()


def test_http(tmp_path: Path, server: tuple[str, list[int]]) -> None:
    url, status = server
    entry = {"type": "http", "url": url.replace("user:secret@", "")}
    assert says(tmp_path, entry) is None
    for code in (204, 302, 404, 503):
        status.append(code)
        assert (says(tmp_path, entry) or "").endswith(" answers %d" % code)
    reason = says(tmp_path, {"type": "http", "url": "http://user:secret@127.0.0.1:1/x"})
    assert reason is not None and reason.startswith("cannot tell") and "secret" not in reason
    assert cannot_tell(tmp_path, {"type": "http", "url": "http://127.0.0.1:1/"})


def test_a_server_that_goes_on_and_on_cannot_tell(tmp_path: Path) -> None:
    """A header now and then, for ever: no silence is long."""
    ended = threading.Event()

    def serve(listening: socket.socket) -> None:
        listening.settimeout(5)
        connection, _address = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not ended.wait(0.02):
                connection.sendall(b"X-More: yes\r\n")
            connection.sendall(b"\r\n")

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        watchdog = threading.Timer(5, ended.set)  # or this would hang where it should fail
        watchdog.start()
        url = "http://127.0.0.1:%d/" % listening.getsockname()[1]
        found = says(tmp_path, {"type": "http", "url": url, "timeout": 0.2})
        assert not ended.is_set()
        ended.set()
        thread.join()
        watchdog.cancel()
    assert found == "cannot tell: %s does not answer within 0.2 s" % url


def supply(root: Path, name: str, **values: t.Any) -> None:
    folder = root / "sys/class/power_supply" / name
    folder.mkdir(parents=True)
    for key, value in values.items():
        (folder / key).write_text("%s\n" % value)


@pytest.mark.parametrize(
    ("supplies", "least", "held"),
    [
        ([], None, None),
        ([{"type": "Battery", "scope": "Device", "capacity": 3}], None, None),
        ([{"type": "Mains", "online": 1}, {"type": "Battery", "status": "Discharging", "capacity": 9}], 50, None),
        ([{"type": "USB", "online": 1}], None, None),
        ([{"type": "Mains", "online": 0}, {"type": "Battery", "capacity": 90}], None, "runs on battery"),
        ([{"type": "Mains", "online": 0}, {"type": "Battery", "capacity": 49}], 50, "has 49 %, not 50 %"),
        ([{"type": "Mains", "online": 0}, {"type": "Battery", "capacity": 50}], 50, None),
        ([{"type": "Battery", "capacity": 10}, {"type": "Battery", "capacity": 60}], 50, None),
        ([{"type": "Battery", "status": "Charging", "capacity": 10}], 50, None),
        ([{"type": "Battery", "present": 0}, {"type": "Mains", "online": 0}], 50, "cannot tell"),
        ([{"type": "Battery", "status": "Discharging"}], 50, "cannot tell"),
    ],
)
def test_power(tmp_path: Path, supplies: list[dict[str, t.Any]], least: int | None, held: str | None) -> None:
    for index, values in enumerate(supplies):
        supply(tmp_path, str(index), **values)
    found = says(tmp_path, {"type": "power", **({} if least is None else {"min_percent": least})})
    assert found is None if held is None else found is not None and held in found


def test_temperature(tmp_path: Path) -> None:
    entry = {"type": "temperature", "max": 70}
    assert cannot_tell(tmp_path, entry)
    for name, kind, temp in (("thermal_zone0", "cpu", "65000"), ("thermal_zone1", "board", "70001")):
        folder = tmp_path / "sys/class/thermal" / name
        folder.mkdir(parents=True)
        (folder / "type").write_text(kind + "\n")
        (folder / "temp").write_text(temp + "\n")
    assert says(tmp_path, entry) == "board has 70.0 degrees, more than 70"
    assert says(tmp_path, {**entry, "zone": "cpu"}) is None
    assert cannot_tell(tmp_path, {**entry, "zone": "gpu"})
    (tmp_path / "sys/class/thermal/thermal_zone1/temp").write_text("-40000\n")
    assert says(tmp_path, entry) is None


def test_free_space(tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    assert says(tmp_path, {"type": "free_space", "path": "/srv", "min_bytes": 1}) is None
    assert says(tmp_path, {"type": "free_space", "path": "/", "min_bytes": 1}) is None
    assert "bytes are free" in (says(tmp_path, {"type": "free_space", "path": "/srv", "min_bytes": 1 << 60}) or "")
    assert cannot_tell(tmp_path, {"type": "free_space", "path": "/none", "min_bytes": 1})


def test_a_directory_has_neither_units_nor_sessions(tmp_path: Path) -> None:
    assert cannot_tell(tmp_path, {"type": "unit", "unit": "press.service"})
    assert cannot_tell(tmp_path, {"type": "logged_in"})


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Stand-ins for programs that the machine of a test may lack."""
    folder.mkdir(exist_ok=True)
    for name, text in scripts.items():
        (folder / name).write_text("#!/bin/sh\n" + text)
        (folder / name).chmod(0o755)
    monkeypatch.setattr(command, "PATH", "%s:%s" % (folder, command.PATH))
    monkeypatch.setenv("PATH", "%s:%s" % (folder, os.environ["PATH"]))


@pytest.mark.parametrize(
    ("state", "held"),
    [("active", True), ("activating", True), ("reloading", True), ("inactive", False), ("failed", False)],
)
def test_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, held: bool) -> None:
    monkeypatch.setattr(command, "has_systemd", lambda: True)
    programs(tmp_path / "bin", monkeypatch, systemctl='test "$3" = press.service; echo %s; exit 3' % state)
    found = says(Path("/"), {"type": "unit", "unit": "press.service"})
    assert (found == "press.service is " + state) if held else found is None


def test_a_systemd_that_says_nothing_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "has_systemd", lambda: True)
    programs(tmp_path / "bin", monkeypatch, systemctl="echo Failed to connect to bus >&2; exit 1")
    assert cannot_tell(Path("/"), {"type": "unit", "unit": "press.service"})


SESSIONS = """
test $1 = list-sessions && { echo '1 0 root seat0'; echo '2 1000 eve'; exit; }
cat <<END
Name=root
TTY=
Type=tty
Class=user
State=active
IdleHint=no

Name=eve
TTY=%(tty)s
Type=%(type)s
Class=user
State=%(state)s
IdleHint=yes
IdleSinceHint=1000000
END
"""


@pytest.mark.parametrize(
    ("session", "entry", "held"),
    [
        ({}, {}, True),
        ({"tty": ""}, {}, False),
        ({"state": "closing"}, {}, False),
        ({}, {"except": ["eve"]}, False),
        ({}, {"max_idle": 600}, True),
        ({"type": "wayland"}, {"max_idle": 600}, False),
        ({"type": "wayland"}, {}, True),
    ],
)
def test_logged_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: dict[str, str], entry: Entry, held: bool
) -> None:
    script = SESSIONS % {"tty": "pts/x", "type": "tty", "state": "active", **session}
    programs(tmp_path / "bin", monkeypatch, loginctl=script, who="exit 1")
    found = says(Path("/"), {"type": "logged_in", **entry})
    assert (found == "eve is logged in at pts/x") if held else found is None


def test_how_long_a_terminal_was_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    main, other = os.openpty()
    try:
        name = os.ttyname(other)
        os.utime(name, (time.time() - 1000,) * 2)
        assert 990 < (logged_in._untouched(name[len("/dev/") :]) or 0) < 1100
    finally:
        os.close(main)
        os.close(other)


def test_a_logind_that_knows_nobody_is_not_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logged_in, "UTMP", str(tmp_path))
    programs(tmp_path / "bin", monkeypatch, loginctl="exit 0", who="echo 'eve pts/x 2026-01-01 12:00 (10.0.0.1)'")
    assert says(Path("/"), {"type": "logged_in"}) == "eve is logged in at pts/x"
    monkeypatch.setattr(logged_in, "UTMP", str(tmp_path / "none"))
    assert says(Path("/"), {"type": "logged_in"}) is None


@pytest.mark.parametrize(
    ("screen", "user", "place", "held"),
    [
        ("x11", "eve", ":0", None),  # logind knows how long nothing was typed there
        ("x11", "eve", "pts/x", "eve is logged in at pts/x"),  # another terminal of hers
        ("x11", "bob", ":0", "bob is logged in at :0"),  # of whom logind knows nothing
        ("tty", "eve", ":0", "eve is logged in at"),
    ],
)
def test_a_screen_that_utmp_lists_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screen: str, user: str, place: str, held: str | None
) -> None:
    monkeypatch.setattr(logged_in, "UTMP", str(tmp_path))
    script = SESSIONS % {"tty": "", "type": screen, "state": "active"}
    programs(tmp_path / "bin", monkeypatch, loginctl=script, who="echo '%s %s 2026-01-01 12:00 (:0)'" % (user, place))
    found = says(Path("/"), {"type": "logged_in", "max_idle": 600})
    assert found is None if held is None else found is not None and found.startswith(held)


def test_without_logind_and_utmp_nobody_can_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path / "bin", monkeypatch, loginctl="exit 1", who="exit 1")
    assert cannot_tell(Path("/"), {"type": "logged_in"})


def test_a_kind_that_breaks_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interlocks.module("file"), "look", lambda entry, context: 1 / 0)
    assert cannot_tell(tmp_path, HOLD)


# -- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        "press",
        {},
        {"type": "file", "path": "/x"},
        {"name": "x", "type": "fuse"},
        {"name": "x", "type": ["file"]},
        {"name": "x", "type": "_sysfs"},
        {"name": "x", "type": "file"},
        {"name": "x", "type": "file", "path": "x"},
        {"name": "x", "type": "file", "path": "/x", "absent": "yes"},
        {"name": "x", "type": "file", "path": "/x", "unknown": "maybe"},
        {"name": "x", "type": "file", "path": "/x", "timeout": 31},
        {"name": "x", "type": "file", "path": "/x", "timeout": True},
        {"name": "x", "type": "file", "path": "/x", "skip": True},
        {"name": "x\n", "type": "file", "path": "/x"},
        {"name": "x", "type": "unit", "unit": "--help"},
        {"name": "x", "type": "command", "argv": "reboot"},
        {"name": "x", "type": "command", "argv": []},
        {"name": "x", "type": "http", "url": "file:///etc/shadow"},
        {"name": "x", "type": "power", "min_percent": 101},
        {"name": "x", "type": "temperature"},
        {"name": "x", "type": "temperature", "max": float("nan")},
        {"name": "x", "type": "free_space", "path": "/srv"},
        {"name": "x", "type": "logged_in", "max_idle": -1},
    ],
)
def test_mistakes_are_told(entry: t.Any) -> None:
    assert problems(entry)


def test_what_is_right_is_right() -> None:
    assert set(interlocks.kinds()) == {
        "command", "file", "free_space", "http", "logged_in", "power", "temperature", "unit",
    }  # fmt: skip
    assert not problems(HOLD, {"name": "p", "type": "power", "unknown": "go", "timeout": 1})
    assert problems(HOLD, HOLD) and problems(*[dict(HOLD, name="n%d" % n) for n in range(33)])
    assert {kind for kind in interlocks.kinds() if interlocks.is_harmless(kind)} == {
        "power", "temperature", "free_space", "logged_in",
    }  # fmt: skip


# -- the device's own files ------------------------------------------------------------------------------------------


def own(root: Path, entries: t.Any, name: str = "press.json") -> Path:
    """Write one of the device's own files."""
    path = root / "etc/fleet-ota/interlocks.d" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o755)
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    path.chmod(0o644)
    return path


def refused(root: Path, given: t.Any = None) -> str:
    with pytest.raises(OtaError) as error:
        notnow.ask(Layout(str(root)), given)
    return error.value.code


def test_the_devices_own_files_count_always(tmp_path: Path) -> None:
    notnow.ask(Layout(str(tmp_path)), None)
    own(tmp_path, [dict(HOLD, path="/etc")])
    own(tmp_path, "what an editor left", ".press.json.swp")
    with pytest.raises(OtaError) as error:
        notnow.ask(Layout(str(tmp_path)), [dict(HOLD, path="/etc/fleet-ota")])
    assert (error.value.code, error.value.outcome) == ("INTERLOCK", "deferred")
    assert [one["source"] for one in error.value.detail["held"]] == [
        "/etc/fleet-ota/interlocks.d/press.json", "the rollout",
    ]  # fmt: skip


@pytest.mark.parametrize("content", ["{", "{}", '[{"name": "x"}]', "\udc80"])
def test_a_file_of_its_own_that_is_wrong_holds_everything(tmp_path: Path, content: str) -> None:
    path = own(tmp_path, "")
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert refused(tmp_path) == "INTERLOCK_SPEC"
    assert OtaError("INTERLOCK_SPEC", "").outcome == "refused"


def test_a_file_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    path = own(tmp_path, [])
    notnow.ask(Layout(str(tmp_path)), None)
    path.chmod(0o666)
    assert refused(tmp_path) == "INTERLOCK_SPEC"
    path.chmod(0o644)
    path.parent.chmod(0o777)
    assert refused(tmp_path) == "INTERLOCK_SPEC"
    path.parent.chmod(0o755)
    notnow.ask(Layout(str(tmp_path)), None)


def test_a_path_that_is_no_folder_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "etc/fleet-ota").mkdir(parents=True)
    (tmp_path / "etc/fleet-ota/interlocks.d").write_text("")
    assert refused(tmp_path) == "INTERLOCK_SPEC"


# -- an update -------------------------------------------------------------------------------------------------------


def test_a_held_device_is_deferred_untouched_and_comes_again(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    publisher.release(2)
    own(device.root, [HOLD])
    (device.root / "run").mkdir()
    (device.root / "run/batch").write_text("")
    before, state = device.tree(), (device.state / "transaction.json").read_text()
    for options in ({}, {"check": True}):
        reply = apply(device, publisher, **options)
        assert (reply["outcome"], reply["error"]["code"]) == ("deferred", "INTERLOCK"), reply
    assert "missing" not in reply, "nothing is pushed to a device that says not now"
    assert (device.tree(), (device.state / "transaction.json").read_text()) == (before, state)
    assert not (device.state / "inbox").exists() or not list((device.state / "inbox").iterdir())
    (device.root / "run/batch").unlink()
    assert apply(device, publisher, interlocks=[HOLD])["state"] == "unconfirmed"
    (device.root / "run/batch").write_text("")
    assert device.call("confirm")["outcome"] == "updated", "what is installed is confirmed"
    reply = device.call("rollback", rollout="back", wait=20)
    assert (reply["outcome"], reply["error"]["code"]) == ("deferred", "INTERLOCK"), "also the way back asked for"
    assert apply(device, publisher)["outcome"] == "updated", "there is nothing to hold on a device that has it"
    (device.root / "run/batch").unlink()
    assert device.call("rollback", rollout="back", wait=20)["state"] == "unconfirmed"


def test_what_begins_to_hold_while_a_release_is_prepared_still_holds(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    before = device.tree()
    say = ["/bin/sh", "-c", "mkdir -p $FLEET_OTA_ROOT/var/run; touch $FLEET_OTA_ROOT/var/run/batch"]
    publisher.release(2, quiesce=[say], resume=[["true"]])
    reply = apply(device, publisher, interlocks=[dict(HOLD, path="/var/run/batch")])
    assert (reply["outcome"], reply["code"]) == ("deferred", "INTERLOCK"), reply
    assert device.tree() == before
    assert len(list((device.state / "snapshots").iterdir())) == 1
    (device.root / "var/run/batch").unlink()
    publisher.release(2)
    again = apply(device, publisher, interlocks=[dict(HOLD, path="/var/run/batch")], generation=2)
    assert again["state"] == "unconfirmed", again


def test_a_guard_goes_back_whatever_interlocks_say(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    publisher.release(2)
    assert apply(device, publisher, interlocks=[HOLD])["state"] == "unconfirmed"
    own(device.root, [HOLD])
    (device.root / "run").mkdir()
    (device.root / "run/batch").write_text("")
    assert device.call("restore", wait=20)["outcome"] == "restored"
    assert device.read("opt/app/current/bin/app") == "app 1"


def test_mistakes_in_a_request_are_refused_before_anything(device: Device, publisher: Publisher) -> None:
    publisher.release(1)
    before = device.tree()
    reply = apply(device, publisher, interlocks=[{"name": "x", "type": "fuse"}])
    assert (reply["outcome"], reply["error"]["code"]) == ("refused", "INTERLOCK_SPEC"), reply
    assert device.tree() == before and device.call("status")["transaction"] is None


def test_install_alone_is_held_by_the_devices_own(device: Device, publisher: Publisher) -> None:
    publisher.release(1)
    own(device.root, [dict(HOLD, path="/etc")])
    reply = device.call("install", bundle=publisher.repository.bundle())
    assert reply["error"]["code"] == "INTERLOCK"


def test_info_tells_what_a_device_understands(device: Device) -> None:
    assert device.call("info")["capabilities"]["interlocks"] == interlocks.kinds()
