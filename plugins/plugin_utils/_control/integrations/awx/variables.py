# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Which variables of a run its jobs in AWX need too, and which values must not be read there."""

from __future__ import annotations

import re
import typing as t

#: What a rollout and its plan read, without ``fleet_ota_``. Everything else that a run is given stays where it is: what
#: the nodes of the workflow say, what belongs to the export, who signs with which keys.
HANDED = frozenset(
    [
        "hosts",
        "repository",
        "trust_root",
        "channel",
        "release",
        "journal_dir",
        "cache",
        "tls_ca",
        "tls_certificate",
        "tls_key",
        "waves",
        "limits",
        "soak",
        "watch",
        "deferred_exit",
        "conditions",
        "order",
        "together",
        "budget",
        "windows",
        "freezes",
        "timezone",
        "after",
        "hold",
        "urgent",
        "expected_minutes",
        "back_minutes",
        "retry_rejected",
        "ask_devices",
        "hardware",
        "site",
        "labels",
        "notify",
        "penalty",
        "workers",
        "worker_files",
        "worker_silence",
        "first_contact",
        "root",
        "state_dir",
        "transfer",
        "mirrors",
        "splay",
        "deadline",
        "timeout",
        "guard",
        "snapshot",
        "protect",
        "keep_snapshots",
        "rehearsal",
        "data",
        "interlocks",
        "repair",
        "hook_before",
        "hook_installed",
        "hook_after",
    ]
)
_PREFIX = "fleet_ota_"
#: User or password of an address, wherever it stands in a text.
_LOGIN = re.compile(r"://[^/?#\s]*@")
#: An address with more than a host.
_WEBHOOK = re.compile(r"://[^/?#\s]*(?:/+[^/\s]|[?#])")


def handed(given: t.Mapping[str, object]) -> dict[str, object]:
    """Those of the variables ``given`` to a run that its jobs need too."""
    return {name: value for name, value in given.items() if name.startswith(_PREFIX) and name[len(_PREFIX) :] in HANDED}


def problems(variables: t.Mapping[str, object]) -> list[str]:
    """What in ``variables`` is a secret, as far as it can be told: AWX shows extra variables to whoever sees a job."""
    return [problem for name, value in variables.items() for problem in _secrets(f"variables.{name}", value)]


def _secrets(where: str, value: object) -> list[str]:
    if isinstance(value, t.Mapping):
        return [problem for key, entry in value.items() for problem in _secrets(f"{where}.{key}", entry)]
    if isinstance(value, (list, tuple)):
        return [problem for index, entry in enumerate(value) for problem in _secrets(f"{where}[{index}]", entry)]
    if not isinstance(value, str):
        return []
    if _LOGIN.search(value):
        return [f"{where}: holds credentials, which AWX would show; leave them out, or keep it in the inventory"]
    if where.startswith("variables.fleet_ota_notify") and _WEBHOOK.search(value):
        return [f"{where}: has a path, query or fragment, where webhooks have their secret; keep it in the inventory"]
    return []
