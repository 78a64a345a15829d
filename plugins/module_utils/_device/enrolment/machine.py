# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Which machine the state directory belongs to: one that is found on another machine is a copy (``CLONE``).

``binding.json``: ``{format, instance, machine}``. ``instance`` is made at random at enrolment; ``machine`` is a hash of
the machine id, or null where there was none.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import typing as t
import uuid

from ..base.errors import OtaError
from ..base.protocol import Checkpoint, Expected
from ..base.typed import TypedDict
from ..system import kept, mounts
from ..system.layout import Layout

FORMAT = 1
_MACHINE_ID = re.compile(r"^[0-9a-f]{32}\Z")
_PURPOSE = b"fleet.ota binding"


class Binding(TypedDict):
    """``binding.json``."""

    format: int
    instance: str
    machine: str | None


def machine(layout: Layout) -> str | None:
    """What stands for this machine; None if it has no machine id that lasts.

    machine-id(5): the id is confidential, so only a keyed hash of it is kept; and where it cannot be written systemd
    mounts one over it that is another at every boot.
    """
    path = layout.real("/etc/machine-id")
    try:
        with open(path, encoding="ascii") as handle:
            identifier = handle.read(64).strip()
    except (OSError, ValueError):
        return None
    if not _MACHINE_ID.match(identifier) or any(entry.point == path for entry in mounts.table()):
        return None
    return hmac.new(identifier.encode(), _PURPOSE, hashlib.sha256).hexdigest()


def load(layout: Layout) -> Binding | None:
    """The binding; None on a device that an older engine enrolled."""
    return t.cast("Binding | None", kept.read(layout, "binding.json"))


def renewed(layout: Layout, binding: Binding | None) -> Binding:
    """The binding after an enrolment here: of a copy, or of a device without one, a new instance."""
    here = machine(layout)
    if binding is None or (here and binding["machine"] and binding["machine"] != here):
        return {"format": FORMAT, "instance": uuid.uuid4().hex, "machine": here}
    return {**binding, "machine": here or binding["machine"]}


def instance(layout: Layout) -> str | None:
    """The random id of this enrolment."""
    binding = load(layout)
    return binding["instance"] if binding else None


def store(layout: Layout, binding: Binding) -> None:
    """Keep it; durable when this returns."""
    kept.write(layout, "binding.json", t.cast("t.Mapping[str, object]", binding))


def require_same(layout: Layout) -> None:
    """OtaError ``CLONE`` if this state directory was bound to another machine."""
    binding, here = load(layout), machine(layout)
    if binding and here and binding["machine"] and binding["machine"] != here:
        message = "%s was enrolled on another machine: this device is a copy, or its machine id was changed; enroll it"
        raise OtaError("CLONE", (message + " again, under its own name") % layout.state)


def require_known(layout: Layout, expected: Expected | None, sequence: int) -> None:
    """OtaError ``SET_BACK`` if the controller's journal knows of more transactions of this instance than ``sequence``.

    Of another instance (it was enrolled anew) nothing is expected.
    """
    if not expected or expected["instance"] != instance(layout) or sequence >= expected["sequence"]:
        return
    message = "this device knows of %d transactions, the controller's journal of %d: it was set back to an older state;"
    message += " find out what else it lost, then remove %s there and enroll it again"
    raise OtaError("SET_BACK", message % (sequence, expected["sequence"], layout.file("binding.json")))


def require_meant(layout: Layout, name: str, checkpoint: Checkpoint | None) -> None:
    """OtaError ``NAME`` if the journal of ``checkpoint`` knows a machine by another name than ``name``, its own.

    A row of the inventory led to another device than the one that it means: what came of this one would be on record
    for that one. A directory is no machine; whoever copies one to make others of it has given all of them one name.
    """
    meant = (checkpoint or {}).get("device")
    if meant is None or meant == name or not machine(layout):
        return
    message = "this device was enrolled as %s, and the request is for %s: correct the address of %s in the inventory,"
    raise OtaError("NAME", (message + " or enroll this device under that name") % (name, meant, meant))
