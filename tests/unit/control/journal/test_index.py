# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The index beside a journal: it answers as the journal does, and never against it."""

from __future__ import annotations

import collections
import json
import multiprocessing
import os
import pathlib
import sys
import tempfile
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import files
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import JournalError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import host, index
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import State

DEVICES = [f"d{number}" for number in range(40)] + ["\u00e4", "../../x", '"d1"', "\udcff"]


@pytest.fixture
def book(tmp_path: pathlib.Path) -> Journal:
    book = Journal.begin(tmp_path / "r" / "journal.jsonl", "gateway-2.0-1a2b3c4d", {"generation": 1})
    for number, device in enumerate(DEVICES):
        book.pending(device, 1)
        if number % 3:
            book.outcome(device, "lost" if number % 2 else "updated")
        if number % 5 == 0:
            book.seen(device, healthy=bool(number % 2), release=f"gateway {number}")
    return book


def answers(book: Journal) -> dict[str, t.Any]:
    """Everything that is asked of the index."""
    return {
        "checkpoint": book.checkpoint(),
        "holds": [
            book.holds({**book.checkpoint(), "size": one["seq"] + 1, "head": one["hash"]}) for one in book.read()
        ],
        "devices": [(book.latest(one), book.unresolved(one), book.sight(one)) for one in DEVICES],
    }


def without(book: Journal) -> dict[str, t.Any]:
    """The same from all records."""
    records = book.read()
    state = State.of(records)
    latest: dict[str, str | None] = dict.fromkeys(DEVICES)
    sights: dict[str, tuple[bool, str] | None] = dict.fromkeys(DEVICES)
    for record in records:
        device = record.get("device", "")
        if record["event"] == "notify.sent":
            continue
        if record["event"] == "device.seen":
            sights[device] = (record["data"]["healthy"], record["data"]["release"])
        else:
            latest[device], sights[device] = record.get("outcome"), None
    unresolved = ("pending", "lost")
    return {
        "checkpoint": state.checkpoint(),
        "holds": [True] * len(records),
        "devices": [(latest[one], state.standings[one].outcome in unresolved, sights[one]) for one in DEVICES],
    }


def _header(path: pathlib.Path, at: int, content: bytes) -> bytes:
    """The index ``path`` with ``content`` in place of what its header has at ``at``."""
    whole = path.read_bytes()
    return whole[:at] + content + whole[at + len(content) :]


def place(book: Journal) -> pathlib.Path:
    return index.place(book.path)


def test_it_answers_as_all_records_do_and_keeps_up(book: Journal) -> None:
    assert answers(book) == without(book)
    before = place(book).stat().st_ino
    book.outcome("d3", "restored")
    book.append("rollout.reset", data={"ahead": ["d3"]})
    book.seen("d3", healthy=True, release="gateway 1")
    book.append("rollout.resumed", data={"generation": 2})
    assert answers(book)["checkpoint"] == without(book)["checkpoint"]
    assert (book.latest("d3"), book.sight("d3")) == ("restored", (True, "gateway 1"))
    with pytest.raises(JournalError, match="was taken over"):
        book.require_newest(1)
    book.require_newest(2)
    assert place(book).stat().st_ino == before


def test_it_reads_what_is_new_and_nothing_else(book: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    book.checkpoint()
    sizes: list[int] = []
    real = os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        sizes.append(size)
        return real(fd, size, at)

    monkeypatch.setattr(index.os, "pread", counted)
    line = len(files.canonical(book.outcome("d7", "updated"))) + 1
    sizes.clear()
    assert book.latest("d7") == "updated"
    assert book.holds(book.checkpoint())
    assert sum(sizes) < 12 * line < book.path.stat().st_size


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"x" * 300_000),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(path.read_bytes()[:-30]),
        lambda path: path.write_bytes(path.read_bytes()[:4000]),
        lambda path: path.write_bytes(path.read_bytes()[: index._ENTRIES_AT]),
        lambda path: path.write_bytes(_header(path, 56, b"\xff" * 7 + b"\x7f")),
        lambda path: path.write_bytes(_header(path, 64, b"\xff" * 7 + b"\x7f")),
        lambda path: path.write_bytes(_header(path, 88, b"\xff" * 64)),
        lambda path: path.write_bytes(path.read_bytes()[: index._ENTRIES_AT] + b"\xff" * 5000),
    ],
)
def test_whatever_becomes_of_it_is_made_good(book: Journal, damage: t.Callable[[pathlib.Path], object]) -> None:
    wanted = answers(book)
    damage(place(book))
    assert answers(book) == wanted


