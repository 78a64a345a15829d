# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Programs of a release, run so that what they leave behind outlives the engine and is known as theirs.

On systemd each runs in a scope of its own: the end of the engine's unit ends none of the daemons that it started.
Everywhere the environment names the change, so that a way back finds them.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from .. import background, command, processes
from ..layout import Layout

#: What the scopes of all changes begin with.
PREFIX = "fleet-ota-started-"
_SCOPE = PREFIX + "%s-"
#: The first thing that is said inside of the scope: without it systemd-run failed, and not the program.
_INSIDE = "fleet-ota: inside"
#: Seconds that daemons of a release which goes back have to end.
PATIENCE = 20.0


def run(
    layout: Layout,
    change: str,
    argv: t.Sequence[str],
    *,
    timeout: float | None = 60,
    cwd: str | None = None,
    environment: t.Mapping[str, str] | None = None,
) -> command.Result:
    """Run ``argv`` for the change of that name; as :func:`command.run`. Without a name nothing is special."""
    foreign = {**command.foreign_locale(), **(environment or {})}
    if not change:
        return command.run(argv, timeout=timeout, cwd=cwd, environment=foreign, most=command.FOREIGN_OUTPUT)
    with contextlib.suppress(OSError):  # on a whole machine it is looked for in any case
        os.close(os.open(_marker(layout, change), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    known = {**foreign, processes.TOKEN: change}
    most = command.FOREIGN_OUTPUT
    if background.by_systemd(layout):
        name = (_SCOPE % change) + os.urandom(3).hex() + ".scope"
        scope = ["systemd-run", "--scope", "--quiet", "--collect", "--unit=" + name, "--description=%s" % argv[0]]
        inside = ["/bin/sh", "-c", 'echo "%s" >&2; exec "$@"' % _INSIDE, "sh", *argv]
        result = command.run([*scope, "--", *inside], timeout=timeout, cwd=cwd, environment=known, most=most)
        before, mark, after = result.err.partition(_INSIDE + "\n")
        if mark:
            return result._replace(err=before + after)
    return command.run(argv, timeout=timeout, cwd=cwd, environment=known, most=most)


def end(layout: Layout, change: str) -> list[str]:
    """End all that runs on behalf of that change outside of units; what it was, for people.

    A directory that plays a device shares its processes with others: they are looked at only if it started any.
    """
    if not layout.is_real and not os.path.exists(_marker(layout, change)):
        return []
    ended = processes.end(lambda: processes.of_change(change, _SCOPE % change), PATIENCE)
    return [process.shown for process in ended]


def _marker(layout: Layout, change: str) -> str:
    return layout.transaction(change, "started")
