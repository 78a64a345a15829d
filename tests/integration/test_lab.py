# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself: what tests of the collection rely on."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Device, Fleet, LabError, archives, debs, evidence, host, network, service
from tests.lab.fleet import sweep
from tests.lab.plugin import Clean, look_at

REPOSITORY = Path(__file__).resolve().parents[2]


def over_ssh(device: Device, command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
    return subprocess.run(device.ssh(command, user=user), capture_output=True, text=True, check=False, timeout=30)


@pytest.fixture
def other_fleet(lab_host: None) -> Iterator[Fleet]:
    """A second fleet, not yet up."""
    fleet = Fleet(f"u{os.getpid()}")
    yield fleet
    fleet.down()


def traces(fleet: Fleet) -> list[str]:
    """Everything on this machine that carries the fleet's name."""
    word = f"fleet-ota-lab-{fleet.name}"
    groups = host.cgroup_mount()
    assert groups is not None
    found = [str(path) for path in (groups / "fleet-ota-lab").glob(f"{word}*")]
    found += [str(path) for path in network.NAMESPACES.glob(f"{word}*")]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if word in line]
    found += [line for line in host.run(["losetup", "-a"]).splitlines() if word in line]
    found += [str(fleet.folder)] if fleet.folder.exists() else []
    return found


def test_a_device_is_a_real_system(lab_fleet: Fleet, lab_device: Device) -> None:
    seen = look_at(lab_fleet, lab_device)
    assert seen.check_output("cat /proc/1/comm") == "systemd"
    assert seen.check_output("systemctl is-system-running") == "running"
    assert seen.service("ssh").is_running
    assert seen.file("/etc/hostname").content_string == "dev1\n"
    for program in ("python3", "openssl", "curl", "ps", "btrfs", "sudo"):
        assert seen.exists(program)
    assert over_ssh(lab_device, "sudo -n id -un", user="edge").stdout == "root\n"


