# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Python that runs the engine: which changes concern it, and what it must still do after one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.records.transaction import Transaction
from ansible_collections.fleet.ota.plugins.module_utils._device.system import background, command, interpreter, overlay
from ansible_collections.fleet.ota.plugins.module_utils._device.system.command import Result
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction import rehearse

from ..transaction.test_services import Payload


def test_a_change_concerns_the_program_its_libraries_and_its_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    library = os.path.realpath(os.path.dirname(json.__file__))
    monkeypatch.setattr(sys, "path", [os.path.dirname(library)])
    loader = next(path for path in interpreter._mapped() if ".so" in path)
    for path in (os.path.realpath(sys.executable), library + "/decoder.py", loader):
        assert interpreter.is_among(["/etc/hosts", path]), path
    assert not interpreter.is_among(["/etc/hosts", "/usr/bin/python3-config", os.path.dirname(library) + "-old/x.py"])


def test_every_link_to_the_program_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/python3.11").touch()
    (tmp_path / "real/python3").symlink_to("python3.11")
    (tmp_path / "bin").symlink_to("real")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python3"))
    for name in ("python3", "python3.11"):
        assert interpreter.is_among([str(tmp_path / "real" / name)])


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (Result(0, "verbs\nchecks.tcp\nchecks.new\n", ""), None),
        (Result(0, "verbs\n", ""), "it cannot load checks.tcp"),
        (Result(0, '{"error": {"code": "NO_PYTHON"}}\n', ""), "it cannot load checks.tcp, verbs"),
        (Result(127, "", "python3: No such file or directory"), "python3: No such file or directory"),
    ],
)
def test_it_must_load_afterwards_what_it_loads_now(
    monkeypatch: pytest.MonkeyPatch, result: Result, reason: str | None
) -> None:
    monkeypatch.setattr(background, "program", lambda: ["python3", "engine.pyz"])
    monkeypatch.setattr(command, "run", lambda argv, timeout: Result(0, "verbs\nchecks.tcp\n", ""))
    assert interpreter.lost(lambda argv: result) == reason


def test_the_engine_says_what_it_can_load(program: Path) -> None:
    argv = [sys.executable, "-I", "-S", "-B", str(program), interpreter.PROBE]
    loaded = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    assert {"verbs", "payloads.deb", "snapshots.files", "checks.unit", "interlocks.power"} <= set(loaded)


def test_a_release_without_which_the_guard_could_not_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(str(tmp_path))
    layout.prepare()
    found = Transaction(layout, kind="update", release={"name": "a", "version": "1", "counter": 1, "digest": "d"})
    found.begin()
    outcome = overlay.Outcome(Result(0, "", ""), ["/usr/bin/python3"], {}, 1.0, {}, "json is not there")
    monkeypatch.setattr(overlay, "run", lambda *arguments: outcome)
    monkeypatch.setattr(background, "program", list)
    monkeypatch.setattr(rehearse, "_is_wanted", lambda transaction: True)
    monkeypatch.setattr(Payload, "rehearsal", lambda payload: [overlay.Step(["apt-get"], {}, 1.0)])
    monkeypatch.setattr(Payload, "needs", lambda payload: {})
    payload = Payload(layout, t.cast("t.Any", {}), t.cast("t.Any", {"name": "p"}), print)
    with pytest.raises(OtaError, match=r"could not run the engine and its guard.*json is not there") as caught:
        rehearse.rehearse(found, [payload])
    assert caught.value.code == "REHEARSAL" and sys.executable in caught.value.message
