# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gate and journal in real playbooks, on the ansible-core that is installed.

The truth table of the decision itself is in tests/unit/control/gate/test_decision.py; here every row goes through
``ansible-playbook``, and waves are really stopped.
"""

from __future__ import annotations

import itertools
import json
import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import journal, outcomes
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import rollout

if t.TYPE_CHECKING:
    from .conftest import Play, Result

RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
HOSTS = ["d1", "d2", "d3", "d4", "d5"]
FAILS = {*outcomes.FAILURE, "pending", "nothing"}
STATES = [*sorted(outcomes.ALL), "pending", "nothing"]


def make(**changes: t.Any) -> plan.Plan:
    waves = [{"count": 1}, {"count": 2}, {"percent": 100}]
    return plan.make(**{"hosts": HOSTS, "groups": {"all": HOSTS}, "release": RELEASE, "waves": waves, **changes})


def rows(folder: pathlib.Path) -> list[Result]:
    """A journal and the expected decision for each outcome, in the first wave or a later one, per limit and point."""
    table = []
    for number, (state, later, allowed, point) in enumerate(
        itertools.product(STATES, (False, True), (0, 1), ("before", "after"))
    ):
        made = make(limits={"max_failures": allowed})
        book = journal.Journal(rollout.start(folder / str(number), made, {}).path)
        device, wave = ("d3", 1) if later else ("d1", 0)
        for name in ("d1", "d2") if later else ():
            book.outcome(name, "updated")
        if state == "pending":
            book.pending(device, 1)
        elif state != "nothing":
            book.outcome(device, state)
        # "before" is asked of the wave that follows
        asked = wave + (point == "before")
        table.append({"path": str(book.path), "wave": asked, "point": point, "wanted": wanted(state, later, allowed)})
    return table


def wanted(state: str, later: bool, allowed: int) -> str:
    if state in ("broken", "rolled_back") or (state in FAILS and not allowed):
        return "halt"
    # in the first wave the device is alone: without it there is no evidence
    return "promote" if later or state in ("updated", "current") else "hold"


def test_truth_table(play: Play) -> None:
    table = rows(play.folder / "journals")
    assert len(table) == 88
    gate = {"journal": "{{ item.path }}", "wave": "{{ item.wave }}", "point": "{{ item.point }}"}
    ran = play(
        {
            "hosts": "all",
            "gather_facts": False,
            "vars": {"rows": table},
            "tasks": [
                {"fleet.ota.gate": gate, "loop": "{{ rows }}", "register": "gates", "run_once": True},
                play.keep("gates"),
            ],
        },
        hosts=HOSTS,
    )
    assert ran.rc == 0, ran.text
    found = [(result["item"], result["decision"], result["stop"]) for result in ran.kept["gates"]["results"]]
    assert found == [(row, row["wanted"], row["wanted"] != "promote") for row in table]


def waves_of(play: Play, path: str, made: plan.Plan, outcome: dict[str, str]) -> list[Result]:
    """A rollout like playbooks/rollout.yml, where the device's part is a variable."""
    gate: Result = {"register": "gate", "run_once": True}
    stop = {"ansible.builtin.meta": "end_play", "when": "gate.stop | default(true)"}
    record = {"state": "recorded", "path": path, "device": "{{ inventory_hostname }}"}
    return [
        {
            "hosts": made.order(),
            "serial": made.serial(),
            "gather_facts": False,
            "vars": {"outcome": outcome},
            "tasks": [
                {"fleet.ota.gate": {"journal": path, "point": "before"}, **gate},
                stop,
                {"fleet.ota.journal": {**record, "event": "device.pending"}},
                {
                    "fleet.ota.journal": {**record, "outcome": "{{ outcome[inventory_hostname] }}"},
                    "when": "inventory_hostname in outcome",
                },
                {"fleet.ota.gate": {"journal": path, "point": "after"}, **gate},
                stop,
            ],
        },
        {
            "hosts": "all",
            "gather_facts": False,
            "tasks": [
                {"fleet.ota.journal": {"state": "concluded", "path": path}, "register": "end", "run_once": True},
                play.keep("end"),
                {"ansible.builtin.assert": {"that": "end.as_planned"}, "run_once": True},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("bad", "touched", "result"),
    [
        ({}, ["d1", "d2", "d3", "d4", "d5"], "complete"),
        ({"d1": "restored"}, ["d1"], "halted"),
        ({"d1": "deferred"}, ["d1"], "held"),
        ({"d2": "lost"}, ["d1", "d2", "d3"], "halted"),
        ({"d2": None}, ["d1", "d2", "d3"], "halted"),  # nothing came back: counts as lost
        ({"d5": "broken"}, ["d1", "d2", "d3", "d4", "d5"], "halted"),
    ],
)
def test_waves_stop_where_the_gate_says_so(
    play: Play, bad: dict[str, str | None], touched: list[str], result: str
) -> None:
    made = make()
    path = str(rollout.start(play.folder / "journals", made, {}).path)
    outcome = {name: value for name, value in {**dict.fromkeys(HOSTS, "updated"), **bad}.items() if value}
    ran = play(*waves_of(play, path, made, outcome), hosts=HOSTS)
    records = journal.Journal(path).verify()
    assert sorted(record["device"] for record in records if record["event"] == "device.pending") == touched
    assert ran.kept["end"]["result"] == result, ran.text
    assert (ran.rc == 0) == (result == "complete")
    assert '"result": "%s"' % result in ran.text.partition("CUSTOM STATS")[2]


def test_a_killed_run_is_resumed_by_the_same_plays(play: Play) -> None:
    """The first run ends in the middle of wave 2; the second does the rest and judges it all."""
    made = make()
    folder = play.folder / "journals"
    path = str(rollout.start(folder, made, {}).path)
    book = journal.Journal(path)
    book.outcome("d1", "updated")
    book.outcome("d2", "updated")
    book.pending("d3", 1)
    again = rollout.start(folder, made, {})
    assert (again.done, again.unresolved) == (["d1", "d2"], ["d3"])
    ran = play(*waves_of(play, path, made, dict.fromkeys(HOSTS, "updated")), hosts=HOSTS)
    assert (ran.rc, ran.kept["end"]["result"], ran.kept["end"]["generation"]) == (0, "complete", 2), ran.text


def test_hostile_names_and_texts_stay_texts(play: Play, tmp_path: pathlib.Path) -> None:
    names = ["../../escaped", "{{ 7 * 7 }}x".replace(" ", "")]
    marker = tmp_path / "marker"
    made = make(hosts=names, groups={"all": names}, waves=[{"percent": 100}])
    path = str(rollout.start(play.folder / "journals", made, {}).path)
    book = journal.Journal(path)
    text = "{{ lookup('pipe', 'touch %s') }}\n\x1b[31m" % marker
    for name in names:
        book.outcome(name, "refused", code="RELEASE", message=text, before=text)
    read = {"fleet.ota.journal": {"state": "read", "path": path}, "register": "end", "run_once": True}
    show = {"ansible.builtin.debug": {"msg": "{{ end.summary_lines }} {{ end.devices }}"}, "run_once": True}
    ran = play({"hosts": "all", "gather_facts": False, "tasks": [read, show, play.keep("end")]}, hosts=["d1"])
    assert ran.rc == 0, ran.text
    assert [row["message"] for row in ran.kept["end"]["devices"]] == [text, text]
    assert not marker.exists()
    assert not list(play.folder.parent.glob("escaped*"))


def test_plan_reads_play_and_groups_of_ansible(play: Play, document: pathlib.Path) -> None:
    """From keys to the plan in one playbook, with a limit and values that are templates."""
    trust = {"repository": "repo", "trust_root": "root.json", "channel": "stable", "release": "gateway"}
    keys = {"path": "repo", "trust_root": "root.json", "keys_dir": "keys", "generate_keys": True}
    keys["channels"] = [{"name": "{{ wanted_channel }}"}]
    publish = {"repository": "repo", "trust_root": "root.json", "source": str(document), "keys": ["keys"]}
    publish["channel"] = "{{ wanted_channel }}"
    wanted_plan = {**trust, "cache": "cache", "waves": "{{ waves }}", "limits": {"max_failures": "{{ 1 + 1 }}"}}
    wanted_plan["journal_dir"] = "journals"
    start = {"state": "started", "journal_dir": "journals", "plan": "{{ made.plan }}"}
    ran = play(
        {
            "hosts": "all",
            "gather_facts": False,
            "vars": {"wanted_channel": "stable", "waves": [{"hosts": ["d4"]}, {"percent": "{{ 25 * 2 }}"}]},
            "tasks": [
                {"fleet.ota.repository": keys, "run_once": True},
                {"fleet.ota.release": publish, "run_once": True},
                {"fleet.ota.plan": wanted_plan, "run_once": True, "register": "made"},
                {"fleet.ota.journal": start, "run_once": True, "register": "started"},
                play.keep("made"),
                play.keep("started"),
            ],
        },
        hosts=HOSTS,
        options=["--limit", "!d2", "--diff"],
    )
    assert ran.rc == 0, ran.text
    made = ran.kept["made"]
    assert made["order"] == ["d4", "d1", "d3"]
    assert made["plan"]["skipped"] == [{"host": "d5", "reason": "in no wave"}]
    assert made["plan"]["limits"]["max_failures"] == 2
    assert plan.digest(made["plan"]) == made["plan"]["digest"]
    assert "+wave-1: d4" in ran.text
    assert pathlib.Path(ran.kept["started"]["path"]).is_file()
    json.dumps(ran.kept)
