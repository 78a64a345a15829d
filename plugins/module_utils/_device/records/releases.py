# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Release documents that a device keeps: of the open transaction, and of what is confirmed."""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from ..base import longlist, protocol
from ..base.errors import OtaError
from ..documents import release
from ..kinds import payloads
from ..system import durable
from ..system.files import hashing
from ..system.layout import Layout
from .transaction import Transaction

_DOCUMENT = re.compile(r"^[0-9a-f]{64}\.json\Z")
_DAMAGED = (
    "the release document %s is not as it was verified and has no sound copy; update this device to a newer release"
)


def of_transaction(transaction: Transaction) -> release.Document | None:
    """The document that the transaction brings; for a rollback that of the release before.

    Read from where only root writes, and checked against the digest that was verified.
    """
    if transaction.kind == "rollback":
        return confirmed(transaction.layout, transaction.release)
    return _read(transaction.layout, transaction.folder("release.json"), transaction.release["digest"])


def confirmed(layout: Layout, entry: protocol.Release | None) -> release.Document | None:
    """The document of a release that was confirmed here (``{"digest": ...}``), or None."""
    return _read(layout, layout.file("releases", entry["digest"] + ".json"), entry["digest"]) if entry else None


def known(layout: Layout, entry: protocol.Release | None) -> release.Document | None:
    """:func:`confirmed` where there is a way without the document: None also if it and its copy are damaged."""
    with contextlib.suppress(OtaError):
        return confirmed(layout, entry)
    return None


def store(transaction: Transaction, content: bytes) -> None:
    """Keep the document of a transaction that begins, and a copy in case that one is damaged."""
    durable.write(transaction.folder("release.json"), content)
    durable.make_directory(transaction.layout.file("kept"))
    durable.write(_copy(transaction.layout, transaction.release["digest"]), content)


def prune(layout: Layout, digests: t.Collection[str]) -> None:
    """Remove the documents that are not of ``digests``, and their copies."""
    for folder in (layout.file("releases"), layout.file("kept")):
        for file in os.listdir(folder) if os.path.isdir(folder) else []:
            if _DOCUMENT.match(file) and file[:64] not in digests:
                os.unlink(os.path.join(folder, file))


def keep(transaction: Transaction) -> None:
    """Keep the document of a transaction that was confirmed."""
    layout = transaction.layout
    digest = transaction.release["digest"]
    path = _whole(layout, transaction.folder("release.json"), digest)
    if path is None:
        raise OtaError("DAMAGED", _DAMAGED % transaction.folder("release.json"))
    durable.make_directory(layout.file("releases"))
    with open(path, "rb") as handle:
        durable.write_blocks(layout.file("releases", digest + ".json"), iter(lambda: handle.read(1 << 16), b""))


def installers_of(
    transaction: Transaction, document: release.Document | None, files: dict[str, str] | None = None
) -> list[payloads.Base]:
    """The installers of ``document`` (none of none), with their verified ``files`` by digest."""
    installers = payloads.create(transaction.layout, document, transaction.log) if document else []
    for installer in installers:
        installer.files = files or {}
        installer.change = transaction.id
    return installers


def _read(layout: Layout, path: str, digest: str) -> release.Document | None:
    whole = _whole(layout, path, digest)
    return None if whole is None else release.load(longlist.of_file(whole))


def _whole(layout: Layout, path: str, digest: str) -> str | None:
    """Where what was verified is, the file or its copy; None if there is neither; ``DAMAGED`` if none is whole."""
    there = False
    for file in (path, _copy(layout, digest)):
        try:
            if hashing.of_file(file) == digest:
                return file
        except FileNotFoundError:
            continue
        there = True
    if there:
        raise OtaError("DAMAGED", _DAMAGED % path)
    return None


def _copy(layout: Layout, digest: str) -> str:
    return layout.file("kept", digest + ".json")
