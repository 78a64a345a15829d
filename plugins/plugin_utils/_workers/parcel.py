# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The folder that travels to a worker: the playbook, this very collection, the inventory, the release, the journal."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import json
import os
import pathlib
import shutil
import tempfile
import typing as t

from .._control.base import files
from .._control.client.bundle import Bundle
from .._control.journal.devices import FOLDER, folder_of, note, read
from .._control.journal.journal import NAME, Journal
from .._control.rollout import slices
from . import inventory
from .worker import Worker

COLLECTION = pathlib.Path(__file__).resolve().parents[3]
PLAYBOOK = "slice.yml"
#: What of the collection a slice needs.
_PARTS = ("plugins", "roles/update", "meta", "galaxy.yml", "MANIFEST.json")
#: Where in the playbook's folder the collection goes.
_PLACE = pathlib.Path("collections", "ansible_collections", "fleet", "ota")
#: How the names of our places among the temporary files begin; those of workers begin otherwise, who clear away theirs.
_PREFIX = "fleet-ota-slices."
#: In each, the folder itself and beside it a file that is locked for as long as somebody needs it.
_FOLDER, _OWNER = "folder", "owner"


@dataclasses.dataclass(frozen=True)
class Job:
    """What all slices of a turn have in common; ``files`` is a folder of the team's, which becomes the playbook's."""

    book: Journal
    generation: int
    bundle: Bundle
    source: inventory.Source
    files: pathlib.Path | None = None


@contextlib.contextmanager
def made(job: Job, worker: Worker, devices: t.Sequence[str], again: bool) -> t.Iterator[pathlib.Path]:
    """A private data directory of ansible-runner with all of it; it is gone when the slice is over.

    ``again`` says that another worker may have touched the devices before.
    """
    _sweep(pathlib.Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX) as place,  # made with mode 0700
        files.lock(pathlib.Path(place, _OWNER)),
    ):
        folder = pathlib.Path(place, _FOLDER)
        folder.mkdir()
        rollout = job.book.last()["rollout"]
        _put_project(folder / "project", job.files)
        hosts = inventory.make(job.source, devices, folder / "keys", dict(worker.variables))
        _write(folder / "inventory" / "hosts.yml", hosts)
        pushed = any(job.source.host(name).get("fleet_ota_transfer") != "pull" for name in devices)
        _put_release(folder / "bundle", job.bundle, pushed)
        path = folder / "journal" / rollout / NAME
        own = slices.begin(job.book, path, worker.name, job.generation)
        _put_open(job, own, devices)
        _put_memory(folder_of(job.book.path, rollout), folder / "journal" / FOLDER, devices)
        settings = {
            "rollout": rollout,
            "generation": job.generation,
            "forks": worker.forks,
            "again": again,
            "journal": str(path.relative_to(folder)),
            "bundle": "bundle/bundle.json",
        }
        _write(folder / "env" / "extravars", json.dumps({"fleet_ota_slice": settings}).encode())
        yield folder


def _sweep(top: pathlib.Path) -> None:
    """Remove what runs that were killed left here: it has the logins of devices.

    A lock tells, not a process id: those come again, are there until somebody asks how the process ended, and mean
    nothing to a container that shares the temporary files.
    """
    for place in top.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if place.lstat().st_uid == os.getuid():
                _remove_if_left(place)


def _remove_if_left(place: pathlib.Path) -> None:
    """Remove ``place``, or raise :class:`OSError` if it is in use."""
    with (place / _OWNER).open("rb+") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (place / _FOLDER).exists():  # without it, its owner is about to take the lock
            shutil.rmtree(place, ignore_errors=True)


def _put_project(project: pathlib.Path, files: pathlib.Path | None) -> None:
    """The team's folder, with this collection and the playbook in place of what it has of them.

    What its links lead to is copied, and no link comes along: workers do not have what is outside of it, and what is
    written here must not get into what belongs to the team.
    """
    if files:
        shutil.copytree(files, project, ignore=functools.partial(_left_out, files))
    target = project / _PLACE
    target.mkdir(parents=True)
    for part in _PARTS:
        source = COLLECTION / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, target / part)
    shutil.copy(COLLECTION / "playbooks" / PLAYBOOK, project / PLAYBOOK)


def _left_out(files: pathlib.Path, folder: str, names: t.Sequence[str]) -> set[str]:
    """Of ``names`` in ``folder``, below ``files``: what comes from us, and links that lead to nothing or back up.

    (``ignore_dangling_symlinks`` would leave out relative ones that lead to something.)
    """
    place = pathlib.Path(folder)
    depth = len(place.relative_to(files).parts)
    above = [os.path.realpath(one) for one in (place, *place.parents[:depth])]
    ours = {path.name for path in (files / _PLACE, files / PLAYBOOK) if path.parent == place}
    return ours | {name for name in names if os.path.islink(place / name) and _leads_nowhere(place / name, above)}


def _leads_nowhere(link: pathlib.Path, above: t.Sequence[str]) -> bool:
    led = os.path.realpath(link)
    return not os.path.exists(led) or any(os.path.commonpath([led, one]) == led for one in above)


def _put_release(folder: pathlib.Path, bundle: Bundle, pushed: bool) -> None:
    for entry in bundle.payloads() if pushed else ():
        target = folder / "targets" / "payloads" / entry["sha256"]
        target.parent.mkdir(parents=True, exist_ok=True)
        source = bundle.payload(entry["sha256"])
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copyfile(source, target)
    dataclasses.replace(bundle, repository=".", cache="cache", tls=None).save(folder / "bundle.json")


def _put_open(job: Job, own: Journal, devices: t.Sequence[str]) -> None:
    """Say in the journal of the slice whom somebody touched before without anybody knowing what became of them."""
    for name in devices:
        if job.book.unresolved(name):
            own.pending(name, job.generation)


def _put_memory(source: pathlib.Path | None, folder: pathlib.Path, devices: t.Sequence[str]) -> None:
    for name in devices:
        memory = read(source, name) if source else None
        if memory:
            note(folder, name, memory)


def _write(path: pathlib.Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as handle:
        handle.write(content)
