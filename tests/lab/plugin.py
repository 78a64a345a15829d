# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pytest fixtures of the lab. A conftest takes them with ``from tests.lab.plugin import lab_device, lab_fleet, ...``.

One fleet serves the whole session. A test says how many devices it needs and gets them as new from the factory; a reset
takes well under a second, so tests need not clean up behind themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from . import host
from .device import Device
from .fleet import Fleet, sweep

DEVICES = 6

Clean = Callable[[int], "list[Device]"]


@pytest.fixture(scope="session")
def lab_host() -> None:
    """Skips on machines that cannot run the lab; removes what killed earlier sessions left on those that can."""
    reason = host.why_not()
    if reason:
        pytest.skip(reason)
    host.prepare()
    sweep()


@pytest.fixture(scope="session")
def lab_fleet(lab_host: None) -> Iterator[Fleet]:
    """Six running devices, for the whole session, in whatever state the tests before left them."""
    fleet = Fleet(f"t{os.getpid()}")
    fleet.up(DEVICES, owner=os.getpid())
    yield fleet
    fleet.down()


@pytest.fixture
def lab_devices(lab_fleet: Fleet) -> Clean:
    """A function that returns the first N devices as new: own writable layer wiped, running, plugged, first boot."""

    def clean(count: int) -> list[Device]:
        numbers = range(1, count + 1)
        lab_fleet.reset(numbers)
        return [lab_fleet[number] for number in numbers]

    return clean


@pytest.fixture
def lab_device(lab_devices: Clean) -> Device:
    """One device as new."""
    return lab_devices(1)[0]


def look_at(fleet: Fleet, device: Device) -> Any:
    """A testinfra host for a device: over SSH, as a person would look at it.

    :returns: `testinfra.host.Host`
    """
    import testinfra

    return testinfra.get_host(f"ssh://root@{device.name}?ssh_config={fleet.ssh_config}&controlpersist=0")
