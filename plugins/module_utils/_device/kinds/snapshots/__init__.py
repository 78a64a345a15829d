# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Ways of going back: one file per kind beside this one, found by its name.

A kind's module has a class ``Snapshot`` (subclass of :class:`Base`) and ``PREFERENCE`` (higher is taken first where
:meth:`Base.probe` says yes). ``files`` works everywhere.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import time
import typing as t

from ...base.errors import OtaError
from ...base.typed import TypedDict
from ...kinds import names
from ...system import durable
from ...system.files import entries, put_back, tree
from ...system.files.descriptors import Files
from ...system.files.listing import Listing, write_listing
from ...system.files.remove import is_bytecode, remove_own
from ...system.layout import Layout
from ._shared import AFTER, BEFORE, EXPECTED, Form, Shared

__all__ = ["AFTER", "BEFORE", "EXPECTED", "Form", "Shared", "Terms"]

FORMAT = 1
_ABOUT, _COPY = "snapshot.json", "snapshot.copy.json"


class Listed(TypedDict):
    """A finished snapshot, as replies have it."""

    id: str
    kind: str
    created: str


class Terms(t.NamedTuple):
    """What is special about some of what a snapshot holds.

    ``wide`` trees are not the change's own: there only what the change made goes back, once that is known.
    ``generated`` files are made of what several packages bring (caches): one that was made anew by somebody else since
    is left as it is, and told by :attr:`Base.left`. ``endings`` are those of files that an interrupted package manager
    leaves beside the real ones. ``forms`` are files of which only some records belong to the change, and ``packages``
    the names by which they are known.
    """

    wide: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    forms: t.Mapping[str, Form] = {}
    packages: tuple[str, ...] = ()


