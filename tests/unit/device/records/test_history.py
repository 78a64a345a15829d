# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history of a device stays small, and loses nothing of the transaction that is asked about."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.records import history
from ansible_collections.fleet.ota.plugins.module_utils._device.system import durable
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout


def filled(layout: Layout, count: int) -> None:
    layout.prepare()
    lines = [json.dumps({"transaction": "mine" if number < 5 else "other", "n": number}) for number in range(count)]
    Path(history.path(layout)).write_text("\n".join(lines) + "\n{torn")


def numbers(layout: Layout) -> list[int]:
    found = Path(history.path(layout)).read_text().splitlines()
    return [json.loads(line)["n"] for line in found if line.endswith("}")]


def test_the_oldest_records_go_and_those_of_the_last_transaction_stay(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    filled(layout, history.MOST + history.SLACK + 50)
    history.compact(layout, "mine")
    kept = numbers(layout)
    assert kept[:5] == [0, 1, 2, 3, 4] and kept[-1] == history.MOST + history.SLACK + 49
    assert len(kept) == history.MOST - 1 + 5
    before = os.stat(history.path(layout)).st_ino
    history.compact(layout, "mine")
    assert os.stat(history.path(layout)).st_ino == before, "written anew only when it is worth it"


def test_a_power_cut_while_it_is_written_anew_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(str(tmp_path))
    filled(layout, history.MOST + history.SLACK + 50)
    before = Path(history.path(layout)).read_bytes()

    def lost(*_names: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(durable.os, "rename", lost)
    with pytest.raises(KeyboardInterrupt):
        history.compact(layout, "mine")
    monkeypatch.undo()
    assert Path(history.path(layout)).read_bytes() == before
