# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A rollout's progress as a table that stays at the bottom of a terminal."""

from __future__ import annotations

import typing as t

from .._control.journal import outcomes

try:
    from rich.console import Console
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table as Grid
    from rich.text import Text
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True

if t.TYPE_CHECKING:
    from .._control.reports.progress import Progress, Wave

_COLOURS = {"updated": "green", "current": "green", "deferred": "yellow", "broken": "bold red"}
_STATES = {"passed": "green", "running": "cyan", "hold": "yellow", "halt": "bold red"}


class Table:
    """Draws at once and only when told: no thread may hold a lock while Ansible forks its workers."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live: Live | None = None

    def show(self, progress: Progress, lines: t.Iterable[str]) -> None:
        """Print ``lines`` above the table and draw it anew."""
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=True, redirect_stderr=True)
            self._live.start()
        for line in lines:
            self._console.print(Text(line))
        self._live.update(grid(progress), refresh=True)

    def stop(self) -> None:
        """Leave the table where it is and the terminal to others."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def grid(progress: Progress) -> Grid:
    """The table itself."""
    table = Grid(title=progress.rollout, caption=progress.rates() or None, expand=False)
    for name in ("wave", "devices", "", "outcomes", "gate"):
        table.add_column(name, overflow="fold")
    for wave in progress.waves:
        done = ProgressBar(total=len(wave.hosts) or 1, completed=len(wave.outcomes), width=20)
        state = Text(wave.state if not wave.reason else f"{wave.state}: {wave.reason}", _STATES.get(wave.state, ""))
        table.add_row(wave.name, f"{len(wave.outcomes)}/{len(wave.hosts)}", done, _counts(wave), state)
    return table


def _counts(wave: Wave) -> Text:
    text = Text()
    for name, number in wave.counts().items():
        colour = _COLOURS.get(name, "red" if name in outcomes.FAILURE else "")
        text.append(f"{number} {name}  ", colour)
    if wave.running:
        text.append(f"{len(wave.running)} running", "cyan")
    return text