class Base:
    """One snapshot of a :class:`tree.Selection`, kept in ``STATE/snapshots/ID``."""

    kind = ""

    def __init__(self, layout: Layout, identifier: str, selection: tree.Selection, terms: Terms | None = None) -> None:
        self.layout = layout
        self.identifier = identifier
        self.selection = selection
        self.terms = terms or Terms()
        #: Generated files that the last :meth:`restore` left as somebody else made them.
        self.left: list[str] = []
        #: Which of the paths that came since belong to others (packages that they installed) and so stay.
        self.foreign: t.Callable[[list[str]], t.Collection[str]] = lambda paths: ()
        #: Folders whose files do not go back: a payload type puts back what they hold.
        self.apart: frozenset[str] = frozenset()
        self._spared: set[str] = set()
        self.folder = layout.file("snapshots", identifier)

    # -- what a kind implements ---------------------------------------------------------------------------------

    @classmethod
    def probe(cls, layout: Layout, selection: tree.Selection) -> str | None:
        """None if this kind can snapshot ``selection`` here, else the reason why not, for people."""
        raise NotImplementedError

    def estimate(self) -> int:
        """Bytes that creating it, and going back with a full disk, will need."""
        raise NotImplementedError

    def _create(self) -> None:
        """Take it."""
        raise NotImplementedError

    def prove(self) -> None:
        """Read it back whole; raises OtaError ``RESTORE`` if anything in it cannot be read as it was taken."""
        raise NotImplementedError

    def pairs(self) -> t.Iterator[entries.Pair]:
        """What was there when it was taken, in :func:`entries.order`."""
        raise NotImplementedError

    def entries_of(self, paths: t.Collection[str]) -> entries.Manifest:
        """The same by path, for at least ``paths`` and the directories above them."""
        raise NotImplementedError

    def _open(self, path: str, entry: entries.Entry) -> t.IO[bytes]:
        """The content of ``path`` as it was."""
        raise NotImplementedError

    def make_room(self) -> None:
        """Give up space held for going back; called first thing on the way back."""

    def _drop(self) -> None:
        """Delete what of it lies elsewhere than in plain files of its folder; it may be half there or gone."""

    def remove(self) -> None:
        """Delete it; it may be half there or gone."""
        self._drop()
        with contextlib.suppress(OSError):  # what does not go now goes with the next call
            remove_own(self.folder)

    def content(self, path: str, entry: entries.Entry) -> t.IO[bytes]:
        """The content of ``path``, one of :meth:`pairs`."""
        return self._open(path, entry)

    # -- what all kinds share -----------------------------------------------------------------------------------

    def create(self) -> None:
        """Take it, durably, replacing a half one that a killed run left; OtaError ``NO_SPACE`` if it does not fit."""
        self.remove()
        durable.make_directory(self.folder)
        try:
            self._create()
        except OSError as error:
            self.remove()
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            message = "the disk filled up while the snapshot was taken in %s; make room and run again"
            raise OtaError("NO_SPACE", message % self.folder) from None
        self.shared.keep(BEFORE)
        about = {
            "format": FORMAT,
            "kind": self.kind,
            "paths": self.selection.paths,
            "trees": self.selection.trees,
            "exclude": self.selection.exclude,
            "terms": {**self.terms._asdict(), "forms": dict(self.terms.forms)},
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        durable.write_json(os.path.join(self.folder, _COPY), about)
        durable.write_json(os.path.join(self.folder, _ABOUT), about)

    @property
    def shared(self) -> Shared:
        """The files of which only some records go back."""
        return Shared(self.layout, os.path.join(self.folder, "shared"), self.terms.forms, self.terms.packages)

    def restore(self, paths: t.Iterable[str] | None = None) -> list[str]:
        """Put back what differs (of ``paths``, if given) and return what did; interruptible and repeatable.

        It is proven first: what cannot be read whole changes nothing.
        """
        self.make_room()
        self.prove()
        put_back.sweep(self.layout, self.selection, self.terms.endings)
        if paths is None:
            paths = self._differences()
        changed = sorted(path for path in paths if path not in self.terms.forms)
        put_back.put_back(
            self.layout,
            self.entries_of(changed),
            changed,
            self._open,
            trees=self.selection.trees,
            keep={*self.selection.exclude, *self._spared},
        )
        changed += self.shared.restore()
        put_back.tidy(self.layout, changed)
        return changed

    def remaining(self) -> list[str]:
        """The proof of a restore: paths that still differ, after reading everything again."""
        return self._differences() + self.shared.remaining()

    def exchanged(self, paths: t.Iterable[str]) -> set[str]:
        """Those of ``paths`` in whose place others than root can put something else at any moment."""
        with Files(self.layout.root, self.selection.trees) as device:
            return {path for path in paths if path.startswith("/") and not device.closed(path)}

    def _differences(self) -> list[str]:
        """The paths that are to go back: whatever differs, but in ``wide`` trees only what the change made."""
        after = self._after()
        generated, wide = set(self.terms.generated), frozenset(self.terms.wide)
        paths: list[str] = []
        came: list[str] = []
        self.left = []
        others: set[str] = set()
        for path, (was, now, made) in entries.joined(self.pairs(), self._now(), after or ()):
            if not entries.differ(was, now) or tree.covers(self.apart, path):
                continue
            paths.append(path)
            if was is None or was["t"] == "-":
                came.append(path)
            if after is None:
                continue
            if path in generated and not entries.same(made or was or entries.ABSENT, now or entries.ABSENT):
                self.left.append(path)
            elif made is None and tree.covers(wide, path):
                others.add(path)
        self._spared = set(self.foreign(came))
        self.left = [path for path in self.left if path not in self._spared]
        others.update(self._spared, self.left)
        return [path for path in paths if path not in others]

    def _now(self) -> t.Iterator[entries.Pair]:
        return tree.look(self.layout, self.selection)

    def _after(self) -> t.Iterator[entries.Pair] | None:
        """What the change made, by path; None until that is known."""
        path = os.path.join(self.folder, "after.jsonl")
        return Listing(path).pairs() if os.path.exists(path) else None

    def record_after(self) -> None:
        """Keep what the change made of the selection, so that a later way back undoes the change and nothing else."""
        rows = entries.joined(self.pairs(), self._now())
        delta = ((path, now or entries.ABSENT) for path, (was, now) in rows if entries.differ(was, now))
        write_listing(os.path.join(self.folder, "after.jsonl"), delta)

    def undo(self) -> tuple[list[str], list[str]]:
        """What a later way back would put back, and which of these paths were changed by others since.

        Both lists are of paths. What came into a directory that the change created is among the changes of others,
        but for what an interpreter keeps beside its programs.
        """
        after = Listing(os.path.join(self.folder, "after.jsonl"))
        generated = set(self.terms.generated)
        changed, conflicts, tops = [], [], []
        created = [""]  # the directories above the path at hand that the change created
        for path, (was, now, made) in entries.joined(self.pairs(), self._now(), after.pairs()):
            if made is None or tree.covers(self.apart, path):
                continue
            while created[-1] and not path.startswith(created[-1] + "/"):
                created.pop()
            is_created, is_same = was is None or was["t"] == "-", entries.same(made, now or entries.ABSENT)
            is_inside = is_created and os.path.dirname(path) == created[-1]
            if is_created:
                created.append(path)
                if not is_inside:
                    tops.append(path)
            if is_inside or (path in generated and not is_same):
                continue
            changed.append(path)
            if not is_created and not is_same:
                conflicts.append(path)
        conflicts += [path for path in self._came_since(after, tops) if not is_bytecode(path)]
        return changed, [*conflicts, *self.shared.conflicts()]

    def _came_since(self, after: Listing, tops: t.Sequence[str]) -> list[str]:
        """Files below what the change created that it did not create, or that are not as it made them."""
        covered = frozenset(tops)
        exclude = tuple(path for path in self.selection.exclude if tree.covers(covered, path))
        inside = tree.look(self.layout, tree.Selection((), tuple(tops), exclude))
        return [
            path
            for path, (now, made) in entries.joined(inside, after.pairs())
            if now is not None and now["t"] not in ("-", "d", "s") and not entries.same(made or entries.ABSENT, now)
        ]


def kinds() -> list[str]:
    """The kinds that this engine has."""
    return names(__path__)


def choose(layout: Layout, selection: tree.Selection, kind: str = "auto") -> type[Base]:
    """The class of the best kind that works here, or of the ``wanted`` one; OtaError ``UNSUPPORTED`` otherwise."""
    if kind != "auto":
        chosen = by_kind(kind)
        reason = chosen.probe(layout, selection)
        if reason:
            raise OtaError("UNSUPPORTED", "snapshot %s is not possible here: %s; use auto or files" % (kind, reason))
        return chosen
    modules = [importlib.import_module("%s.%s" % (__name__, name)) for name in kinds()]
    for module in sorted(modules, key=lambda module: -int(module.PREFERENCE)):
        if module.Snapshot.probe(layout, selection) is None:
            return t.cast("type[Base]", module.Snapshot)
    raise OtaError("UNSUPPORTED", "no kind of snapshot works here")


def load(layout: Layout, identifier: str) -> Base:
    """The finished snapshot ``identifier``; OtaError ``NO_PREVIOUS`` if there is none."""
    folder = layout.file("snapshots", identifier)
    try:
        about = durable.read_json(os.path.join(folder, _ABOUT))
    except OtaError:  # a snapshot of an older engine has no copy
        about = durable.read_json(os.path.join(folder, _COPY))
        if about is None:
            raise
    if about is None:
        raise OtaError("NO_PREVIOUS", "there is no snapshot %s on this device" % identifier)
    selection = tree.Selection(*(tuple(about[key]) for key in ("paths", "trees", "exclude")))
    return by_kind(about["kind"])(layout, identifier, selection, _terms(about.get("terms") or {}))


def _terms(value: t.Mapping[str, t.Any]) -> Terms:
    """From ``snapshot.json``; an older engine wrote none."""
    forms = {path: Form(kind, tuple(by), *rest) for path, (kind, by, *rest) in value.get("forms", {}).items()}
    others = {name: tuple(value.get(name, ())) for name in ("wide", "generated", "endings", "packages")}
    return Terms(forms=forms, **others)


def remove(layout: Layout, identifier: str) -> None:
    """Remove a snapshot, also an unfinished one whose kind is unknown."""
    folder = layout.file("snapshots", identifier)
    if os.path.isdir(folder):
        for kind in kinds():
            by_kind(kind)(layout, identifier, tree.Selection((), (), ()))._drop()
        with contextlib.suppress(OSError):
            remove_own(folder)


def by_kind(kind: str) -> type[Base]:
    """The class of a kind; OtaError ``UNSUPPORTED`` for an unknown one."""
    if kind not in kinds():
        raise OtaError("UNSUPPORTED", "%r is not a kind of snapshot (%s)" % (kind, ", ".join(kinds())))
    return t.cast("type[Base]", importlib.import_module("%s.%s" % (__name__, kind)).Snapshot)


def listing(layout: Layout) -> list[Listed]:
    """Every finished snapshot."""
    result: list[Listed] = []
    folder = layout.file("snapshots")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        about = None
        with contextlib.suppress(OtaError):  # one that is damaged leads nowhere
            about = durable.read_json(os.path.join(folder, name, _ABOUT))
        if about is not None:
            result.append({"id": name, "kind": about["kind"], "created": about["created"]})
    return result