def test_one_of_another_boot_is_not_used(book: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut some of its pages may be older than others."""
    wanted = answers(book)
    content = bytearray(place(book).read_bytes())
    content[index._HEADS_AT : index._ENTRIES_AT] = bytes(index._ENTRIES_AT - index._HEADS_AT)
    place(book).write_bytes(content)
    assert book.latest("d1") is None  # what a stale page would answer
    monkeypatch.setattr(host, "boot", lambda: "another boot")
    assert answers(book) == wanted


def test_one_whose_change_was_cut_off_is_not_used(book: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of d1 it names a record by then that is another device's."""
    book.checkpoint()
    size = book.path.stat().st_size
    book.outcome("d1", "restored")
    real = index._write

    def killed(fd: int, content: bytes, offset: int) -> None:
        real(fd, content, offset)
        if index._HEADS_AT <= offset < index._ENTRIES_AT:
            raise KeyboardInterrupt

    monkeypatch.setattr(index, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        book.latest("d1")
    monkeypatch.undo()
    os.truncate(book.path, size)  # what was appended did not get to the disk
    book.append("notify.sent", data={"about": "held", "to": "x"})
    assert book.latest("d1") == "lost"
    assert answers(book) == without(book)


@pytest.mark.parametrize("how", ["shorter", "other", "older and on", "begun anew"])
def test_a_journal_that_was_put_in_place_is_noticed(book: Journal, tmp_path: pathlib.Path, how: str) -> None:
    lines = book.path.read_bytes().splitlines(keepends=True)
    kept = answers(book)["checkpoint"]
    if how == "begun anew":
        book.path.unlink()
        Journal.begin(book.path, "gateway-2.0-1a2b3c4d", {"generation": 1})
    else:
        book.path.write_bytes(b"".join(lines[:10]))
    for device in DEVICES:
        if how != "shorter":
            book.outcome(device, "restored" if how == "other" else "current")
            book.outcome(device, "updated")
            book.pending(device, 1)
    assert not book.holds(kept)
    assert book.checkpoint() == State.of(book.read()).checkpoint()
    fresh = [book.latest(one) for one in DEVICES]
    index.discard(book.path)
    assert fresh == [book.latest(one) for one in DEVICES]


@pytest.mark.parametrize("how", ["edit", "same length", "remove", "swap", "insert"])
def test_no_change_of_old_records_gets_past_who_verifies(book: Journal, how: str) -> None:
    answers(book)
    records: list[dict[str, t.Any]] = [json.loads(line) for line in book.path.read_text().splitlines()]
    if how == "edit":
        records[5]["data"]["more"] = 1
    elif how == "same length":
        records[5]["time"] = records[5]["time"][:-2] + ("0Z" if records[5]["time"][-2] != "0" else "1Z")
    elif how == "remove":
        del records[5]
    elif how == "swap":
        records[5], records[6] = records[6], records[5]
    else:
        records.insert(5, dict(records[4]))
    book.path.write_bytes(b"".join(files.canonical(record) + b"\n" for record in records))
    with pytest.raises(JournalError):
        book.verify()
    with pytest.raises(JournalError):
        book.state()


def test_what_it_says_is_read_from_the_journal(book: Journal) -> None:
    """An edited record that keeps its place is read as it is now, as it was without an index."""
    book.checkpoint()
    content = book.path.read_bytes()
    book.path.write_bytes(content.replace(b'"outcome":"updated"', b'"outcome":"current"'))
    assert book.latest("d2") == "current"


def test_one_that_names_wrong_places_is_made_anew(book: Journal) -> None:
    wanted = answers(book)
    content = bytearray(place(book).read_bytes())
    for number in range(1, 20):
        at = index._ENTRIES_AT + number * index._ENTRY.size
        begin, before, name, kind = index._ENTRY.unpack(content[at : at + index._ENTRY.size])
        content[at : at + index._ENTRY.size] = index._ENTRY.pack(begin + 1, before, name, kind)
    place(book).write_bytes(content)
    assert [book.latest(one) for one in DEVICES] == [latest for latest, _open, _sight in wanted["devices"]]


def test_without_a_place_for_it_the_answers_are_the_same(book: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = answers(book)
    place(book).unlink()
    place(book).symlink_to("/dev/null")  # not ours
    assert answers(book) == wanted
    place(book).unlink()
    monkeypatch.setattr(host, "boot", lambda: None)
    assert answers(book) == wanted
    assert not place(book).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="there a temporary file is needed")
def test_no_answer_needs_room_on_a_disk(book: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = answers(book)
    place(book).unlink()
    place(book).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    assert answers(book) == wanted


def _work(path: pathlib.Path, number: int) -> None:
    book = Journal(path)
    for turn in range(20):
        device = f"w{number}-{turn}"
        book.pending(device, 1)
        assert book.unresolved(device)
        book.checkpoint()
        book.outcome(device, "updated")
        assert book.latest(device) == "updated"
        if turn % 7 == 0:
            index.discard(path)


def test_many_processes_use_one(book: Journal) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(book.path, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert collections.Counter(record["event"] for record in book.verify())["device.outcome"] >= 80
    assert answers(book) == without_workers(book)


def without_workers(book: Journal) -> dict[str, t.Any]:
    """:func:`without`, of the fixture's devices."""
    state = State.of(book.read())
    index.discard(book.path)
    return {**answers(book), "checkpoint": state.checkpoint()}


def test_it_is_for_its_owner_only_and_no_journal(book: Journal) -> None:
    book.checkpoint()
    assert place(book).stat().st_mode & 0o777 == 0o600
    assert list(book.path.parents[1].glob("*/journal.jsonl")) == [book.path]
