# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the reliability tests."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.system import background, boot, bytecode
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine import zipapp

from .device import Directory, Driven
from .releases import Releases

CLOCK = boot.clock


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine's zipapp."""
    path = tmp_path_factory.mktemp("engine") / "engine.pyz"
    path.write_bytes(zipapp.program().content)
    bytecode.write(str(path))
    return path


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Releases 1 and 2 are made first, so that what is offered later is never older metadata."""
    found = Releases(tmp_path_factory.mktemp("releases"))
    for counter in (1, 2, 3):
        found.get(counter)
    return found


@pytest.fixture(autouse=True)
def queued(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detached work of devices driven in this process waits in their queues."""
    monkeypatch.setattr(background, "start", Driven.start)


@pytest.fixture
def device(tmp_path: Path, program: Path, releases: Releases) -> Iterator[Directory]:
    """An enrolled device that runs release 1."""
    found = Directory(tmp_path / "device", program)
    found.root.mkdir()
    assert found.enroll(releases.trust_root)["changed"] is True
    reply = found.update(releases.get(1))
    assert reply["outcome"] == "updated", reply
    yield found
    found.end()


@pytest.fixture
def seed() -> int:
    """What random choices of a test start from: RELIABILITY_SEED repeats a run."""
    return int(os.environ.get("RELIABILITY_SEED") or random.SystemRandom().randrange(1 << 32))


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process sees the boot clock half a minute ahead: what was begun by a killed program is no news any more."""
    monkeypatch.setattr(boot, "clock", lambda: CLOCK() + 30)
