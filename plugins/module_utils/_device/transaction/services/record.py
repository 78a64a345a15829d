# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The record of what ran before the change: ``services.json`` in the transaction's folder, written before it begins."""

from __future__ import annotations

import contextlib
import re
import typing as t

from ...base.errors import OtaError
from ...base.typed import TypedDict
from ...records.transaction import Transaction
from ...system import command, durable, processes
from ...system.boot import boot_id, clock
from ...system.processes import Command, Process
from ...system.units import ALIVE, Manager, Properties
from ...system.units.manager import DEPENDENTS

#: Units of the engine, of logins, and of connections: they come and go with something else.
_PASSING = re.compile(r"^(fleet-ota-|user@|user-runtime-dir@|session-|run-[pru]?\d)")
#: How systemd names the instance for a connection: the number of the connection comes first.
_CONNECTION = re.compile(r"@\d+-")
_USER = re.compile(r"^user@(\d+)\.service$")


class Before(TypedDict):
    """A unit that ran: the run that it was in, whether it was enabled, and which units end when it does."""

    invocation: str
    enabled: str
    dependents: list[str]


class Record(TypedDict):
    """What ran in ``boot`` at ``clock``: units of the machine (under an empty key) and of users, daemons without one.

    ``told`` is what is not as it was, for people.
    """

    boot: str
    clock: float
    units: dict[str, dict[str, Before]]
    daemons: list[Command]
    told: list[str]


def take(transaction: Transaction) -> None:
    """Keep what runs now. A directory that plays a device has no processes of its own: nothing is kept there.

    OtaError ``ENGINE`` if systemd gives no answer and units are concerned.
    """
    if not transaction.layout.is_real:
        return
    record: Record = {"boot": boot_id(), "clock": clock(), "units": {}, "daemons": [], "told": []}
    for key, manager in managers().items():
        try:
            record["units"][key] = _running(manager.loaded())
        except OtaError as error:
            if not key and transaction.units:
                raise
            transaction.log("what runs is not known: %s" % error.message)
    numbers, own = processes.pidfiles(), transaction.layout.state
    daemons = [one for one in processes.everything() if is_daemon(one) and own not in one.argv]  # not the engine
    found = (processes.how_started(one, numbers) for one in daemons)
    record["daemons"] = [one for one in found if one is not None]
    durable.write_json(_path(transaction), record)


def load(transaction: Transaction) -> Record | None:
    """What :func:`take` kept, if that is there and can be read."""
    try:
        record: Record | None = durable.read_json(_path(transaction))
    except (OtaError, ValueError, OSError):
        transaction.log("the record of what ran before cannot be read")
        return None
    return record


def is_this_boot(record: Record) -> bool:
    """Whether the device was not booted since."""
    return record["boot"] == boot_id()


def tell(transaction: Transaction, text: str) -> None:
    """Note what is not as it was: in the log, and for :func:`told`."""
    transaction.log(text)
    record = load(transaction)
    if record is not None and text not in record["told"]:
        record["told"].append(text)
        _save(transaction, record)


def forget(transaction: Transaction) -> None:
    """Tell anew: what was told of the way there does not hold on the way back."""
    record = load(transaction)
    if record is not None and record["told"]:
        record["told"] = []
        _save(transaction, record)


def _save(transaction: Transaction, record: Record) -> None:
    with contextlib.suppress(OtaError, OSError):  # no room: the transaction's log may have it
        durable.write_json(_path(transaction), record)


def told(transaction: Transaction) -> str:
    """All of it, to be added to the message of the outcome; empty if there is nothing."""
    record = load(transaction)
    return "".join("; " + text for text in record["told"][:10]) if record else ""


def managers() -> dict[str, Manager]:
    """The machine's systemd under an empty key, and those of users under their number."""
    if not command.has_systemd():
        return {}
    machine = Manager()
    users = filter(None, map(_USER.match, machine.active("user@*.service")))
    return {"": machine, **{user.group(1): Manager(int(user.group(1))) for user in users}}


def related(names: t.Iterable[str], before: t.Mapping[str, Before]) -> set[str]:
    """``names`` and every unit that ends when one of them does, and so on."""
    left, found = list(names), set()
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(before[name]["dependents"] if name in before else [])
    return found


def is_daemon(process: Process) -> bool:
    """Whether it runs in the background and no unit keeps it."""
    return process.parent == 1 and process.terminal == 0 and not process.unit.endswith(".service") and process.pid != 1


def _running(loaded: t.Mapping[str, Properties]) -> dict[str, Before]:
    return {
        name: {
            "invocation": unit.get("InvocationID", ""),
            "enabled": unit.get("UnitFileState", ""),
            "dependents": sorted({other for key in DEPENDENTS for other in unit.get(key, "").split()}),
        }
        for name, unit in loaded.items()
        if unit.get("ActiveState") in ALIVE and not _PASSING.match(name) and not _is_passing(unit)
    }


def _is_passing(unit: Properties) -> bool:
    """A one-shot in its course, or the service of one connection: both end by themselves."""
    once = unit.get("Type") == "oneshot" and unit.get("ActiveState") == "activating"
    return once or bool(_CONNECTION.search(unit.get("Id", "")) and ".socket" in unit.get("TriggeredBy", ""))


def _path(transaction: Transaction) -> str:
    return transaction.folder("services.json")
