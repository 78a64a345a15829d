# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal: chain, torn tail, several writers, hostile texts."""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
import os
import pathlib
import re
import threading
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import files
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import JournalError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import index, journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import State


@pytest.fixture
def book(tmp_path: pathlib.Path) -> Journal:
    return Journal.begin(tmp_path / "r" / "journal.jsonl", "gateway-2.0-1a2b3c4d", {"generation": 1})


def test_a_record_has_every_field_and_chains_to_the_one_before(book: Journal) -> None:
    record = book.outcome("dev1", "restored", code="HEALTH", message="no answer", seconds=3.5)
    first, second = book.verify()
    assert second == record
    assert second["prev"] == first["hash"]
    assert first["prev"] == journal.GENESIS
    assert (second["v"], second["seq"], second["rollout"]) == (1, 1, "gateway-2.0-1a2b3c4d")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", second["time"])
    assert (second["outcome"], second["code"], second["data"]) == ("restored", "HEALTH", {"seconds": 3.5})


def test_only_begin_makes_a_journal(tmp_path: pathlib.Path, book: Journal) -> None:
    with pytest.raises(JournalError, match="state: started"):
        Journal(tmp_path / "nothing.jsonl").pending("dev1", 1)
    with pytest.raises(FileExistsError):
        Journal.begin(book.path, "x", {})


def test_the_file_is_for_its_owner_only(book: Journal) -> None:
    assert book.path.stat().st_mode & 0o777 == 0o600
    assert book.path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "wrong",
    [
        {"event": "device.vanished", "device": "a"},
        {"event": "device.outcome", "device": "a", "outcome": "fine"},
        {"event": "device.outcome", "device": "a"},
        {"event": "device.pending"},
        {"event": "device.pending", "device": "a", "outcome": "updated"},
        {"event": "wave.ended", "device": "a"},
    ],
)
def test_what_does_not_exist_is_not_recorded(book: Journal, wrong: dict[str, str]) -> None:
    with pytest.raises(JournalError):
        book.append(**wrong)  # type: ignore[arg-type]
    assert len(book.read()) == 1


@pytest.mark.parametrize("torn", [b"{", b'{"v":1,"seq":1', b"\x00\x00\x00\x00", b"x" * 100_000])
def test_a_torn_tail_is_cut_off_and_told(book: Journal, torn: bytes) -> None:
    with book.path.open("ab") as handle:
        handle.write(torn)
    assert len(book.read()) == 1
    book.pending("dev1", 1)
    records = book.verify()
    assert [record["event"] for record in records] == ["rollout.started", "audit.gap", "device.pending"]
    assert records[1]["data"] == {"bytes": len(torn)}
    assert book.path.read_bytes().endswith(b"}\n")


def test_a_record_larger_than_the_window_is_found(book: Journal) -> None:
    book.append("wave.started", data={"much": "x" * 300_000})
    book.pending("dev1", 1)
    assert len(book.verify()) == 3


def _write(path: pathlib.Path, name: str) -> None:
    for number in range(25):
        Journal(path).pending(f"{name}-{number}", 1)


def test_many_processes_write_one_chain(book: Journal) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(book.path, f"w{number}")) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(book.verify()) == 101


def _lines(book: Journal) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in book.path.read_text().splitlines()]


def _store(book: Journal, records: list[dict[str, t.Any]]) -> None:
    book.path.write_bytes(b"".join(files.canonical(record) + b"\n" for record in records))


@pytest.mark.parametrize("how", ["edit", "edit and hash", "remove", "swap", "insert"])
def test_tampering_breaks_the_chain(book: Journal, how: str) -> None:
    for number in range(4):
        book.outcome(f"dev{number}", "restored")
    records = _lines(book)
    if how == "edit":
        records[2]["outcome"] = "updated"
    elif how == "edit and hash":
        del records[2]["hash"]
        records[2]["outcome"] = "updated"
        records[2]["hash"] = hashlib.sha256(files.canonical(records[2])).hexdigest()
    elif how == "remove":
        del records[2]
    elif how == "swap":
        records[2], records[3] = records[3], records[2]
    else:
        records.insert(2, dict(records[1]))
    _store(book, records)
    with pytest.raises(JournalError, match=r"line [34]"):
        book.verify()