def test_the_inventory_works_from_here_and_checks_host_keys(lab_fleet: Fleet, lab_device: Device) -> None:
    ansible = [sys.executable, "-m", "ansible", "adhoc", "-i", str(lab_fleet.inventory), lab_device.name]
    command = [*ansible, "-m", "ansible.builtin.ping"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert '"ping": "pong"' in done.stdout, done.stderr
    lab_fleet.forget_connections()
    known = lab_fleet.folder / "known_hosts"
    text = known.read_text()
    try:
        keys = text.splitlines()
        known.write_text(f"{lab_device.address} {keys[1].split(' ', 1)[1]}\n")  # the key of another device
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert "UNREACHABLE" in done.stdout
        assert "Host key verification failed" in done.stdout
    finally:
        known.write_text(text)


def test_a_power_cut_ends_everything_and_keeps_the_disk(lab_device: Device) -> None:
    lab_device.run(["sh", "-c", "echo kept >/root/file"])
    lab_device.run(["systemd-run", "--unit=sleeper", "sleep", "1000"])
    before = lab_device.boot_id
    with subprocess.Popen(lab_device.ssh("sleep", "1000")) as session:
        lab_device.cut()
        assert not lab_device.on
        assert session.poll() is None  # nobody told the peer
        lab_device.start()
        session.kill()
    assert evidence.read(lab_device, "/root/file") == "kept\n"
    assert lab_device.run(["systemctl", "is-active", "sleeper"], check=False).stdout == "inactive\n"
    assert lab_device.boot_id != before
    assert lab_device.boots == 2


def test_a_reboot_starts_what_is_enabled_again(lab_device: Device) -> None:
    before = lab_device.boot_id
    lab_device.reboot()
    assert lab_device.boot_id != before
    assert over_ssh(lab_device, "hostname").stdout == "dev1\n"


def test_a_pulled_cable_stays_pulled_over_a_power_cut(lab_fleet: Fleet, lab_device: Device) -> None:
    def silent() -> bool:
        try:
            network.wait_for_banner(lab_fleet.namespace, [lab_device.address], timeout=0.5)
        except LabError:
            return True
        return False

    lab_device.unplug()
    assert silent()
    assert lab_device.run(["hostname"]).stdout == "dev1\n"
    lab_device.cut()
    lab_device.start()
    assert silent()
    lab_device.plug()
    # at once, although somebody looked for it in vain until now
    assert "REACHABLE" in host.run(["ip", "-n", lab_fleet.namespace, "neigh", "show", lab_device.address])
    assert over_ssh(lab_device, "true").returncode == 0


def test_a_reset_leaves_nothing_of_before_but_the_host_key(lab_devices: Clean) -> None:
    first, second = lab_devices(2)
    new = evidence.tree(first)
    key = evidence.read(first, "/etc/ssh/ssh_host_ed25519_key.pub")
    first.run(["sh", "-c", "echo changed >/etc/issue; rm /usr/bin/curl; chmod 700 /opt; useradd someone"])
    second.run(["touch", "/root/second"])
    changed = evidence.differences(new, evidence.tree(first))
    assert {"/etc/issue", "/usr/bin/curl", "/opt", "/etc/passwd"} <= changed.keys()
    first.reset()
    assert evidence.differences(new, evidence.tree(first)) == {}
    assert evidence.read(first, "/etc/ssh/ssh_host_ed25519_key.pub") == key
    assert evidence.read(second, "/root/second") == ""


def test_devices_have_no_way_out(lab_fleet: Fleet, lab_device: Device) -> None:
    assert lab_device.run(["ip", "route"]).stdout.split()[0] == "10.213.0.0/16"
    assert "default" not in lab_device.run(["ip", "route"]).stdout
    routes = subprocess.run(lab_fleet.enter(["ip", "route"]), capture_output=True, text=True, check=True)
    assert "default" not in routes.stdout


def test_devices_reach_a_server_of_this_process(lab_fleet: Fleet, lab_device: Device, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    with lab_fleet.serve(tmp_path) as url:
        assert lab_device.run(["curl", "-s", f"{url}/file"]).stdout == "content"
        address = url.rpartition("/")[2]
        with pytest.raises(OSError, match=r"unreachable|timed out|refused"):
            http.client.HTTPConnection(address, timeout=1).connect()  # not from the normal namespace


def test_two_fleets_do_not_know_each_other(lab_fleet: Fleet, other_fleet: Fleet, lab_device: Device) -> None:
    other_fleet.up(2, owner=os.getpid())
    lab_device.run(["touch", "/root/mine"])
    assert over_ssh(other_fleet[1], "ls /root").stdout == ""
    other_fleet[1].cut()
    assert over_ssh(lab_device, "ls /root").stdout == "mine\n"
    other_fleet.down()
    assert traces(other_fleet) == []
    assert over_ssh(lab_device, "true").returncode == 0


@pytest.mark.parametrize("kind", ["btrfs", "ext4"])
def test_image_disks(other_fleet: Fleet, kind: str) -> None:
    other_fleet.up(1, kind=kind, owner=os.getpid())
    device = other_fleet[1]
    assert device.run(["findmnt", "-n", "-o", "FSTYPE", "/"]).stdout.strip() == kind
    device.run(["sh", "-c", "echo kept >/synced; sync; echo gone >/unsynced"])
    if kind == "ext4":
        device.cut(lose_unsynced=True)
        device.start()
        assert (evidence.read(device, "/synced"), evidence.read(device, "/unsynced")) == ("kept\n", None)
    else:
        device.run(["btrfs", "subvolume", "snapshot", "/", "/.btrfs/@old"])
        device.run(["rm", "/synced"])
        device.run(["sh", "-ec", "cd /.btrfs; mv @ @new; mv @old @; btrfs subvolume set-default @"])
        device.reboot()
        assert evidence.read(device, "/synced") == "kept\n"
    device.reset()
    assert evidence.read(device, "/synced") is None
    other_fleet.down()
    assert traces(other_fleet) == []


def test_leftovers_of_a_killed_session_are_swept(other_fleet: Fleet) -> None:
    script = f"import os, signal; from tests.lab import Fleet; Fleet({other_fleet.name!r}).up(2, owner=os.getpid()); "
    killed = [sys.executable, "-c", script + "os.kill(os.getpid(), signal.SIGKILL)"]
    assert subprocess.run(killed, cwd=REPOSITORY, check=False, timeout=60).returncode == -9
    assert traces(other_fleet) != []
    assert other_fleet.devices == []  # this object saw nothing of it
    assert other_fleet.name in sweep()
    assert traces(other_fleet) == []


def test_down_removes_what_another_process_brought_up(other_fleet: Fleet) -> None:
    script = f"import os; from tests.lab import Fleet; Fleet({other_fleet.name!r}).up(2, owner=os.getppid())"
    subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=True, timeout=60)
    other_fleet.down()
    assert traces(other_fleet) == []


def test_a_half_made_fleet_comes_up_all_the_same(other_fleet: Fleet) -> None:
    other_fleet.up(1, owner=os.getpid())
    other_fleet[1].cut()
    network.remove(other_fleet.namespace)
    keys = other_fleet.folder / "d2/seed/etc/ssh"
    keys.mkdir(parents=True)
    (keys / "ssh_host_ed25519_key").write_text("half a ke")
    host.run(["ip", "netns", "add", other_fleet[1].machine.replace("d1", "d2")])
    other_fleet.up(2, owner=os.getpid())
    assert [over_ssh(device, "hostname").stdout for device in other_fleet.devices] == ["dev1\n", "dev2\n"]


def test_the_command_tells_what_is_wrong(lab_fleet: Fleet, capfd: pytest.CaptureFixture[str]) -> None:
    def lab(*arguments: str) -> int:
        command = [sys.executable, "-m", "tests.lab", "--name", lab_fleet.name, *arguments]
        return subprocess.run(command, cwd=REPOSITORY, check=False, timeout=60).returncode

    assert lab("status") == 0
    assert capfd.readouterr().out.count(" plugged ") == 6
    assert lab("cut", "9") == 1
    assert "has no device 9 (it has 1 to 6)" in capfd.readouterr().err
    assert lab("ssh", "2", "exit 7") == 7
    assert lab("exec", "--", "sh", "-c", "exit 8") == 8
    with pytest.raises(LabError, match="no name for a fleet"):
        Fleet("../x")


def test_packages_behave_as_tests_need_them(lab_device: Device, tmp_path: Path) -> None:
    def install(name: str) -> subprocess.CompletedProcess[str]:
        paths = []
        for package in debs.release(name, tmp_path / name):
            (lab_device.root / "root" / package.name).write_bytes(package.read_bytes())
            paths.append(f"/root/{package.name}")
        options = ["--force-confdef", "--force-confold"]
        return lab_device.run(["dpkg", *options, "-i", *paths], check=False)

    assert install("1").returncode == 0
    assert evidence.http_json(lab_device, service.PORT, wait=5) == {"status": "ok", "version": "1", "greeting": "hello"}
    lab_device.run(["sed", "-i", "s/hello/edited/", debs.SETTINGS])
    assert install("2").returncode == 0
    assert evidence.http_json(lab_device, service.PORT, wait=5) == {
        "status": "ok",
        "version": "2",
        "greeting": "edited",
        "codec": "codec 1",
    }
    assert install("4-postinst-fails").returncode != 0
    assert evidence.packages(lab_device)["meter:all"] == ("4", "install ok half-configured")
    assert install("5-user-and-removal").returncode == 0
    assert evidence.http_json(lab_device, service.PORT) is None
    assert lab_device.run(["systemctl", "is-active", debs.UNIT]).stdout == "active\n"
    assert evidence.read(lab_device, debs.EXTRA) is None
    assert lab_device.run(["stat", "-c", "%U", debs.STATE]).stdout == f"{debs.USER}\n"


def test_an_archive_holds_a_service_that_runs(lab_device: Device, tmp_path: Path) -> None:
    archive = archives.build("1", tmp_path)
    assert archive.read_bytes() == archives.build("1", tmp_path / "again").read_bytes()
    (lab_device.root / "root/a.tar.gz").write_bytes(archive.read_bytes())
    target = f"{archives.DESTINATION}/releases/1"
    lab_device.run(["sh", "-ec", f"mkdir -p {target}; tar -xzf /root/a.tar.gz -C {target}"])
    lab_device.run(["ln", "-s", "releases/1", f"{archives.DESTINATION}/current"])
    lab_device.run(["sh", "-ec", f"cd {target}; bin/activate; systemctl restart {archives.UNIT}"])
    lab_device.run(
        ["sh", "-c", f"for i in $(seq 100); do ss -Hltn sport = :{archives.PORT} | grep -q . && break; done"]
    )
    answer = evidence.http_json(lab_device, archives.PORT, wait=5)
    assert json.dumps(answer) == '{"status": "ok", "version": "1", "greeting": "hello"}'
