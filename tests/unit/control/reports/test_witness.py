# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A journal that was changed, chain and all, is told by what it cannot change: devices, and the journals after it."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import files
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import record
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.reports import fleet, witness

from .test_fleet import ROLLOUT, info, started

pytestmark = pytest.mark.one_core


def changed(book: Journal, change: t.Callable[[list[t.Any]], None]) -> None:
    """Change the records and compute the whole chain anew, as somebody with the file and this code can."""
    records = [json.loads(line) for line in book.path.read_text().splitlines()]
    change(records)
    chained: list[t.Any] = []
    for number, one in enumerate(records):
        content = {
            key: value for key, value in one.items() if key not in ("v", "seq", "time", "rollout", "prev", "hash")
        }
        before = chained[-1]["hash"] if chained else one["prev"]
        chained.append(record.complete(t.cast(record.Entry, content), one["rollout"], number, before))
    book.path.write_bytes(b"".join(files.canonical(one) + b"\n" for one in chained))
    book.verify()


def told(folder: pathlib.Path, outcome: str, kept: object = ()) -> list[str]:
    last = {"state": "confirmed", "outcome": outcome, "code": None, "rollout": ROLLOUT}
    infos = {"d1": info("2.0", transaction=last, witness=kept)}
    places, problems = fleet.places(folder, ["d1"])
    assert problems == []
    return witness.differences(fleet.rows(["d1"], infos, {}, places), infos, places)


def test_a_device_contradicts_an_outcome_that_was_rewritten(tmp_path: pathlib.Path) -> None:
    book = started(tmp_path, ["d1"])
    book.outcome("d1", "restored", code="HEALTH")
    assert told(tmp_path, "restored") == []
    changed(book, lambda records: records[-1].update(outcome="updated", code=None))
    (line,) = told(tmp_path, "restored")
    assert (
        f"d1 says restored of {ROLLOUT}, and the journal updated: the journal or the device's record was changed"
        in line
    )


@pytest.mark.parametrize("outcome", [None, "lost", "timed_out"])
def test_what_the_journal_does_not_know_yet_is_no_contradiction(tmp_path: pathlib.Path, outcome: str | None) -> None:
    book = started(tmp_path, ["d1"])
    if outcome:
        book.outcome("d1", outcome)
    (line,) = told(tmp_path, "updated")
    assert line.endswith("the rollout's next run records it")


def test_a_first_record_that_was_changed_is_another_journal_than_the_one_that_was_witnessed(
    tmp_path: pathlib.Path,
) -> None:
    book = started(tmp_path, ["d1"])
    book.outcome("d1", "updated")
    kept = [book.checkpoint(), {"rollout": "other-1-00000000", "size": 1, "head": "a", "journal": "b"}, "nonsense"]
    assert told(tmp_path, "updated", kept) == []
    changed(book, lambda records: records[0]["data"]["controller"].update(user="somebody else"))
    (line,) = told(tmp_path, "updated", kept)
    assert f"d1 has witnessed a journal of {ROLLOUT} with another first record" in line


def test_the_next_rollout_remembers_where_the_one_before_had_ended(tmp_path: pathlib.Path) -> None:
    book = started(tmp_path, ["d1"])
    book.outcome("d1", "updated")
    after = started(tmp_path, ["d1"], "5e6f7a8b" * 8)
    name = after.path.parent.name
    assert witness.predecessors(tmp_path, [name, ROLLOUT, name, "none-1-00000000"]) == []
    book.outcome("d1", "updated")  # it went on since
    assert witness.predecessors(tmp_path, [name]) == []
    changed(book, lambda records: records[1].update(outcome="restored"))
    (line,) = witness.predecessors(tmp_path, [name])
    assert f"{name} began after 2 records of {ROLLOUT}, whose journal has others now" in line
    changed(after, lambda records: records[0].update(prev="f" * 64))
    assert "its first record was changed" in witness.predecessors(tmp_path, [name])[0]
    book.path.unlink()
    changed(after, lambda records: records[0].update(prev=records[0]["data"]["previous"]["head"]))
    assert witness.predecessors(tmp_path, [name]) == [], "it was archived"
