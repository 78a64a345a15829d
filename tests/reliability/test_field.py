# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random machines, releases and other programs: what nobody thought of. All of the machine is compared from outside.

`RELIABILITY_SEED=N` repeats a run. `FLEET_OTA_ENGINE_OF=CHECKOUT` tries the engine of another checkout instead.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.project import Project
from tests.lab import Device, Fleet
from tests.lab.plugin import lab_host

from .field.life import Life, Step
from .field.machine import DEPENDENCIES, Traits
from .field.others import Act
from .field.releases import EFFECTS, Offer
from .report import Report

__all__ = ["lab_host"]

#: Seconds after which no other step begins.
SAMPLE, WHOLE = 45, 6000
STEPS = 6

BAD = Offer(2, "unhealthy", archive=False, effects=EFFECTS)
PLAINLY_BAD = Offer(2, "unhealthy", archive=False)
#: One life for each kind of trouble: the traits of the machine, and its releases after the first.
KINDS: dict[str, tuple[Traits, tuple[Step, ...]]] = {
    "1-what-others-own": (
        Traits.plain(mounts=True),
        tuple(Step(Offer(number, deb=False)) for number in (2, 3, 4)),
    ),
    "2-scope": (Traits.plain(wrapper=True, compiler=True, choice=True), (Step(BAD),)),
    "3-package-manager": (
        Traits.plain(compiler=True),
        (Step(Offer(2, "asked", archive=False), (Act("package", "unconfirmed", 1),)),),
    ),
    "4-units": (Traits.plain(dependents=DEPENDENCIES, instances=("front",), socket=True), (Step(PLAINLY_BAD),)),
    "5-leads-out": (Traits.plain(), (Step(PLAINLY_BAD, (Act("tmp", "checking", 1),)),)),
    "6-blame": (Traits.plain(), (Step(Offer(2, "late", archive=False)),)),
    "7-believed": (
        Traits.plain(),
        (Step(Offer(2, archive=False)), Step(Offer(3, archive=False, version=2, build=" built again"))),
    ),
    "8-reasons": (Traits.plain(), (Step(Offer(2, "postinst", archive=False)),)),
    "9-odd-machines": (Traits.plain(latin=True), (Step(Offer(2, deb=False)),)),
}


@pytest.fixture(scope="module")
def fleet(lab_host: None) -> Iterator[Fleet]:
    """One device."""
    fleet = Fleet(f"f{os.getpid()}")
    fleet.up(1, owner=os.getpid())
    yield fleet
    fleet.down()


@pytest.fixture
def device(fleet: Fleet) -> Device:
    """The device, as new."""
    fleet.reset()
    return fleet[1]


def test_random_machines_keep_the_promise(
    device: Device, tmp_path: Path, seed: int, request: pytest.FixtureRequest
) -> None:
    long = request.config.getoption("--long")
    report = Report("field", seed)
    print(f"RELIABILITY_SEED={seed}")
    end = time.monotonic() + (WHOLE if long else SAMPLE)
    number = 0
    while time.monotonic() < end:
        # A life depends on its own number and the seed only: one that failed is repeated without those before it.
        live(device, tmp_path / str(number), seed + number, end, report)
        number += 1
        if report.violations and not long:
            break
        device.reset()
    report.close()


def live(device: Device, folder: Path, seed: int, end: float, report: Report) -> None:
    """One machine from its first release on, until something is wrong."""
    chance = random.Random(seed)
    life = Life(device, Project(folder / "p"), Traits.drawn(chance), folder / "debs")
    life.begin()
    for number in range(2, 2 + STEPS):
        step = Step.drawn(chance, number)
        if time.monotonic() > end:
            return
        try:
            found = life.take(step)
        except Exception as error:
            found = [repr(error)]
        report.iterations += 1
        report.interruptions += len(step.acts) + (step.offer.end in ("killed", "power"))
        report.violation(f"RELIABILITY_SEED={seed}, step {number - 1} {step} on {life.machine.traits}", found)
        if found:
            return


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_trouble_is_looked_for(device: Device, tmp_path: Path, kind: str) -> None:
    """The same oracle on lives that are known for their trouble: an engine that has it fails here."""
    traits, steps = KINDS[kind]
    life = Life(device, Project(tmp_path / "p"), traits, tmp_path / "debs")
    life.begin()
    for step in steps:
        found = life.take(step)
        assert not found, "\n".join([f"{kind}, {step}:", *found])
