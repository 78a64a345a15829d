# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user without rights exchanges directories for links while root works: nothing of root's is read, written or given.

The user owns a protected folder, one with data that stays, one inside the release's directory and one inside a
package's. What the user does is in `hostile.py`; it goes on through snapshot, install, restore, confirm, prune and
rollback, or happens while the engine is held in a state.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base import states

from tests.lab import Device, Fleet, debs, evidence

from .engine import STATE
from .project import Project
from .test_kill_matrix import REBOOTING, STATES, HeldEngine

PROGRAM = Path(__file__).with_name("hostile.py")
PLACE = "/usr/local/lib/hostile.py"
SECRET = "secret-of-root"
PROTECTED, KEPT, RELEASE, PACKAGE = "/srv/app", "/srv/kept", "/opt/gateway/shared", "/usr/lib/tool/cache"
FOLDERS = (PROTECTED, KEPT, RELEASE, PACKAGE)
#: What only root may have changed, and did not: everything but the user's own folders.
LEFT_OUT = (*evidence.VOLATILE, *FOLDERS, "/opt/gateway")
NEVER = [{"name": "never", "type": "command", "argv": ["/bin/false"]}]
MAKE = f"""
set -e
id mallory 2>/dev/null || useradd --create-home mallory
mkdir -p /root/victim/deep /usr/lib/tool
echo {SECRET} | tee /root/victim/secret >/root/victim/deep/file
for folder in {" ".join(FOLDERS)}; do
    mkdir -p $folder/roots
    chown mallory $folder
    echo {SECRET} >$folder/roots/key
    echo {SECRET} >$folder/b
    chmod 700 $folder/roots; chmod 644 $folder/roots/key; chmod 600 $folder/b
done
"""


class Site:
    """A device with version 1 of an archive and a package, and folders of a user in all places that root works in."""

    def __init__(self, project: Project, device: Device, folder: Path, kind: str) -> None:
        self.project, self.device, self.folder, self.kind = project, device, folder, kind
        self.engine = HeldEngine(device)
        self.engine.enroll(project)
        (device.root / PLACE.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (device.root / PLACE.lstrip("/")).write_bytes(PROGRAM.read_bytes())
        assert self.apply(1)["state"] == "unconfirmed"
        assert self.engine.call("confirm", rollout="1")["outcome"] == "updated"
        device.run(["sh", "-c", MAKE])
        self.hostile("once")
        self.before = self.look()

    def look(self) -> dict[str, evidence.Entry]:
        return evidence.tree(self.device, leave_out=LEFT_OUT)

    def hostile(self, how: str) -> None:
        self.device.run(["su", "mallory", "-c", f"python3 {PLACE} {how} {' '.join(FOLDERS)}"])

    @contextlib.contextmanager
    def attack(self) -> Iterator[None]:
        """While it lasts, the user exchanges what can be exchanged."""
        program = f"setsid python3 {PLACE} loop {' '.join(FOLDERS)} </dev/null >/tmp/hostile.log 2>&1 & echo $!"
        group = self.device.run(["su", "mallory", "-c", program]).stdout.strip()
        try:
            yield
            assert self.device.run(["sh", "-c", f"kill -0 {group} || cat /tmp/hostile.log"]).stdout == ""
        finally:
            self.device.run(["kill", "-KILL", "--", f"-{group}"], check=False)

    def bundle(self, version: int, **health: Any) -> Any:
        text = f"tool {version}\n"
        files = {"/usr/lib/tool/tool": (0o755, text), f"/usr/lib/tool/only-{version}": (0o644, text)}
        script = "#!/bin/sh\nset -e\nmkdir -p /opt/gateway/shared\n"
        package = debs.package("tool", str(version), "python3", files, {"postinst": script}, self.folder)
        document = self.project.gateway(str(version))
        build = self.project.folder / "build" / package.name
        build.write_bytes(package.read_bytes())
        content = json.loads(document.read_text())
        content["payloads"].append({"name": "tool", "type": "deb", "source": f"build/{package.name}"})
        content["protect"] = [PROTECTED, "/etc/profile.d"]
        content["data"] = [{"path": KEPT, "on_restore": "keep"}]
        if health:
            content["health"] = {**content["health"], "timeout": 1, **health}
        return self.project.publish(self.project.write(content))

    def apply(self, version: int, **health: Any) -> dict[str, Any]:
        return self.engine.apply(self.bundle(version, **health), snapshot=self.kind, rollout=str(version))

    def require_safe(self, what: str) -> None:
        """Nothing of root's was changed but by the release, and the user reads nothing of it."""
        own = ("/usr/lib/tool", "/var/lib/dpkg", "/etc/systemd", "/etc/passwd-", "/etc/group-")
        now = evidence.differences(self.before, self.look())
        assert {path: entry for path, entry in now.items() if not path.startswith(own)} == {}, what
        places = " ".join((*FOLDERS, "/opt", "/usr/lib/tool", STATE, "/tmp", "/home/mallory"))
        found = self.device.run(["su", "mallory", "-c", f"grep -rlE '{SECRET}|^root:' {places}"], check=False)
        assert found.stdout == "", what
        gone = "test -s /etc/shadow && test $(cat /root/victim/secret /root/victim/deep/file | wc -l) = 2"
        assert self.device.run(["sh", "-c", gone], check=False).returncode == 0, what

    def settle(self, reply: dict[str, Any], what: str) -> None:
        """The transaction came to an end that is allowed; `restore` leads out once the user has stopped."""
        self.require_safe(what)
        assert reply["state"] in (*states.ENDED, "unconfirmed"), (what, reply)
        if reply["state"] == "broken":
            assert any(folder in reply["message"] for folder in FOLDERS), (what, reply)
            reply = self.engine.call("restore", code="REQUESTED", message="again", wait=60)
            assert reply["state"] == "restored", (what, reply)
            self.require_safe(what)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """A device whose root has the snapshots of the kind that is wanted."""
    kind = request.node.callspec.params.get("kind", "files")
    if kind == "files":
        yield request.getfixturevalue("lab_device")
        return
    fleet = Fleet(f"h{os.getpid()}")
    fleet.up(1, kind=kind, owner=os.getpid())
    yield fleet[1]
    fleet.down()


@pytest.mark.parametrize("kind", ["files"])
def test_a_release_goes_back_beside_a_hostile_user(project: Project, device: Device, tmp_path: Path, kind: str) -> None:
    site = Site(project, device, tmp_path, kind)
    with site.attack():
        reply = site.apply(2, checks=NEVER)
        site.require_safe("while it went on")
    site.settle(reply, "restored by itself")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["files", "btrfs"])
