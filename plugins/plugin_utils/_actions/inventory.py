# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Whether an inventory names devices: each once, all of them, and nothing else."""

from __future__ import annotations

import os
import pathlib
import typing as t

from ansible.constants import LOCALHOST
from ansible.inventory.manager import IGNORED

from .._control.base.errors import PlanError
from .._control.base.plan import Plan
from .._control.planning.text import some
from .base import plain
from .hostvars import Inventory

HARDWARE = "fleet_ota_hardware"
#: Where a device is, beside its address: two of one address may be behind two bastions or ports, or in two directories.
_WAY = (
    "ansible_port",
    "ansible_ssh_port",
    "ansible_connection",
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
    "ansible_ssh_args",
    "fleet_ota_root",
    "fleet_ota_state_dir",
)
#: A rollout may lose so many of its devices from the inventory before it asks.
_LOST_DEVICES, _LOST_SHARE = 2, 0.1


def no_devices(hosts: t.Sequence[str], inventory: Inventory, infos: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Those of ``hosts``, whom no ``fleet_ota_hosts`` chose, that are no devices, each with the reason.

    The controller is none, nor is a mirror or a database: what has neither the hardware that a device is enrolled with
    nor, by ``infos``, an identity. Where no host has either, nothing tells them apart.
    """
    reasons = {name: "is the controller, no device" for name in hosts if name in LOCALHOST}
    others = [name for name in hosts if name not in reasons]
    bare = [name for name in inventory.same(others, HARDWARE).get("", []) if not _identity(infos.get(name))]
    if len(bare) < len(others):
        why = f"has no {HARDWARE}, so it is no device; set it, or choose the host with fleet_ota_hosts"
        reasons.update(dict.fromkeys(bare, why))
    return reasons


def require_distinct(hosts: t.Sequence[str], inventory: Inventory) -> None:
    """Raise :class:`PlanError` for hosts that are one device under two names: it would be updated twice at a time."""
    problems = []
    for address, named in inventory.same(hosts, "ansible_host").items():
        names = named if address else []
        if address in hosts and address not in names:
            names = [*names, address]
        ways: dict[str, list[str]] = {}
        for name in names if len(names) > 1 else ():
            way = repr([plain(inventory[name].get(variable)) for variable in _WAY])
            ways.setdefault(way, []).append(name)
        problems += [f"{some(same, 5)} are all {address}" for same in ways.values() if len(same) > 1]
    if problems:
        raise PlanError(
            f"hosts of the inventory are the same device: {'; '.join(problems)}. Correct ansible_host, or remove all "
            "but one of them",
            problems=problems,
        )


def require_read(manager: t.Any) -> None:
    """Raise :class:`PlanError` for sources of the inventory that Ansible could not read; it goes on without them.

    ``manager`` is Ansible's inventory manager. Nothing is said where it does not tell.
    """
    data = getattr(manager, "_inventory", None)
    read = getattr(data, "processed_sources", None)
    if read is None:
        return
    lost = [name for source in getattr(manager, "_sources", ()) for name in _sources(str(source)) if name not in read]
    if lost:
        raise PlanError(
            f"Ansible could not read {some(lost, 3)} of the inventory, and a rollout would go without its devices; "
            "correct it (ansible-inventory --graph shows why), or leave it out",
            problems=lost,
        )


def require_known(stored: Plan | None, everybody: t.Iterable[str]) -> None:
    """Raise :class:`PlanError` if many devices of the rollout's last plan are not in the inventory (``everybody``).

    A source that returns half of a fleet gives no error.
    """
    if stored is None:
        return
    there, planned = set(everybody), stored.order()
    gone = [name for name in planned if name not in there]
    if len(gone) > max(_LOST_DEVICES, _LOST_SHARE * len(planned)):
        raise PlanError(
            f"{len(gone)} of the {len(planned)} devices of this rollout are not in the inventory any more "
            f"({some(gone, 3)}); bring the inventory back, or, if they are gone for good, begin a journal in another "
            "fleet_ota_journal_dir",
            problems=gone,
        )


def _identity(info: t.Any) -> bool:
    return isinstance(info, t.Mapping) and bool(info.get("identity"))


def _sources(source: str) -> list[str]:
    """The files that Ansible reads for ``source``."""
    if "," in source or (source == "/etc/ansible/hosts" and not os.path.exists(source)):
        return []
    if not os.path.isdir(source):
        return [source]
    entries = [entry for entry in sorted(pathlib.Path(source).iterdir()) if not IGNORED.search(os.fsencode(entry.name))]
    wanted = [entry for entry in entries if entry.is_dir() or _is_inventory(entry)]
    return [name for entry in wanted for name in _sources(str(entry))]


def _is_inventory(path: pathlib.Path) -> bool:
    """Whether a file in a directory is meant as an inventory: a text beside it is not."""
    return path.suffix in ("", ".yml", ".yaml", ".json", ".toml") or os.access(path, os.X_OK)
