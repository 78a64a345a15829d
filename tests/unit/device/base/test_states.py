# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The states of a transaction: one table, in the code, in the documentation and in what other parts ask of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base import states
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.base.states import Phase, State

DOCS = Path(__file__).resolve().parents[4] / "docs/reference/engine.md"
WORD = re.compile(r"`([a-z]+)`")


def documented() -> dict[str, tuple[str, ...]]:
    """The table of docs/reference/engine.md: the states that may follow each state."""
    section = DOCS.read_text(encoding="utf-8").partition("## How a transaction goes")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    return {WORD.findall(state)[0]: tuple(WORD.findall(following)) for state, following in rows}


def test_the_documentation_has_the_same_states_and_edges() -> None:
    table = {state.value: set(map(str, state.following)) for state in State}
    assert {state: set(following) for state, following in documented().items()} == table
    assert list(documented()) == [state.value for state in State], "in the same order"


def test_the_documentation_lists_the_states_of_a_reply() -> None:
    listed = re.search(r"^`state` is one of `([a-z ]+)`", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed is not None and listed.group(1).split() == [state.value for state in State]


def test_every_state_is_reached_and_leads_to_an_end() -> None:
    reached, left = {State.IDLE}, [State.IDLE]
    while left:
        following = left.pop().following - reached
        reached |= following
        left.extend(following)
    assert reached == set(State)
    ending = {state for state in State if state.phase is Phase.ENDED}
    for _step in State:
        ending |= {state for state in State if state.following & ending}
    assert ending == set(State)


def test_what_was_touched_ends_confirmed_restored_or_broken_only() -> None:
    for state in State:
        if state.is_touched or state.phase is Phase.WAITING:
            assert not state.following & {State.REFUSED, State.DEFERRED}, state
        if state.is_untouched:
            assert State.RESTORING not in state.following, state
            assert {State.REFUSED, State.DEFERRED} <= state.following, state


def test_each_state_has_one_phase() -> None:
    assert State.IDLE.phase is Phase.NONE and not State.IDLE.is_open
    assert set(states.UNTOUCHED) == {"staged", "verified", "rehearsed", "snapshotted"}
    assert set(states.AT_WORK) - set(states.UNTOUCHED) == {
        "armed", "installing", "rebooting", "checking", "restoring",
    }  # fmt: skip
    assert set(states.ENDED) == {"confirmed", "restored", "broken", "refused", "deferred"}
    assert State.UNCONFIRMED.is_open and not State.UNCONFIRMED.is_at_work


def test_a_state_is_its_text_wherever_it_is_written() -> None:
    for state in State:
        texts = (str(state), "%s" % state, f"{state}", json.loads(json.dumps(state)), "{}".format(state))  # noqa: UP032
        assert set(texts) == {state.value}
        assert State(state.value) is state and {state.value: 1}[state] == 1
        assert json.dumps({state: state}, indent=1, sort_keys=True) == '{\n "%s": "%s"\n}' % (state.value, state.value)


@pytest.mark.parametrize("state", State)
def test_every_other_edge_is_refused(state: State) -> None:
    for following in State:
        if following in state.following:
            state.require(following)
        else:
            with pytest.raises(OtaError) as caught:
                state.require(following)
            assert caught.value.code == "ENGINE"
            assert "state %s cannot become %s" % (state.value, following.value) in caught.value.message
