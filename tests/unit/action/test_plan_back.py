# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``fleet.ota.plan`` with ``back_from``: who goes back, and that starting it leads to a journal of its own."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.fleet.ota.plugins.action import journal, plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.gate import decision as gate
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import State
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan as planning
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import rollout

if t.TYPE_CHECKING:
    from .conftest import Act, Result

HOSTS = ["d1", "d2", "d3", "d4"]
RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
FROM = "gateway-2.0-1a2b3c4d"


class Back:
    """A journal folder in which d1 and d3 were updated, d2 was restored and d4 is untouched."""

    def __init__(self, act: Act, folder: pathlib.Path) -> None:
        self._act, self.folder = act, folder
        waves = [{"name": "canary", "count": 1}, {"name": "north", "count": 2}, {"name": "rest", "percent": 100}]
        made = planning.make(hosts=HOSTS, groups={"all": HOSTS}, release=RELEASE, waves=waves)
        book = Journal(rollout.start(folder, made, {}).path)
        for device, outcome in (("d1", "updated"), ("d2", "restored"), ("d3", "updated")):
            book.outcome(device, outcome)

    def plan(self, hosts: t.Sequence[str] = tuple(HOSTS), **arguments: t.Any) -> Result:
        """The plan of the way back for a play on ``hosts``."""
        inventory = {"ansible_play_hosts_all": list(hosts), "groups": {"all": HOSTS}}
        given = {"journal_dir": str(self.folder), "back_from": FROM, **arguments}
        given = {key: value for key, value in given.items() if value is not None}
        return self._act(plan.ActionModule, inventory, **given)

    def start(self, made: Result) -> Result:
        """Start its journal."""
        return self._act(journal.ActionModule, state="started", journal_dir=str(self.folder), plan=made["plan"])

    def files(self) -> dict[str, bytes]:
        """Everything in the journal folder."""
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def back(act: Act, tmp_path: pathlib.Path) -> Back:
    """See :class:`Back`."""
    return Back(act, tmp_path / "journal")


def test_the_whole_fleet_goes_back_in_one_wave(back: Back) -> None:
    before = back.files()
    made = back.plan()
    assert (made["order"], made["serial"], made["bundle"]) == (["d1", "d3"], [2], None)
    assert [(wave["name"], wave["hosts"]) for wave in made["plan"]["waves"]] == [("back", ["d1", "d3"])]
    assert made["plan"]["rollout"] != FROM
    assert made["plan"]["release"]["name"] == "gateway"
    assert made["changed"]
    assert back.files() == before


@pytest.mark.parametrize(("wave", "order"), [("canary", ["d1"]), ("north", ["d3"])])
def test_a_wave_goes_back(back: Back, wave: str, order: list[str]) -> None:
    assert back.plan(wave=wave)["order"] == order


def test_the_play_s_limit_holds(back: Back) -> None:
    assert back.plan(["d3", "d4"])["order"] == ["d3"]


def test_one_that_fails_does_not_keep_the_others(back: Back) -> None:
    made = back.plan()
    book = Journal(back.start(made)["path"])
    book.outcome("d1", "refused", code="CONFLICT")
    book.outcome("d3", "updated")
    decision = gate.decide(planning.Plan.of(made["plan"]), State.of(book.verify()).standings, wave=0)
    assert (decision.decision, decision.counts["failure"]) == ("promote", 1)


def test_started_once_and_resumed_by_the_same_command(back: Back) -> None:
    made = back.plan()
    started = back.start(made)
    assert (started["resumed"], started["rollout"]) == (False, made["plan"]["rollout"])
    again = back.plan()
    assert (again["changed"], again["plan"]) == (False, made["plan"])
    assert back.start(again)["resumed"]


def test_who_went_back_is_planned_again_and_asked_whether_it_did(back: Back) -> None:
    """The rollout's own journal still says ``updated``; the device says that it is done."""
    made = back.plan()
    Journal(back.start(made)["path"]).outcome("d1", "updated")
    assert back.plan()["order"] == ["d1", "d3"]


@pytest.mark.parametrize(
    ("hosts", "arguments", "part"),
    [
        (HOSTS, {"back_from": "gateway-2.0-00000000"}, f"give one of those that are there: {FROM}"),
        (HOSTS, {"back_from": "../../etc/passwd"}, f"give one of those that are there: {FROM}"),
        (HOSTS, {"back_from": ""}, "'' is no rollout's id (fleet_ota_rollout_id); give one of"),
        (HOSTS, {"wave": "south"}, "has no wave 'south'; it has canary, north, rest"),
        (HOSTS, {"wave": "rest"}, "nothing is to go back"),
        (["d2", "d4"], {}, "nothing is to go back"),
        ([], {}, "nothing is to go back"),
        (HOSTS, {"journal_dir": None}, "journal_dir"),
        (HOSTS, {"waves": [{"percent": 100}]}, "mutually exclusive"),
        (HOSTS, {"limits": {"max_failures": 1}}, "mutually exclusive"),
        (HOSTS, {"bundle": "bundle.json"}, "mutually exclusive"),
        (HOSTS, {"back_from": None, "bundle": "x.json", "wave": "canary"}, "missing parameter(s) required by 'wave'"),
        (HOSTS, {"back_from": None}, "one of the following is required: bundle, repository, back_from"),
    ],
)
def test_what_cannot_go_back_is_told_and_nothing_is_written(
    back: Back, hosts: list[str], arguments: Result, part: str
) -> None:
    before = back.files()
    with pytest.raises(AnsibleActionFail) as caught:
        back.plan(hosts, **arguments)
    assert part in caught.value.message
    assert back.files() == before


def test_a_rollout_whose_journal_was_changed_leads_nowhere(back: Back) -> None:
    path = back.folder / FROM / "journal.jsonl"
    path.write_text(path.read_text().replace('"outcome":"restored"', '"outcome":"updated"'))
    with pytest.raises(AnsibleActionFail, match="was changed after it was written"):
        back.plan()
