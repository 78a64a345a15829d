# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""One repository, opened: where it lies, from which root it is trusted, and as of when."""

from __future__ import annotations

import datetime
import pathlib
import typing as t

from ...base import libraries
from .edit import Edit
from .store import Store

if t.TYPE_CHECKING:
    from ...keys.ring import Ring
    from .store import State


class Session:
    """What everything that reads or changes a repository is given.

    ``trust_root`` is the root metadata that the repository's clients pin; with it, a repository that somebody replaced
    as a whole is neither believed nor signed on top of. ``now`` is for tests.
    """

    def __init__(
        self, directory: pathlib.Path, *, trust_root: bytes | None = None, now: datetime.datetime | None = None
    ) -> None:
        libraries.require()
        self.store = Store(directory)
        self.trust_root = trust_root
        self.now = now or datetime.datetime.now(datetime.UTC)

    @property
    def exists(self) -> bool:
        """Whether there is a repository yet."""
        return self.store.exists

    def load(self) -> State:
        """The metadata as it is now, verified from the pinned root on. Raises :class:`RepositoryError`."""
        return self.store.load(self.trust_root)

    def load_if_exists(self) -> State | None:
        """:meth:`load`, or None where there is no repository yet."""
        return self.load() if self.exists else None

    def edit(self, state: State | None, ring: Ring, periods: t.Mapping[str, int] | None = None) -> Edit:
        """A change of ``state`` (None: a repository to be made), to be signed with the keys in ``ring``.

        ``periods`` are days until metadata expires, by role; None for those that the repository has.
        """
        return Edit(state, ring, self.store.periods() if periods is None else dict(periods), self.now)
