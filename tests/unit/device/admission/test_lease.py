# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two controllers with journals of their own while the engine is at work; see also tests/reliability/test_lease.py."""

from __future__ import annotations

import typing as t

from ansible_collections.fleet.ota.plugins.module_utils._device.base.states import AT_WORK

from ..conftest import Device, Publisher

MINE, OTHER = "a" * 64, "b" * 64
Reply = t.Dict[str, t.Any]


def run(holder: str, generation: int = 1) -> Reply:
    """What a controller says of itself with each request."""
    return {"rollout": "r1", "generation": generation, "holder": holder}


def apply(device: Device, publisher: Publisher, who: Reply, **options: t.Any) -> Reply:
    request = {"bundle": publisher.repository.bundle(), "guard": "process", **who, **options}
    reply = device.call("apply", **request)
    if reply.get("missing"):
        device.stage(publisher.files)
        reply = device.call("apply", **request)
    return reply


def code(reply: Reply) -> str | None:
    return (reply.get("error") or {}).get("code")


def test_what_is_at_work_is_nobody_else_s_either(device: Device, publisher: Publisher) -> None:
    """The worker holds the device's lock: a second controller must not take its answer for one of its own run."""
    go = device.root / "go"
    check = {"name": "waits", "type": "command", "argv": ["test", "-e", str(go)]}
    publisher.release(1, health={"passes": 1, "interval": 0.1, "timeout": 60, "checks": [check]})
    assert apply(device, publisher, run(MINE), wait=0)["state"] in AT_WORK
    assert code(apply(device, publisher, run(OTHER))) == "BUSY"
    assert apply(device, publisher, run(MINE, 2), wait=0)["state"] in AT_WORK, "a newer run follows it"
    assert code(device.call("restore", **run(MINE))) == "STALE"
    assert apply(device, publisher, run(OTHER), take_over=True, wait=0)["state"] in AT_WORK
    go.touch()
    assert device.call("status", wait=30)["state"] == "unconfirmed"
    assert code(device.call("confirm", **run(MINE, 2))) == "STALE"
    assert device.call("confirm", **run(OTHER))["outcome"] == "updated"
