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

import errno
import importlib
import json
import os
import shutil
import time
import typing as t

from ...base.errors import OtaError
from ...base.typed import TypedDict
from ...kinds import names
from ...system import durable, entries, tree
from ...system.layout import Layout

FORMAT = 1


class Listed(TypedDict):
    """A finished snapshot, as replies have it."""

    id: str
    kind: str
    created: str


class Base:
    """One snapshot of a :class:`tree.Selection`, kept in ``STATE/snapshots/ID``."""

    kind = ""

    def __init__(self, layout: Layout, identifier: str, selection: tree.Selection) -> None:
        self.layout = layout
        self.identifier = identifier
        self.selection = selection
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

    def manifest(self) -> entries.Manifest:
        """What was there when it was taken."""
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
        shutil.rmtree(self.folder, ignore_errors=True)

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
        about = {
            "format": FORMAT,
            "kind": self.kind,
            "paths": self.selection.paths,
            "trees": self.selection.trees,
            "exclude": self.selection.exclude,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        durable.write_json(os.path.join(self.folder, "snapshot.json"), about)

    def restore(self, paths: t.Iterable[str] | None = None) -> list[str]:
        """Put back what differs (of ``paths``, if given) and return what did; interruptible and repeatable.

        It is proven first: what cannot be read whole changes nothing.
        """
        self.make_room()
        self.prove()
        tree.sweep(self.layout, self.selection)
        before = self.manifest()
        if paths is None:
            paths = entries.differences(before, tree.observe(self.layout, self.selection))
        changed = sorted(paths)
        tree.put_back(self.layout, before, changed, self._open)
        tree.tidy(self.layout, changed)
        return changed

    def remaining(self) -> list[str]:
        """The proof of a restore: paths that still differ, after reading everything again."""
        return entries.differences(self.manifest(), tree.observe(self.layout, self.selection))

    def record_after(self) -> None:
        """Keep what the change made of the selection, so that a later way back undoes the change and nothing else."""
        before, after = self.manifest(), tree.observe(self.layout, self.selection)
        delta = {path: after.get(path, entries.ABSENT) for path in entries.differences(before, after)}
        write_manifest(os.path.join(self.folder, "after.jsonl"), delta)

    def undo(self) -> tuple[list[str], list[str]]:
        """What a later way back would put back, and which of these paths were changed by others since.

        Both lists are of paths. What the change created as a whole is not compared below its top.
        """
        after = read_manifest(os.path.join(self.folder, "after.jsonl"))
        before = self.manifest()
        now = tree.observe(self.layout, self.selection)
        created = {path for path in after if before.get(path, entries.ABSENT)["t"] == "-"}
        tops = {path for path in created if os.path.dirname(path) not in created}
        changed = [path for path in after if path not in created or path in tops]
        conflicts = [p for p in changed if p not in tops and not entries.same(after[p], now.get(p, entries.ABSENT))]
        return changed, conflicts


def kinds() -> list[str]:
    """The kinds that this engine has."""
    return names(__path__)


def choose(layout: Layout, selection: tree.Selection, kind: str = "auto") -> type[Base]:
    """The class of the best kind that works here, or of ``kind``; OtaError ``UNSUPPORTED`` otherwise."""
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
    about = durable.read_json(layout.file("snapshots", identifier, "snapshot.json"))
    if about is None:
        raise OtaError("NO_PREVIOUS", "there is no snapshot %s on this device" % identifier)
    selection = tree.Selection(*(tuple(about[key]) for key in ("paths", "trees", "exclude")))
    return by_kind(about["kind"])(layout, identifier, selection)


def remove(layout: Layout, identifier: str) -> None:
    """Remove a snapshot, also an unfinished one whose kind is unknown."""
    folder = layout.file("snapshots", identifier)
    if os.path.isdir(folder):
        for kind in kinds():
            by_kind(kind)(layout, identifier, tree.Selection((), (), ()))._drop()
        shutil.rmtree(folder, ignore_errors=True)


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
        about = durable.read_json(os.path.join(folder, name, "snapshot.json"))
        if about is not None:
            result.append({"id": name, "kind": about["kind"], "created": about["created"]})
    return result


def write_manifest(path: str, manifest: entries.Manifest) -> None:
    """One line of JSON for each path."""
    lines = [json.dumps(dict(manifest[name], p=name), sort_keys=True) for name in sorted(manifest)]
    durable.write(path, ("\n".join(lines) + "\n").encode())


def read_manifest(path: str) -> entries.Manifest:
    """The inverse of :func:`write_manifest`."""
    manifest: entries.Manifest = {}
    with open(path, encoding="utf-8") as handle:
        for line in handle:
            if line.strip():
                entry = json.loads(line)
                manifest[entry.pop("p")] = entry
    return manifest
