# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""systemd units: what they are doing, and bringing them back to it."""

from __future__ import annotations

import typing as t

from ..base.errors import OtaError
from . import command

Properties = t.Dict[str, str]
_SHOWN = ("Id", "LoadState", "ActiveState", "SubState", "NRestarts", "Type")


def show(names: t.Sequence[str]) -> dict[str, Properties]:
    """``systemctl show`` of ``names``: LoadState, ActiveState, SubState, NRestarts of each."""
    if not names:
        return {}
    result = command.run(["systemctl", "show", "--property=%s" % ",".join(_SHOWN), "--", *names])
    blocks = [
        dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        for block in result.out.split("\n\n")
    ]
    blocks = [block for block in blocks if block]
    if len(blocks) != len(names):
        raise OtaError("ENGINE", "systemctl show answered %d of %d units: %s" % (len(blocks), len(names), result.tail))
    return dict(zip(names, blocks))


def active(names: t.Sequence[str]) -> list[str]:
    """Which of ``names`` are running or about to."""
    return [
        name
        for name, properties in show(names).items()
        if properties.get("ActiveState") in ("active", "activating", "reloading")
    ]


def failed() -> set[str]:
    """Every unit that systemd holds as failed."""
    result = command.run(["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--full"])
    return {line.split()[0] for line in result.out.splitlines() if line.strip()}


def reload() -> None:
    """``systemctl daemon-reload``: unit files may have changed."""
    command.run(["systemctl", "daemon-reload"])


def restart(names: t.Sequence[str]) -> None:
    """Reload unit files and restart ``names``; a unit that does not start is for the health checks to find."""
    if names:
        reload()
        command.run(["systemctl", "restart", "--no-block", "--", *names])


def stop(names: t.Sequence[str]) -> None:
    """Stop ``names`` and forget that they failed; units that do not exist are no error."""
    if names:
        command.run(["systemctl", "stop", "--", *names], timeout=120)
        command.run(["systemctl", "reset-failed", "--", *names])


def bring_back(were_active: t.Sequence[str]) -> None:
    """After files went back: reload unit files and restart what was running before."""
    reload()
    if were_active:
        command.run(["systemctl", "reset-failed", "--", *were_active])
        command.run(["systemctl", "restart", "--no-block", "--", *were_active])
