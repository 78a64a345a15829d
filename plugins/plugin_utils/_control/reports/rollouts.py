# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The rollouts below a journal directory, for whoever looks for an id."""

from __future__ import annotations

import pathlib
import typing as t

from ..base.errors import JournalError
from ..journal import journal
from ..journal.journal import Journal
from ..journal.state import State
from ..rollout import rollout

Row = dict[str, t.Any]


def listed(directory: pathlib.Path) -> tuple[list[Row], list[str]]:
    """A row for each rollout and each way back below ``directory``, the one that was at work last first, and problems.

    A row has ``rollout``, ``release`` (name, version, channel), ``back_from`` (the rollout that it takes back, or
    None), ``begun`` and ``last`` (times of the first and the last record), ``result``, ``reason`` and ``counts``.
    """
    rows, problems = [], []
    for path in directory.glob(f"*/{journal.NAME}"):
        try:
            records = Journal(path).read()
            state = State.of(records)
            end = rollout.result_of(state)
        except JournalError as error:
            problems.append(str(error))
            continue
        release = state.plan.release
        rows.append(
            {
                "rollout": state.rollout,
                "release": {key: release[key] for key in ("name", "version", "channel")},
                "back_from": state.plan.back_from,
                "begun": records[0]["time"],
                "last": records[-1]["time"],
                "result": end.result,
                "reason": end.reason,
                "counts": end.counts,
            }
        )
    return sorted(rows, key=lambda row: str(row["last"]), reverse=True), problems


def lines(rows: t.Iterable[Row]) -> list[str]:
    """For people, a line for each rollout."""
    return [_line(row) for row in rows] or ["there are no rollouts"]


def _line(row: Row) -> str:
    release, back = row["release"], row["back_from"]
    what = f"way back from {back}" if back else f"{release['name']} {release['version']} ({release['channel']})"
    return f"{row['rollout']}: {what}, {row['last'][:16].replace('T', ' ')}, {row['result']}, {row['reason']}"
