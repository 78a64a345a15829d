# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other packages on a device: what their diversions and triggers make goes back too, what they install meanwhile stays.

Kinds of trouble that people reported of other update systems, all on one device.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab import Device, debs

from .engine import Engine
from .project import Project
from .site import assert_same, look

NEVER = [{"name": "never", "type": "command", "argv": ["/bin/false"]}]
DIVERT = "#!/bin/sh\nset -e\ndpkg-divert --package wrapper --add --rename --divert {0}.distrib {0}\n"
COMPILE = "#!/bin/sh\nset -e\ncat /usr/share/schemas/*.xml >/usr/share/schemas/compiled\n"
TOOL = "/usr/bin/vendor-tool"
#: Where this is, a script does what its rehearsal, which has a /run of its own, did not.
IN_EARNEST = "/run/in-earnest"


class Fleet:
    """A device with `tool` 1, a wrapper that diverts its program, and a compiler of its schema."""

    def __init__(self, project: Project, device: Device, folder: Path) -> None:
        self.project, self.device, self.folder = project, device, folder
        self.engine = Engine(device)
        self.engine.enroll(project)
        assert self.update(1)["outcome"] == "updated"
        wrapper = {TOOL: (0o755, f'#!/bin/sh\nexec {TOOL}.distrib "$@"\n')}
        self.install("wrapper", "1", wrapper, {"preinst": DIVERT.format(TOOL)})
        self.install("compiler", "1", {}, {"postinst": COMPILE, "triggers": "interest /usr/share/schemas\n"})

    def package(self, name: str, version: str, files: dict[str, tuple[int, str]], scripts: dict[str, str]) -> Path:
        return debs.package(name, version, "python3", files, scripts, self.folder)

    def install(self, name: str, version: str, files: dict[str, tuple[int, str]], scripts: dict[str, str]) -> None:
        """What another program does on the device."""
        path = self.package(name, version, files, scripts)
        (self.device.root / "srv" / path.name).write_bytes(path.read_bytes())
        self.device.run(["dpkg", "--install", f"/srv/{path.name}"])

    def update(self, version: int, confirm: bool = True, **health: Any) -> dict[str, Any]:
        """Take the release with `tool` of that version, which adds an alternative and an account."""
        text = f"tool {version}"
        files = {TOOL: (0o755, f"#!/bin/sh\necho {text}\n"), "/usr/share/schemas/tool.xml": (0o644, f"{text}\n")}
        script = "#!/bin/sh\nset -e\n"
        if version > 1:
            script += f"test ! -e {IN_EARNEST} || echo x >/etc/unrehearsed\n"
            script += f"update-alternatives --install /usr/bin/any-tool any-tool {TOOL} 50\nuseradd --system tool\n"
        build = self.project.folder / "build" / f"tool-{version}.deb"
        build.parent.mkdir(exist_ok=True)
        build.write_bytes(self.package("tool", str(version), files, {"postinst": script}).read_bytes())
        payload = {"name": "tool", "type": "deb", "source": f"build/tool-{version}.deb"}
        document = {"format": 1, "name": "tool", "version": str(version), "counter": version, "payloads": [payload]}
        document["health"] = {"passes": 1, "interval": 0.2, "timeout": 2, "checks": [], **health}
        bundle = self.project.publish(self.project.write(document))
        act = self.engine.update if confirm else self.engine.apply
        return act(bundle, rehearsal="required")

    def say(self, command: str) -> str:
        return self.device.run(["sh", "-c", command]).stdout.strip()


@pytest.fixture
def fleet(project: Project, lab_device: Device, tmp_path: Path) -> Fleet:
    return Fleet(project, lab_device, tmp_path)


def test_what_scripts_and_triggers_made_goes_back(fleet: Fleet) -> None:
    before = look(fleet.device)
    fleet.device.run(["touch", IN_EARNEST])
    reply = fleet.update(2, checks=NEVER)
    assert (reply["outcome"], reply["code"]) == ("restored", "HEALTH"), reply
    # what the rehearsal could not know stays, and is named; nothing else is
    assert "1 paths outside of the snapshot changed meanwhile, whoever did it: /etc/unrehearsed" in reply["message"]
    fleet.device.run(["rm", "/etc/unrehearsed"])
    assert_same(before, look(fleet.device))
    assert fleet.say(f"{TOOL}; cat /usr/share/schemas/compiled") == "tool 1\ntool 1"
    assert fleet.say("getent passwd tool || dpkg --verify tool wrapper compiler; test ! -e /usr/bin/any-tool") == ""


def test_packages_of_others_stay_when_a_release_goes_back(fleet: Fleet) -> None:
    assert fleet.update(3, confirm=False)["state"] == "unconfirmed"
    fleet.install("new", "1", {"/etc/new.conf": (0o644, "x\n"), "/usr/share/schemas/new.xml": (0o644, "new\n")}, {})
    fleet.device.run(["useradd", "guest"])
    reply = fleet.engine.call("restore", code="REQUESTED", message="x", wait=60)
    assert reply["state"] == "restored", reply
    assert fleet.say(f"{TOOL}; cat /usr/share/schemas/compiled") == "tool 1\nnew\ntool 1"
    assert fleet.say("dpkg-query -W tool new | tr '\\t\\n' '  '") == "new 1 tool 1"
    assert fleet.say("dpkg --verify tool new compiler wrapper; dpkg --audit") == ""
    assert fleet.say("getent passwd tool; getent passwd guest | cut -d: -f1") == "guest"
