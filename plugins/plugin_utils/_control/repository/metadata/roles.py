# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Who shall hold which role of a repository, as people configure it."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from . import store

if t.TYPE_CHECKING:
    from .edit import Holders

#: These would collide with the repository's own names.
RESERVED = frozenset({*store.TOP, "payloads", "approvals", "mirrors"})

_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclasses.dataclass(frozen=True)
class Config:
    """Who holds which role, channel and approvals role; ``periods`` are days until expiry (:data:`store.PERIODS`)."""

    roles: t.Mapping[str, Holders]
    channels: t.Mapping[str, Holders]
    periods: t.Mapping[str, int]
    approvals: t.Mapping[str, Holders] = dataclasses.field(default_factory=dict)

    def problems(self) -> list[str]:
        """Every mistake in it."""
        mistakes = [
            f"roles.{name}: unknown; there are {', '.join(store.TOP)}" for name in set(self.roles) - set(store.TOP)
        ]
        for name in self.channels:
            if name in RESERVED or store.is_approvals(name) or not _CHANNEL.fullmatch(name):
                mistakes.append(f"channels: {name!r} cannot name a channel; use letters, digits, dash, underscore")
        for name in self.approvals:
            if not store.is_approvals(name):
                mistakes.append(f"approvals: {name!r} cannot name an approvals role; use approvals or approvals-NAME")
        for name, those in (*self.roles.items(), *self.channels.items(), *self.approvals.items()):
            values = {str(key.keyval) for key in those.keys}
            if len(values) != len(those.keys):
                # two ids of one key would meet a threshold of two alone
                mistakes.append(f"{name}: the same key is given twice; every signature must come from another key")
            if not 1 <= those.threshold <= len(those.keys):
                mistakes.append(f"{name}: a threshold of {those.threshold} does not fit {len(those.keys)} keys")
        for name, days in self.periods.items():
            if name not in store.PERIODS:
                mistakes.append(f"expiry_days.{name}: unknown; there are {', '.join(sorted(store.PERIODS))}")
            elif not 1 <= days <= 36500:
                mistakes.append(f"expiry_days.{name}: must be 1 to 36500 days, not {days}")
        return mistakes
