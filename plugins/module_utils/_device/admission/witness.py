# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What this device has witnessed of its controllers' journals: a journal that lacks it is an older copy (``AHEAD``).

``witness.json``: ``{format, kept: [checkpoint]}``, the newest last. A checkpoint is ``{rollout, size, head, journal,
since}``: number of records, hash of the last, of the first, and of the one with which an operator went on with an older
copy (missing in most). As the witnesses of a transparency log do (RFC 6962), the device only compares; whether a longer
journal still has what was witnessed, its controller looks up and answers by repeating the kept checkpoint.
"""

from __future__ import annotations

import typing as t

from ..base.errors import OtaError
from ..base.protocol import Checkpoint, Request
from ..system import kept
from ..system.layout import Layout

FORMAT = 1
_NAME = "witness.json"
#: Journals of which the last checkpoint is kept.
MOST = 8
KEYS = ("rollout", "size", "head", "journal", "since")


def chain(checkpoint: Checkpoint | None) -> str | None:
    """What tells one chain of records from another; None of a controller that keeps no journal, or an older one."""
    name = checkpoint.get("since") or checkpoint.get("journal") if checkpoint else None
    return name if isinstance(name, str) else None


def shown(layout: Layout) -> list[Checkpoint]:
    """The checkpoints that are kept, the newest last."""
    return t.cast("list[Checkpoint]", (kept.read(layout, _NAME) or {}).get("kept", []))


def require_newer(layout: Layout, request: Request) -> None:
    """OtaError ``AHEAD`` if this device has witnessed what the journal of ``request`` is not known to have.

    Its ``checkpoint`` is the kept one, or ``witnessed`` repeats the kept one: then its controller found it there.
    """
    offered = request.get("checkpoint")
    name = chain(offered)
    kept = next((one for one in shown(layout) if name and chain(one) == name), None)
    if kept is None or kept in (_of(offered or {}), request.get("witnessed")):
        return
    message = "this device has witnessed %s records of the journal of %s, which %s; bring the newer journal back"
    is_older = _size(offered) <= _size(kept)
    what = "is older here (%s records)" % (offered or {}).get("size") if is_older else "was not shown to have them"
    raise OtaError("AHEAD", message % (kept.get("size"), kept.get("rollout"), what), witness=kept)


def keep(layout: Layout, request: Request) -> None:
    """Witness the journal of ``request``, whose device this is now; durable when this returns."""
    offered = _of(request.get("checkpoint") or {})
    name = chain(offered)
    if name is None or request.get("check"):
        return
    before = shown(layout)
    after = [*(one for one in before if chain(one) != name), offered][-MOST:]
    if after != before:
        kept.write(layout, _NAME, {"format": FORMAT, "kept": after})


def _of(checkpoint: Checkpoint) -> Checkpoint:
    values = t.cast("t.Mapping[str, object]", checkpoint)
    return t.cast(Checkpoint, {key: values[key] for key in KEYS if values.get(key) is not None})


def _size(checkpoint: Checkpoint | None) -> int:
    size = checkpoint.get("size") if checkpoint else None
    return size if isinstance(size, int) else 0
