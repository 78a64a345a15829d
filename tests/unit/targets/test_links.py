# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A link that is not the engine's: the controller knows no more than the protocol, and is told what is missing."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device import verbs
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client import bundle
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._targets import base
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.base import Link, Reply
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine.connection import Device
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.errors import DeviceRefusal
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.offer import Offer
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.record import Record
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.updater import Options, Updater

from .conftest import DEADLINE, ROLLOUT, TIMEOUT, Clock, OneFile

NEW, OLD = (
    {"name": "gateway", "version": "2.0", "digest": "new"},
    {"name": "gateway", "version": "1.0", "digest": "old"},
)


class Platform(Link):
    """A device of a platform that can be updated and looked at, and only goes back by itself."""

    kind = "platform"
    verbs = frozenset({"apply", "status", "confirm", "health", "info"})

    def __init__(self) -> None:
        super().__init__("dev1")
        self.asked: list[str] = []
        self.transaction: Reply = {}
        self.release = OLD

    def ask(self, verb: str, data: bytes = b"", /, *, fresh: bool = False, **request: t.Any) -> Reply:
        self.answered = True
        self.asked.append(verb)
        if verb == "apply":
            self.transaction = {"transaction": "t1", "rollout": request["rollout"], "state": "checking"}
            self.transaction.update(outcome=None, release=NEW, before=OLD)
        elif verb == "status":
            self.transaction["state"] = "unconfirmed"
        elif verb == "confirm":
            assert fresh
            self.release = NEW
            self.transaction.update(state="confirmed", outcome="updated")
        elif verb == "health":
            releases = {"gateway": {"current": self.release}}
            return {"healthy": True, "checks": {}, "releases": releases, "transaction": self.transaction or None}
        return {"code": None, "message": None, **self.transaction}

    def push(self, sha256: str, length: int, offset: int, path: pathlib.Path) -> None:
        raise AssertionError("nothing is missing there")

    def forget_connection(self) -> None:
        raise AssertionError("no connection was lost")


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def journal(tmp_path: pathlib.Path) -> Journal:
    return Journal.begin(tmp_path / ROLLOUT / "journal.jsonl", ROLLOUT, {"generation": 1})


@pytest.fixture
def updater(platform: Platform, journal: Journal, clock: Clock) -> Updater:
    return Updater(platform, Record(str(journal.path), "dev1", ROLLOUT, 1), Options(DEADLINE, TIMEOUT))


def outcomes(journal: Journal) -> list[tuple[str, str | None]]:
    return [(record["outcome"], record.get("code")) for record in journal.verify() if record.get("outcome")]


def test_it_is_updated_confirmed_and_looked_at(platform: Platform, journal: Journal, updater: Updater) -> None:
    offer = Offer(t.cast(bundle.Bundle, OneFile()), "push", [])
    assert updater.apply(offer).outcome is None
    assert updater.confirm().outcome == "updated"
    assert updater.observe(NEW).message == "gateway 2.0"
    assert outcomes(journal) == [("updated", None)]
    assert platform.asked == ["apply", "status", "confirm", "health"]


def test_what_it_lacks_is_refused_by_name_before_anything_is_asked(
    platform: Platform, journal: Journal, updater: Updater
) -> None:
    step = updater.rollback("gateway", overwrite=False)
    assert (step.outcome, step.code) == ("refused", "UNSUPPORTED")
    assert step.message == (
        "the link to dev1 (platform) does not offer rollback, only apply, confirm, health, info, status; use another "
        "link for this device, or leave the step out"
    )
    assert outcomes(journal) == [("refused", "UNSUPPORTED")]
    assert platform.asked == []


def test_what_is_asked_for_by_the_way_may_be_missing(platform: Platform, updater: Updater) -> None:
    updater.wait_for_peers()
    assert platform.asked == []


@pytest.mark.parametrize("verb", sorted(base.VERBS - Platform.verbs))
def test_no_verb_gets_past(platform: Platform, verb: str) -> None:
    with pytest.raises(DeviceRefusal, match=f"does not offer {verb}") as raised:
        platform.call(verb)
    assert raised.value.code == "UNSUPPORTED"


def test_the_engine_offers_every_verb_of_its_protocol() -> None:
    assert Device.verbs == base.VERBS == frozenset(verbs.VERBS)


def test_a_link_that_lacks_a_method_is_none() -> None:
    class Half(Link):
        kind = "half"

        def push(self, sha256: str, length: int, offset: int, path: pathlib.Path) -> None:
            """Nothing."""

    assert Half.__abstractmethods__ == {"ask", "forget_connection"}