def test_a_cut_tail_shows_against_a_checkpoint(book: Journal) -> None:
    book.outcome("dev1", "broken")
    kept = book.checkpoint()
    assert kept["size"] == 2
    assert book.holds(kept)
    book.pending("dev2", 1)
    assert book.holds(kept)
    _store(book, _lines(book)[:1])
    book.verify()  # the chain alone cannot tell
    assert not book.holds(kept)


def test_a_checkpoint_names_the_journal_and_where_somebody_went_on_with_an_older_one(book: Journal) -> None:
    first = book.last()
    kept = book.checkpoint()
    assert kept == {"rollout": first["rollout"], "size": 1, "head": first["hash"], "journal": first["hash"]}
    book.append("rollout.reset", data={"devices": ["dev1"]})
    book.outcome("dev1", "restored", message='looks like "rollout.reset" and "ahead"')
    assert (book.checkpoint()["size"], "since" in book.checkpoint()) == (3, False)
    reset = book.append("rollout.reset", data={"devices": [], "ahead": ["dev1"]})
    assert book.checkpoint()["since"] == reset["hash"]
    book.pending("dev2", 1)
    made = {"rollout": first["rollout"], "size": 5, "head": book.last()["hash"], "journal": first["hash"]}
    assert book.checkpoint() == {**made, "since": reset["hash"]}


def test_a_checkpoint_waits_for_a_record_that_is_being_written(book: Journal) -> None:
    """What a device witnesses must be on disk, or a power cut of the controller leaves it ahead for ever."""
    with book.path.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        asked = threading.Thread(target=book.checkpoint, daemon=True)
        asked.start()
        asked.join(0.3)
        assert asked.is_alive()
    asked.join(10)
    assert not asked.is_alive()


def test_who_was_ahead_is_nobody_any_more_after_a_reset(book: Journal) -> None:
    book.outcome("a", "deferred", code="AHEAD")
    book.outcome("b", "deferred", code="BUSY")
    assert State.of(book.read()).standings["a"].ahead
    book.append("rollout.reset", data={"devices": [], "ahead": ["a"]})
    assert set(State.of(book.read()).standings) == {"b"}


def test_standings_are_the_latest_word_of_each_device(book: Journal) -> None:
    book.pending("a", 1)
    book.pending("b", 1)
    book.outcome("a", "updated", before="1.0", after="2.0")
    book.seen("a", healthy=False)
    book.outcome("b", "lost", code="UNREACHABLE")
    book.pending("b", 2)
    book.pending("c", 2)
    book.outcome("c", "updated")
    book.seen("c", healthy=True)
    found = State.of(book.read()).standings
    assert [(name, one.outcome, one.healthy) for name, one in found.items()] == [
        ("a", "updated", False),
        ("b", "pending", True),
        ("c", "updated", True),
    ]
    assert found["a"].data["after"] == "2.0"
    book.outcome("a", "updated")
    assert State.of(book.read()).standings["a"].healthy  # a new outcome begins anew


def test_the_latest_of_a_device_is_read_from_the_end(book: Journal) -> None:
    assert book.latest("a") is None
    book.outcome("a", "updated")
    book.outcome("\u00e4", "restored", message='"a" is not this one')
    book.seen("a", healthy=True)
    assert (book.latest("a"), book.latest("\u00e4")) == ("updated", "restored")
    book.pending("a", 2)
    assert book.latest("a") is None


@pytest.mark.parametrize("text", ["two\nlines", '{"seq": 0}', "\x1b[31m", "\udcff", "\x00", "x" * 100_000])
def test_a_device_cannot_break_the_journal_by_its_texts(book: Journal, text: str) -> None:
    book.outcome("../../" + text[:50], "refused", code="RELEASE", message=text, before=text[:50])
    records = book.verify()
    assert len(records) == 2
    assert len(records[1]["message"]) <= journal.LONGEST + 3
    assert not [
        path
        for path in book.path.parent.parent.rglob("*")
        if path.name not in ("r", "journal.jsonl", index.place(book.path).name)
    ]


def test_nothing_of_a_failed_write_stays(book: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(journal.os, "pwrite", lambda fd, line, offset: real(fd, line[:20], offset))
    with pytest.raises(JournalError, match="No space left"):
        book.pending("dev1", 1)
    monkeypatch.undo()
    assert len(book.verify()) == 1
    assert book.path.read_bytes().endswith(b"}\n")
