# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Which interlocks count on this device: those of its own files always, and those that a request brings.

The device's own are in ``/etc/fleet-ota/interlocks.d/*.json``, one list in each, which only root may write.
"""

from __future__ import annotations

import json
import os
import stat
import typing as t

from . import interlocks, schema
from .errors import OtaError
from .layout import Layout

FOLDER = "/etc/fleet-ota/interlocks.d"
#: Where an interlock of a request says that it comes from.
REQUEST = "the rollout"


def ask(layout: Layout, given: t.Any) -> None:
    """OtaError ``INTERLOCK`` if one of the device's own or of ``given`` (a list, or None) says not now.

    ``INTERLOCK_SPEC`` if any of them has mistakes: then it is not known what somebody wanted to be held.
    """
    problems = schema.Problems()
    interlocks.validate("interlocks", given or [], problems)
    sources = {path: _read(layout, path, problems) for path in _files(layout, problems)}
    if problems.found:
        message = "interlocks have errors: %s; nothing is done while it is not known what they hold"
        raise OtaError("INTERLOCK_SPEC", message % "; ".join(problems.found), problems=problems.found)
    sources[REQUEST] = list(given or [])
    interlocks.demand([one for source, found in sources.items() for one in interlocks.held(layout, found, source)])


def _files(layout: Layout, problems: schema.Problems) -> list[str]:
    """The device's own files, as the device sees their paths."""
    folder = layout.real(FOLDER)
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.add(FOLDER, "cannot be read (%s)" % error.strerror)
        return []
    _owned(FOLDER, os.stat(folder), problems)
    return ["%s/%s" % (FOLDER, name) for name in names if name.endswith(".json") and not name.startswith(".")]


def _read(layout: Layout, path: str, problems: schema.Problems) -> list[t.Any]:
    try:
        with open(layout.real(path), encoding="utf-8") as handle:
            _owned(path, os.fstat(handle.fileno()), problems)
            found = json.load(handle)
    except (OSError, ValueError) as error:
        problems.add(path, "cannot be read (%s)" % error)
        return []
    interlocks.validate(path, found, problems)
    return found if isinstance(found, list) else []


def _owned(path: str, info: os.stat_result, problems: schema.Problems) -> None:
    """Who may write here decides what root runs."""
    if info.st_uid not in (0, os.geteuid()) or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        problems.add(path, "others than root may write to it; chown root and chmod go-w it")
