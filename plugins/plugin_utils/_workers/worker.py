# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The machines that do slices: what the variable says of each, and the command that starts one."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import sys
import typing as t

from .._control.base.errors import PlanError

#: Options of one entry of ``fleet_ota_workers``, as Ansible's validator takes them.
OPTIONS: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str", "required": True},
    "host": {"type": "str"},
    "user": {"type": "str"},
    "port": {"type": "int"},
    "key": {"type": "path", "no_log": False},
    "ssh": {"type": "str"},
    "ssh_args": {"type": "list", "elements": "str"},
    "command": {"type": "list", "elements": "str"},
    "runner": {"type": "str"},
    "forks": {"type": "int"},
    "variables": {"type": "dict"},
}
#: Only with ``host``.
_SSH = ("user", "port", "key", "ssh", "ssh_args")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
#: A dead link is noticed within 15 s, and nobody is asked for a password. A shared connection might hang.
_ALIVE = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=5", "ServerAliveCountMax=3", "ControlPath=none")
#: Receives a slice and does it in a folder that is its user's alone and goes with it. What a machine that was switched
#: off in the midst left there is removed a day later.
_SCRIPT = """\
umask 077
top=${TMPDIR:-/tmp}
find "$top" -maxdepth 1 -name 'fleet-ota-slice.*' -user "$(id -u)" -mmin +1440 -exec rm -rf {} + 2>/dev/null
folder=$(mktemp -d "$top/fleet-ota-slice.XXXXXXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
%(path)s%(runner)s worker --private-data-dir "$folder" --keepalive-seconds %(keepalive)d
"""


@dataclasses.dataclass(frozen=True)
class Worker:
    """A machine that does slices.

    ``start`` is the command that takes one more argument, a line for a shell there. ``runner`` is the command of
    ansible-runner there, ``forks`` how many devices it works on at a time, ``variables`` what its devices have instead
    of what the inventory says.
    """

    name: str
    start: tuple[str, ...]
    runner: tuple[str, ...]
    forks: int
    variables: t.Mapping[str, t.Any]

    def command(self, keepalive: int) -> list[str]:
        """The command that receives a slice on standard input; it says something every ``keepalive`` seconds."""
        program = self.runner[0]
        # ansible-runner looks for ansible-playbook on PATH: beside itself first
        path = f'PATH={shlex.quote(os.path.dirname(program))}:"$PATH" ' if "/" in program else ""
        script = _SCRIPT % {"path": path, "runner": shlex.join(self.runner), "keepalive": keepalive}
        return [*self.start, script]


def parse(entries: t.Iterable[t.Mapping[str, t.Any]], forks: int) -> list[Worker]:
    """The workers of the variable; ``forks`` for who has none. Raises :class:`PlanError` naming every problem."""
    workers: list[Worker] = []
    problems: list[str] = []
    for entry in entries:
        given = {key: value for key, value in entry.items() if value is not None}
        name = str(given["name"])
        wrong = _problem(given)
        if not wrong and name in (other.name for other in workers):
            wrong = "another one has this name; give each its own"
        if wrong:
            problems.append(f"worker {name!r}: {wrong}")
            continue
        runner = (str(given.get("runner", "ansible-runner")),)
        workers.append(Worker(name, _start(given), runner, given.get("forks", forks), given.get("variables", {})))
    if problems:
        raise PlanError(f"fleet_ota_workers cannot be used: {'; '.join(problems)}", problems=problems)
    return workers


def together(entries: t.Iterable[t.Mapping[str, t.Any]], forks: int) -> int:
    """How many devices are worked on at a time: by all workers, or by this machine with its ``forks``."""
    return sum(worker.forks for worker in parse(entries, forks)) or forks


def here(forks: int) -> Worker:
    """This machine itself, by the ansible-runner of this Python."""
    return Worker("controller", ("sh", "-c"), (sys.executable, "-m", "ansible_runner"), forks, {})


def _problem(given: t.Mapping[str, t.Any]) -> str | None:
    if not _NAME.fullmatch(given["name"]) or given["name"] == "controller":
        return "name it by letters, digits, dots and dashes, at most 63, and not controller"
    if ("host" in given) == ("command" in given):
        return "give host for SSH, or command for another way there"
    if "command" in given and not given["command"]:
        return "its command is empty; give the one that runs its arguments on that machine"
    if "command" in given and any(key in given for key in _SSH):
        return f"{', '.join(key for key in _SSH if key in given)} go with host, not with command"
    if any(str(given.get(key, "")).startswith("-") for key in ("host", "user")):
        return "host and user do not begin with a dash"
    if given.get("forks", 1) < 1:
        return f"forks {given['forks']} is no number of devices; give 1 or more"
    return None


def _start(given: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    if "command" in given:
        return (*given["command"], "sh", "-c")
    options = [word for option in _ALIVE for word in ("-o", option)]
    for key, letter in (("port", "-p"), ("user", "-l"), ("key", "-i")):
        if key in given:
            options += [letter, str(given[key])]
    # the first value of an option wins
    return (str(given.get("ssh", "ssh")), *given.get("ssh_args", []), *options, "-T", given["host"], "--")
