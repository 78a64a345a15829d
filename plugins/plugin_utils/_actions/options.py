# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Options that several modules have; ``plugins/doc_fragments`` documents them."""

from __future__ import annotations

from .base import Arguments, Options, named

#: TLS files of the controller for an https repository.
TLS: Options = {
    "tls": {
        "type": "dict",
        "options": {name: {"type": "path", "no_log": False} for name in ("ca", "certificate", "key")},
        "required_together": [("certificate", "key")],
    }
}
#: Where a release comes from, and where the controller keeps what it verified.
RELEASE: Options = {
    "repository": {"type": "str"},
    "trust_root": {"type": "path"},
    "channel": {"type": "str"},
    "release": {"type": "str"},
    "cache": {"type": "path", "default": "~/.cache/fleet-ota"},
    **TLS,
}
#: The options of a release that are given all or not at all.
RELEASE_NAMES = ("release", "channel", "repository", "trust_root")
#: The same for a device, which also takes the bundle.
DEVICE_RELEASE: Options = {"bundle": {"type": "path"}, **RELEASE}
DEVICE_RELEASE_RULES: Arguments = {
    "mutually_exclusive": [("bundle", "repository")],
    "required_together": [RELEASE_NAMES],
}
#: Where the device keeps things.
DEVICE: Options = {
    "root": {"type": "str", "default": "/"},
    "state_dir": {"type": "str", "default": "/var/lib/fleet-ota"},
}
#: How payloads reach a device.
TRANSFER: Options = {
    "transfer": {"type": "str", "choices": ["push", "pull"], "default": "push"},
    "mirrors": {"type": "list", "elements": "str", "default": []},
    "splay": {"type": "int", "default": 0},
}
#: Which releases and which package databases a device takes.
RETRY: Options = {"retry_rejected": {"type": "bool", "default": False}}
REPAIR: Options = {"repair": {"type": "bool", "default": False}}

#: Options with the secrets of keys.
UNLOCKING: Options = {
    "passphrase_file": {"type": "path", "no_log": False},
    "pin_file": {"type": "path", "no_log": False},
}
#: Options of a signer.
SIGNING: Options = {"keys": {"type": "list", "elements": "str", "no_log": False}, **UNLOCKING}
SIGNING_VARIABLES = named(*SIGNING)
#: Options of a change that others sign too.
PROPOSING: Options = {
    "propose": {"type": "bool", "default": False},
    "title": {"type": "str", "default": ""},
    "requested_by": {"type": "str"},
    "proposal_days": {"type": "int"},
}

PROPOSING_VARIABLES = named(*PROPOSING)

#: The variables of a device, where a task does not say otherwise.
DEVICE_VARIABLES = named(*DEVICE)
TRANSFER_VARIABLES = named(*TRANSFER)

#: What ``fleet.ota.update`` is told of one device, by its own variables in a rollout.
DATA: Options = {
    "path": {"type": "str", "required": True},
    "on_restore": {"type": "str", "choices": ["keep", "restore"], "required": True},
    "backup": {"type": "bool"},
}
UPDATE: Options = {
    **DEVICE,
    **TRANSFER,
    **RETRY,
    **REPAIR,
    "take_over": {"type": "bool", "default": False},
    "deadline": {"type": "int", "default": 600},
    "timeout": {"type": "float", "default": 1800},
    "first_contact": {"type": "float", "default": 25},
    "guard": {"type": "str", "choices": ["auto", "systemd", "process", "none"], "default": "auto"},
    "snapshot": {"type": "str", "choices": ["auto", "files", "btrfs", "lvm"], "default": "auto"},
    "rehearsal": {"type": "str", "choices": ["auto", "required", "off"], "default": "auto"},
    "protect": {"type": "list", "elements": "str", "default": []},
    "keep_snapshots": {"type": "int", "default": 1},
    "data": {"type": "list", "elements": "dict", "default": [], "options": DATA},
    "interlocks": {"type": "list", "elements": "dict", "default": []},
}
UPDATE_VARIABLES = named(*UPDATE)
