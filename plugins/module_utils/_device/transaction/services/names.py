# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Units that a release names: each must be there, or come with it."""

from __future__ import annotations

import os
import typing as t

from ...base.errors import OtaError
from ...kinds import payloads
from ...system import command
from ...system.layout import Layout
from ...system.units import Manager, template


def require_known(layout: Layout, several: t.Sequence[payloads.Base], touched: t.Collection[str] | None) -> None:
    """Refuse (``REQUIREMENT``) a named unit that can never run: neither the device nor a payload has it.

    ``touched`` are the paths that a rehearsal touched.
    """
    named = {(unit, payload.payload["name"]) for payload in several for unit in payload.payload.get("units", [])}
    if not named or not layout.is_real or not command.has_systemd():
        return
    made = {os.path.basename(path) for path in touched or () if "/systemd/" in path}
    # systemd loads a template only as an instance
    asked = {unit: unit.replace("@.", "@x.") for unit, _name in named}
    states = Manager().show(sorted(set(asked.values())))
    for unit, name in sorted(named):
        state = states[asked[unit]].get("LoadState")
        if state == "masked":
            message = "unit %s of payload %s is masked on this device; unmask it, or leave it out of `units`"
            raise OtaError("REQUIREMENT", message % (unit, name))
        comes = state == "not-found" and (
            {unit, template(unit)} & made or any(payload.brings_unit(unit) for payload in several)
        )
        if state == "not-found" and not comes:
            message = "neither this device nor the release has unit %s, which payload %s names; correct the name"
            raise OtaError("REQUIREMENT", message % (unit, name))
