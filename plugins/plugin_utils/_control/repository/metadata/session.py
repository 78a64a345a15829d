# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""One repository, opened: where it lies, from which root it is trusted, and as of when."""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import typing as t

from ...base import files, libraries
from ...base.errors import RepositoryError, TrustError
from .edit import Edit
from .store import Store

if t.TYPE_CHECKING:
    from ...keys.ring import Ring
    from .store import State


class Session:
    """What everything that reads or changes a repository is given.

    ``trust_root`` is the root metadata that the repository's clients pin; with it, a repository that somebody replaced
    as a whole is neither believed nor signed on top of. Actions use :meth:`from_pin`, which demands it. ``pin`` is the
    file in which it lies, or will lie once the repository is made. ``now`` is for tests.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        *,
        trust_root: bytes | None = None,
        pin: pathlib.Path | None = None,
        now: datetime.datetime | None = None,
    ) -> None:
        libraries.require()
        self.store = Store(directory)
        self.trust_root = trust_root
        self.pin = pin
        self.now = now or datetime.datetime.now(datetime.UTC)

    @classmethod
    def from_pin(cls, directory: pathlib.Path, pin: pathlib.Path) -> t.Self:
        """The repository in ``directory`` whose root is pinned in the file ``pin``.

        Where there is neither, a repository may be made: its root is then pinned there. One without the other is a
        refusal, :class:`TrustError` or :class:`RepositoryError` with ``TRUST_ROOT``: a root that is believed because
        it lies in the repository is believed of whoever writes there, and a folder that is not the repository (not
        mounted, misspelt) is not to be filled.
        """
        try:
            trust_root = pin.read_bytes()
        except FileNotFoundError:
            trust_root = None
        except OSError as error:
            raise TrustError(f"the trust root {pin} cannot be read ({error.strerror})", code="TRUST_ROOT") from error
        session = cls(directory, trust_root=trust_root, pin=pin)
        if trust_root is None and session.exists:
            raise TrustError(
                f"the trust root {pin} is not there, and {directory} holds a repository already; get the file from "
                "the person who made the repository, and compare its digest over another channel",
                code="TRUST_ROOT",
            )
        if trust_root is not None and not session.exists and not session.store.is_half_made(trust_root):
            raise RepositoryError(
                f"{directory} holds no repository, and {pin} pins the root of one; mount or correct the directory, or "
                "name another file for the trust root of a new repository",
                code="TRUST_ROOT",
            )
        if trust_root is None and directory / "metadata" in pin.parents and pin != session.store.first_root():
            raise TrustError(
                f"the trust root {pin} cannot lie among the repository's metadata; name a file outside the repository",
                code="TRUST_ROOT",
            )
        return session

    @property
    def exists(self) -> bool:
        """Whether there is a repository yet."""
        return self.store.exists

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """Alone with the repository until the block ends; what was cut short before is finished or cleared away."""
        with self.store.lock():
            for name in ("metadata", "targets"):  # people sign proposals beside us
                files.sweep(self.store.directory / name)
            if self.trust_root is not None and not self.exists and self.store.is_half_made(self.trust_root):
                self.store.finish_making()
            yield

    def commit(self, staged: t.Mapping[str, bytes]) -> None:
        """:meth:`Store.commit`; the root of a repository that is made by it is pinned."""
        self.store.commit(staged, self.pin)
        if self.trust_root is None and self.pin is not None:
            self.trust_root = self.store.first_root().read_bytes()

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
