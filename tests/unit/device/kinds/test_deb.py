# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian packages of several architectures, and packages that got another name."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds import payloads
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds.payloads import _debfile, deb
from ansible_collections.fleet.ota.plugins.module_utils._device.system import command
from ansible_collections.fleet.ota.plugins.module_utils._device.system.command import Result
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout

SAME = {"Package": "lib", "Version": "2", "Architecture": "amd64", "Multi-Arch": "same"}


class Packages:
    """Package files by name: their control fields, and what apt says when it is asked to install them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **fields: t.Mapping[str, str]) -> None:
        self.fields = fields
        self.asked: list[list[str]] = []
        self.plans: dict[bool, Result] = {}
        self.installed = ""
        monkeypatch.setattr(_debfile, "control", lambda path: self.fields[Path(path).stem])
        monkeypatch.setattr(deb.Installer, "linked", lambda installer, ending: ["/lists/%s" % name for name in fields])
        monkeypatch.setattr(deb.os, "makedirs", lambda path, exist_ok: None)
        monkeypatch.setattr(command, "run", self._run)

    def describe(self) -> list[t.Mapping[str, object]]:
        """What the signed document says of each file."""
        payload: payloads.Payload = {"name": "p", "type": "deb"}
        return list(deb.describe(payload, [Path(name + ".deb") for name in self.fields])[1])

    def installer(self) -> deb.Installer:
        """Their installer."""
        files = [{"name": n, "length": 1, "sha256": n, **one} for n, one in zip(self.fields, self.describe())]
        document = {"name": "r", "version": "1", "payloads": [{"name": "p", "type": "deb", "files": files}]}
        installer = deb.Installer(
            Layout(), t.cast("t.Any", document), t.cast("t.Any", document["payloads"][0]), lambda text: None
        )
        installer.files = {name: name + ".deb" for name in self.fields}
        return installer

    def _run(self, argv: list[str], **_options: object) -> Result:
        if argv[0] == "apt-get":
            self.asked.append(argv)
            return self.plans["--no-remove" not in argv]
        return Result(0, self.installed, "")


def _lines(*lines: str) -> str:
    """The answer of dpkg-query."""
    return "".join(line.replace(" ", "\t") + " \n" for line in lines)


def test_two_architectures_of_a_package_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = Packages(monkeypatch, one=SAME, other={**SAME, "Architecture": "i386"})
    installer = packages.installer()
    assert installer.wanted() == {"lib:amd64": "2", "lib:i386": "2"}
    packages.installed = _lines("lib amd64 2 ii", "lib i386 1 ii", "agent  2 un")
    assert installer.observe() == {"lib:amd64": "2", "lib:i386": "1"}
    packages.installed = _lines("lib amd64 2 ii", "lib i386 2 rc")
    assert installer.observe() == {"lib:amd64": "2", "lib:i386": None}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({**SAME}, "keep one version"),
        ({**SAME, "Architecture": "i386", "Version": "3"}, "keep one version"),
        ({"Package": "lib", "Version": "2", "Architecture": "i386"}, "side by side"),
    ],
)
def test_what_cannot_be_installed_together_is_not_published(
    monkeypatch: pytest.MonkeyPatch, other: dict[str, str], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        Packages(monkeypatch, one=SAME, other=other).describe()


def test_a_package_that_became_independent_of_the_architecture_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = Packages(monkeypatch, one={**SAME, "Architecture": "all"})
    packages.installed = _lines("lib amd64 1 hi")
    assert packages.installer().observe() == {"lib": "1"}


NEW = {"Package": "agent-ng", "Version": "2", "Architecture": "all", "Provides": "agent"}
RENAMED = {**NEW, "Conflicts": "agent", "Replaces": "agent (<< 2), other"}
REFUSED = Result(100, "The following packages will be REMOVED:\n  agent", "E: Packages need to be removed")


@pytest.mark.parametrize(
    ("fields", "plan", "goes"),
    [
        (RENAMED, Result(0, "Remv agent [1]\nInst agent-ng (2)", ""), {"agent"}),
        (RENAMED, Result(0, "Remv agent [1]\nRemv plugin [1]\nInst agent-ng (2)", ""), None),
        (RENAMED, REFUSED, None),
        ({**NEW, "Conflicts": "agent"}, Result(0, "Remv agent [1]\nInst agent-ng (2)", ""), None),
    ],
)
def test_a_package_may_take_the_place_of_another(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], plan: Result, goes: set[str] | None
) -> None:
    packages = Packages(monkeypatch, new=fields)
    packages.plans = {False: REFUSED, True: plan}
    installer = packages.installer()
    simulated = installer.simulate()
    assert simulated is (plan if goes else REFUSED)
    assert installer.replaced == (goes or set())
    assert (installer.intrusion(simulated) is None) is (goes is not None)
    [step] = installer.rehearsal()
    assert ("--no-remove" in step.argv) is (goes is None)


def test_what_was_not_planned_does_not_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the plan and the locks another program may install what would have to go too."""
    packages = Packages(monkeypatch, new=RENAMED)
    packages.plans = {False: REFUSED, True: Result(0, "Remv agent [1]\nInst agent-ng (2)", "")}
    installer = packages.installer()
    installer.simulate()
    packages.plans[True] = Result(0, "Remv agent [1]\nRemv plugin [1]\nInst agent-ng (2)", "")
    assert installer.put().rc != 0
    assert all("--simulate" in argv for argv in packages.asked)


def test_a_package_file_is_read_once_for_what_it_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def contents(path: str) -> list[tuple[str, bool]]:
        read.append(path)
        return [("/lib/systemd/system/app.service", False), ("/usr/lib/app", True)]

    packages = Packages(monkeypatch, app={"Package": "app", "Version": "2", "Architecture": "all"})
    monkeypatch.setattr(_debfile, "contents", contents)
    monkeypatch.setattr(deb.Installer, "installed", lambda installer: {})
    monkeypatch.setattr(deb.Installer, "shared", lambda installer, directories, mine: set())
    installer = packages.installer()
    assert "/usr/lib/app" in installer.scope([]).trees
    assert installer.units() == ["app.service"] and installer.brings_unit("app.service")
    assert read == ["app.deb"]
