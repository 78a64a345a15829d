# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Release documents that a device keeps: of the open transaction, and of what is confirmed."""

from __future__ import annotations

from ..base import protocol
from ..base.errors import OtaError
from ..documents import release
from ..kinds import payloads
from ..system import durable
from ..system.layout import Layout
from .transaction import Transaction


def of_transaction(transaction: Transaction) -> release.Document | None:
    """The document that the transaction brings; for a rollback that of the release before.

    Read from where only root writes, and checked against the digest that was verified.
    """
    if transaction.kind == "rollback":
        return confirmed(transaction.layout, transaction.release)
    return _read(transaction.folder("release.json"), transaction.release["digest"])


def confirmed(layout: Layout, entry: protocol.Release | None) -> release.Document | None:
    """The document of a release that was confirmed here (``{"digest": ...}``), or None."""
    return _read(layout.file("releases", entry["digest"] + ".json"), entry["digest"]) if entry else None


def keep(transaction: Transaction) -> None:
    """Keep the document of a transaction that was confirmed."""
    layout = transaction.layout
    with open(transaction.folder("release.json"), "rb") as handle:
        content = handle.read()
    durable.make_directory(layout.file("releases"))
    durable.write(layout.file("releases", transaction.release["digest"] + ".json"), content)


def installers_of(
    transaction: Transaction, document: release.Document | None, files: dict[str, str] | None = None
) -> list[payloads.Base]:
    """The installers of ``document`` (none of none), with their verified ``files`` by digest."""
    installers = payloads.create(transaction.layout, document, transaction.log) if document else []
    for installer in installers:
        installer.files = files or {}
        installer.change = transaction.id
    return installers


def _read(path: str, digest: str) -> release.Document | None:
    try:
        with open(path, "rb") as handle:
            content = handle.read()
    except FileNotFoundError:
        return None
    if release.digest(content) != digest:
        raise OtaError("HASH_MISMATCH", "the release document %s was changed since it was verified" % path)
    return release.parse(content)
