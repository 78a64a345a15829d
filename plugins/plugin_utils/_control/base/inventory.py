# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the control engine knows of the inventory: each host's variables."""

from __future__ import annotations

import typing as t

#: Variables of each host, as far as they matter here.
Inventory = t.Mapping[str, t.Mapping[str, t.Any]]


def values(where: str, by: str, hosts: t.Sequence[str], inventory: Inventory, problems: list[str]) -> dict[str, str]:
    """The value of the host variable ``by`` as text, of those hosts that have it; nobody having it is a mistake."""
    texts = {}
    for name in hosts:
        value = inventory.get(name, {}).get(by)
        if value is None:
            continue
        if not isinstance(value, (str, int, float)):
            problems.append(f"{where}: it is {value!r} for {name}; give that host a text or a number")
            return {}
        texts[name] = str(value)
    if not texts and hosts:
        problems.append(f"{where}: no target has the variable {by!r}; correct its name")
    return texts
