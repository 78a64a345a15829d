# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What else changed in the system's own trees while a release was installed: it is named, never passed over.

A script of a package may do in earnest what it did not do in the rehearsal, and other programs change files too.
Nobody knows whether that belongs to the change, so it does not go back; whoever reads the record can decide.
"""

from __future__ import annotations

import os

from ..kinds import snapshots
from ..records.transaction import Transaction
from ..system import durable
from ..system.files import changed, tree
from .services import record

#: Data is not looked at: it changes all the time.
_TREES = ("/boot", "/etc", "/opt", "/usr")
_MARK = "since"
_SECONDS = 10.0
_MOST = 10


def begin(transaction: Transaction) -> None:
    """From now on."""
    if transaction.layout.is_real:
        durable.write(transaction.folder(_MARK), b"")


def tell(transaction: Transaction, snapshot: snapshots.Base) -> None:
    """Name what changed since :func:`begin` and is none of what ``snapshot`` has."""
    layout, selection = transaction.layout, snapshot.selection
    try:
        moment = os.stat(transaction.folder(_MARK)).st_ctime_ns
    except OSError:  # a device that is a directory, or an older engine
        return
    trees, single = frozenset([*selection.trees, *selection.exclude]), {*selection.paths, *snapshot.terms.forms}
    single |= {os.path.dirname(path) + "/" for path in [*single, *trees]}  # names come and go there
    found = changed.since(
        layout.root, _TREES, moment, lambda path: path in single or tree.covers(trees, path), _SECONDS
    )
    if found.paths:
        more = " and %d more" % (len(found.paths) - _MOST) if len(found.paths) > _MOST else ""
        text = "%d paths outside of the snapshot changed meanwhile, whoever did it: %s%s"
        record.tell(transaction, text % (len(found.paths), ", ".join(found.paths[:_MOST]), more))
    if not found.whole:
        transaction.log("looking for other changes was given up after %d s" % _SECONDS)
