# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""State files that are damaged, lost, or cannot be written for want of room."""

from __future__ import annotations

import errno
import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.system import durable, kept
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout

NAME = "record.json"
OLD, NEW = {"state": "unconfirmed", "boots": 1}, {"state": "restoring", "boots": 2}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(str(tmp_path))
    found.prepare()
    kept.write(found, NAME, OLD)
    kept.write(found, NAME, NEW)
    return found


def is_whole(value: kept.Value) -> bool:
    return isinstance(value.get("boots"), int)


def test_the_file_is_plain_json_for_everybody(layout: Layout) -> None:
    content = Path(layout.file(NAME)).read_text()
    assert content == json.dumps(NEW, indent=1, sort_keys=True) + "\n"


@pytest.mark.parametrize("content", [b"", b"\0" * 60, b"garbage", b'{"state": "resto', b"[]", b'{"boots": "two"}'])
def test_a_damaged_file_is_told_from_a_missing_one_and_its_copy_counts(layout: Layout, content: bytes) -> None:
    Path(layout.file(NAME)).write_bytes(content)
    assert kept.read(layout, NAME, valid=is_whole) == NEW
    Path(layout.file("kept", NAME)).write_bytes(b"\0" * 100)
    with pytest.raises(OtaError, match=NAME) as raised:
        kept.read(layout, NAME, valid=is_whole)
    assert raised.value.code == "DAMAGED"


def test_bits_that_fell_over_are_damage_although_it_is_json_still(layout: Layout) -> None:
    path = Path(layout.file(NAME))
    info = path.stat()
    path.write_bytes(path.read_bytes().replace(b"restoring", b"restorinh"))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert kept.read(layout, NAME) == NEW


def test_what_an_engine_without_copies_wrote_counts(layout: Layout) -> None:
    durable.write_json(layout.file(NAME), {"state": "restored", "boots": 2})
    assert kept.read(layout, NAME) == {"state": "restored", "boots": 2}
    assert kept.read(layout, "other.json") is None


def test_a_file_that_is_gone_is_missing_unless_it_is_one_that_nobody_removes(layout: Layout) -> None:
    os.unlink(layout.file(NAME))
    assert kept.read(layout, NAME) is None
    assert kept.read(layout, NAME, lasting=True) == NEW


def test_a_torn_slot_leaves_the_other_one(layout: Layout) -> None:
    copy = Path(layout.file("kept", NAME))
    content = bytearray(copy.read_bytes())
    content[content.index(b"restoring")] ^= 1
    copy.write_bytes(bytes(content))
    Path(layout.file(NAME)).write_bytes(b"")
    assert kept.read(layout, NAME) == OLD


def test_without_room_the_copy_stands_for_the_file(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    real, later = durable.write, {"state": "restored", "boots": 3}

    def full(path: str, content: bytes, mode: int = 0o600) -> t.NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(durable, "write", full)
    with pytest.raises(OSError, match="No space"):
        kept.write(layout, NAME, later)
    for number in range(3, 6):
        kept.write(layout, NAME, {**later, "boots": number}, cramped=True)
        assert kept.read(layout, NAME) == {**later, "boots": number}
    assert json.loads(Path(layout.file(NAME)).read_text()) == NEW
    kept.heal(layout, NAME)
    assert kept.is_behind(layout, NAME)
    monkeypatch.setattr(durable, "write", real)
    kept.heal(layout, NAME)
    assert not kept.is_behind(layout, NAME)
    assert json.loads(Path(layout.file(NAME)).read_text()) == {**later, "boots": 5}
    kept.write(layout, NAME, later)
    assert kept.read(layout, NAME) == later == json.loads(Path(layout.file(NAME)).read_text())


def test_the_room_that_is_held_goes_first(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.reserve(layout)
    held, real = Path(layout.file("kept", "reserve")), durable.write

    def narrow(path: str, content: bytes, mode: int = 0o600) -> None:
        if held.exists():
            raise OSError(errno.ENOSPC, "No space left on device", path)
        real(path, content, mode)

    monkeypatch.setattr(durable, "write", narrow)
    kept.write(layout, NAME, OLD, cramped=True)
    assert json.loads(Path(layout.file(NAME)).read_text()) == OLD


def test_a_content_that_outgrows_its_slots_gets_larger_ones(layout: Layout) -> None:
    large = {"boots": 1, "text": "x" * 50000}
    kept.write(layout, NAME, large)
    Path(layout.file(NAME)).write_bytes(b"")
    assert kept.read(layout, NAME) == large


def test_what_an_engine_without_copies_wrote_counts_also_under_an_inode_that_a_copy_stood_for(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system gives the number of a file that is gone to the next one: after two writes it is the same again."""
    path = Path(layout.file(NAME))

    def full(path: str, content: bytes, mode: int = 0o600) -> t.NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write", full)
        kept.write(layout, NAME, {"state": "restored", "boots": 3}, cramped=True)
    assert kept.is_behind(layout, NAME)
    number = path.stat().st_ino
    path.write_text(json.dumps({"state": "staged", "boots": 0}))
    os.utime(path, ns=(1, 1))
    assert path.stat().st_ino == number
    assert kept.read(layout, NAME) == {"state": "staged", "boots": 0}
    assert not kept.is_behind(layout, NAME)