def test_a_life_beside_a_hostile_user(project: Project, device: Device, tmp_path: Path, kind: str) -> None:
    site = Site(project, device, tmp_path, kind)
    with site.attack():
        reply = site.apply(2, checks=NEVER)
    site.settle(reply, "restored by itself")
    with site.attack():
        assert site.apply(3)["state"] == "unconfirmed"
        reply = site.engine.call("restore", code="REQUESTED", message="x", wait=60)
    site.settle(reply, "restored on request")
    for version in (4, 5):
        assert site.apply(version)["state"] == "unconfirmed"
        with site.attack():
            assert site.engine.call("confirm", rollout=str(version))["outcome"] == "updated"
        site.require_safe("confirmed and pruned")
    with site.attack():
        reply = site.engine.call("rollback", wait=60, rollout="back")
    site.settle(reply, "rolled back")


@pytest.mark.long
@pytest.mark.parametrize("state", [state for state in STATES if state != REBOOTING])  # there the user's programs end
@pytest.mark.parametrize("kind", ["files", "btrfs"])
def test_exchanged_in_a_state(project: Project, device: Device, tmp_path: Path, kind: str, state: str) -> None:
    """Whatever is exchanged once, right after a state is durable, and stays exchanged through the next steps."""
    site = Site(project, device, tmp_path, kind)
    if STATES[state] is None:
        site.engine.hold(state)
        bundle = site.bundle(3) if state == "unconfirmed" else site.bundle(2, checks=NEVER)
        call = site.engine.start_apply(bundle, snapshot=kind, rollout="new")
    else:
        assert site.apply(3)["state"] == "unconfirmed"
        site.engine.hold(state)
        call = site.engine.start(str(STATES[state]), rollout="3", wait=60)
    process = site.engine.wait_held()
    site.hostile("once")
    device.run(["kill", "-CONT", process])
    subprocess.Popen.communicate(call, timeout=120)
    site.engine.at_rest()
    site.settle(site.engine.transaction(), state)
