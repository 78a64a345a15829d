# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Units and processes after a change: what ran before runs, and health is that of the new processes."""

from __future__ import annotations

import time

from ...base.errors import OtaError
from ...documents import release
from ...kinds.checks import Check, Measured, Section
from ...records import releases
from ...records.transaction import Transaction
from ...system.units import own_names, running_instances
from . import again, daemons
from . import record as records

#: Seconds that jobs of systemd which the release began may take before its health is looked at.
JOBS_PATIENCE = 300.0
_CHECK = "unit %s"


def resume(transaction: Transaction) -> None:
    """Start again what the change stopped. OtaError ``HEALTH`` if what the release concerns does not start."""
    record = records.load(transaction)
    if record is None or not records.is_this_boot(record):
        return
    mine = again.concerned(transaction, record)
    end = time.monotonic() + JOBS_PATIENCE
    managers = records.managers()
    for manager in managers.values():
        while manager.busy() & mine and time.monotonic() < end:
            time.sleep(0.2)
    failures = again.start(transaction, record, managers, forward=True)
    for name, reason in failures.items():
        if name in mine:
            raise OtaError("HEALTH", "%s ran before and does not start: %s" % (name, reason))
        records.tell(transaction, "%s ran before and does not start: %s" % (name, reason))
    daemons.wait_for_old(transaction, record, releases.of_transaction(transaction))
    for daemon in daemons.gone(record):
        transaction.log("%s ran before without a unit and does not now" % " ".join(daemon["argv"]))


def with_units(transaction: Transaction, document: release.Document | None, section: Section) -> Section:
    """``section`` with a check of each unit that the release names: it runs, and since this change."""
    payloads = document["payloads"] if document else []
    names = {name for payload in payloads for name in payload.get("units", [])}
    if not names or not transaction.layout.is_real:
        return section
    mine = running_instances(own_names(names))
    checks: list[Check] = [{"name": _CHECK % name, "type": "unit", "unit": name, "renewed": True} for name in mine]
    return {**section, "checks": [*section.get("checks", []), *checks]}


def baseline(transaction: Transaction) -> dict[str, Measured]:
    """What the checks of :func:`with_units` compare with."""
    record = records.load(transaction)
    units = record["units"].get("", {}) if record else {}
    return {_CHECK % name: {"invocation": unit["invocation"]} for name, unit in units.items()}
