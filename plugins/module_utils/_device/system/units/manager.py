# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""One systemd: the machine's, or that of a user. Every call is waited for, and its result counts."""

from __future__ import annotations

import functools
import os
import pwd
import re
import time
import typing as t

from ...base.errors import OtaError
from .. import command

Properties = t.Dict[str, str]
#: Why units are not what they were asked to be, by name, for people.
Failures = t.Dict[str, str]

#: States of a unit that runs, or is about to.
ALIVE = ("active", "activating", "reloading", "refreshing")
#: Which units end when a unit is stopped.
DEPENDENTS = ("RequiredBy", "BoundBy", "ConsistsOf", "RequisiteOf", "PropagatesStopTo")
#: Kinds of unit that a change of files concerns.
KINDS = (".service", ".socket", ".timer", ".path", ".target")
#: Seconds that a start or stop is waited for at most, whatever the unit says.
LONGEST = 3600.0
#: Seconds for which a systemd that refuses to read its unit files is asked again (it limits how often).
_RELOAD_PATIENCE = 20.0
# fmt: off
_SHOWN = (
    "Id", "LoadState", "ActiveState", "SubState", "Type", "Result", "NRestarts", "InvocationID", "MainPID",
    "ExecMainStatus", "ConditionResult", "FragmentPath", "SourcePath", "DropInPaths", "UnitFileState",
    "ControlGroup", "TimeoutStartUSec", "TimeoutStopUSec", "Triggers", "TriggeredBy", "RequiredBy", "BoundBy",
    "ConsistsOf", "Conflicts", "ConflictedBy", "RefuseManualStart", "RefuseManualStop",
    "ConditionTimestampMonotonic", "BusName", "RequisiteOf", "PropagatesStopTo",
)
# fmt: on
#: Seconds for a call of a user's systemd, whatever its units say: no user holds up a way back.
_USER_PATIENCE = 30.0
_SPAN = re.compile(r"([0-9.]+) *(us|ms|s|min|h|d|w|month|y)\b")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800, "month": 2.6e6, "y": 3.2e7}


def seconds(span: str) -> float:
    """The seconds of a time span as systemctl writes it (``1min 30s``); infinity for what is none."""
    if not _SPAN.sub("", span).strip() and span.strip():
        return sum(float(number) * _SECONDS[unit] for number, unit in _SPAN.findall(span))
    return 0.0 if span.strip() == "0" else float("inf")


class Manager:
    """The systemd of the machine, or with ``uid`` that of the user."""

    def __init__(self, uid: int | None = None) -> None:
        self.uid = uid

    # -- questions ------------------------------------------------------------------------------------------------

    def show(self, names: t.Sequence[str]) -> dict[str, Properties]:
        """Properties of ``names``, whether they exist or not; OtaError ``ENGINE`` without an answer for each."""
        if not names:
            return {}
        result = self._call("show", "--property=%s" % ",".join(_SHOWN), "--", *names)
        blocks = _blocks(result.out)
        if len(blocks) != len(names):
            message = "systemctl show answered %d of %d units: %s"
            raise OtaError("ENGINE", message % (len(blocks), len(names), result.tail))
        return dict(zip(names, blocks))

    def loaded(self) -> dict[str, Properties]:
        """Every unit of :data:`KINDS` that systemd holds in memory, by its own name, instances among them."""
        patterns = ["*" + kind for kind in KINDS]
        result = self._call("show", "--property=%s" % ",".join(_SHOWN), "--", *patterns)
        units = {block["Id"]: block for block in _blocks(result.out) if "Id" in block}
        if not units:
            raise OtaError("ENGINE", "systemctl show named no unit: %s" % result.tail)
        return units

    def active(self, pattern: str) -> list[str]:
        """The units of names like ``pattern`` that are active; none without an answer."""
        result = self._call("show", "--property=Id,ActiveState", "--", pattern)
        return [unit["Id"] for unit in _blocks(result.out) if unit.get("ActiveState") == "active" and "Id" in unit]

    def failed(self) -> set[str]:
        """Every unit that systemd holds as failed."""
        result = self._call("list-units", "--failed", "--plain", "--no-legend", "--full")
        if result.rc != 0:
            raise OtaError("ENGINE", "systemctl list-units failed: %s" % result.tail)
        return {line.split()[0] for line in result.out.splitlines() if line.strip()}

    def busy(self) -> set[str]:
        """Units that have a job: they are about to start or stop."""
        result = self._call("list-jobs", "--plain", "--no-legend", "--full")
        return {words[1] for words in map(str.split, result.out.splitlines()) if len(words) > 2 and words[0].isdigit()}

    # -- orders ---------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Have unit files read anew; OtaError ``NO_SPACE`` or ``INSTALL`` with systemd's reason if it refuses."""
        end = time.monotonic() + _RELOAD_PATIENCE
        while True:
            result = self._call("daemon-reload", timeout=180)
            if result.rc == 0:
                return
            if time.monotonic() > end:
                break
            time.sleep(1)
        full = re.search("not enough space|No space left", result.err)
        message = "systemd refuses to read its unit files (systemctl daemon-reload): %s"
        raise OtaError("NO_SPACE" if full else "INSTALL", message % result.tail)

    def stop(self, names: t.Sequence[str], longest: float = LONGEST) -> Failures:
        """Stop ``names`` and what depends on them, and wait as long as they say; one that does not exist is no failure.

        What systemd calls failed after that is forgotten.
        """
        units = self._with_dependents(self._known(names))
        if not units:
            return {}
        patience = self._patience(units, "TimeoutStopUSec", longest)
        result = self._call("stop", "--", *units, timeout=patience)
        self._call("reset-failed", "--", *units)
        after = self.show(list(units))
        left = [name for name, unit in after.items() if unit.get("ActiveState") not in ("inactive", "failed")]
        return {name: "is still %s: %s" % (after[name]["ActiveState"], result.tail) for name in left}

    def start(self, names: t.Sequence[str], longest: float = LONGEST) -> Failures:
        """Start ``names``, and wait as long as they say: the reasons of those that do not run, by name."""
        return self._in_order("start", names, longest)

    def restart(self, names: t.Sequence[str], longest: float = LONGEST) -> Failures:
        """Restart ``names``, or start them; as :meth:`start`."""
        return self._in_order("restart", names, longest)

    def _in_order(self, verb: str, names: t.Sequence[str], longest: float) -> Failures:
        """Sockets before what they trigger: systemd refuses to listen for a service that runs already."""
        shown = self.show(names)
        failures = {
            name: "there is no such unit" for name, unit in shown.items() if unit.get("LoadState") == "not-found"
        }
        # By their own names: one that is named by an alias as well is asked for once.
        units = {unit.get("Id") or name: unit for name, unit in shown.items() if name not in failures}
        sockets = {name: unit for name, unit in units.items() if name.endswith(".socket")}
        behind = self._behind(list(sockets))
        if behind:
            failures.update(self.stop(list(behind), longest))
        rest = {name: unit for name, unit in units.items() if name not in sockets}
        for part in (sockets, {**rest, **behind}):
            failures.update(self._ask(verb, part, longest))
        return failures

    def _ask(self, verb: str, units: t.Mapping[str, Properties], longest: float) -> Failures:
        if not units:
            return {}
        names = list(units)
        patience = self._patience(units, "TimeoutStartUSec", longest)
        if verb == "restart":
            patience = min(longest, patience + self._patience(units, "TimeoutStopUSec", longest))
        self._call("reset-failed", "--", *names)
        result = self._call(verb, "--", *names, timeout=patience)
        if result.rc == 0:
            return {}
        after = self.show(names)
        return {
            name: self._reason(name, unit, result)
            for name, unit in after.items()
            if unit.get("ActiveState") not in ALIVE and not ended_well(unit, started=True)
        }

    def _reason(self, name: str, unit: Properties, result: command.Result) -> str:
        """Why ``name`` does not run: systemd's result, its words, and the last lines of the unit's own journal."""
        parts = ["%s (%s, exit code %s)" % (unit["ActiveState"], unit.get("Result"), unit.get("ExecMainStatus", "?"))]
        if unit.get("LoadState") != "loaded":
            parts = ["is %s" % unit.get("LoadState")]
        parts += [line for line in result.err.splitlines() if name in line][:1] or [result.tail]
        selector = "--user-unit" if self.uid is not None else "--unit"
        lines = command.run(["journalctl", selector, name, "-n", "4", "-o", "cat", "--no-pager"], timeout=20)
        return "; ".join([*parts, *(line.strip() for line in lines.out.splitlines()[-4:])])

    def _known(self, names: t.Sequence[str]) -> dict[str, Properties]:
        return {name: unit for name, unit in self.show(names).items() if unit.get("LoadState") != "not-found"}

    def _with_dependents(self, units: dict[str, Properties]) -> dict[str, Properties]:
        """``units`` and those that run and that systemd stops with them: nobody waits for them otherwise."""
        found, new = dict(units), units
        while new:
            names = {name for unit in new.values() for key in DEPENDENTS for name in unit.get(key, "").split()}
            shown = self.show(sorted(names - set(found)))
            new = {name: unit for name, unit in shown.items() if unit.get("ActiveState") in ALIVE}
            found.update(new)
        return found

    def _behind(self, sockets: t.Sequence[str]) -> dict[str, Properties]:
        """The running services of those ``sockets``."""
        services = sorted({name for unit in self.show(sockets).values() for name in unit.get("Triggers", "").split()})
        return {name: unit for name, unit in self.show(services).items() if unit.get("ActiveState") in ALIVE}

    @staticmethod
    def _patience(units: t.Mapping[str, Properties], timeout: str, longest: float) -> float:
        """How long the slowest of ``units`` and what depends on it may take; systemd kills after that, twice."""
        longer = max([seconds(unit.get(timeout, "1min 30s") or "1min 30s") for unit in units.values()], default=90.0)
        return min(longest, max(90.0, longer) * 2 + 30)

    def _call(self, *arguments: str, timeout: float = 60) -> command.Result:
        if self.uid is None:
            return command.run(["systemctl", *arguments], timeout=timeout)
        folder = "/run/user/%d" % self.uid
        environment = {"XDG_RUNTIME_DIR": folder, "DBUS_SESSION_BUS_ADDRESS": "unix:path=%s/bus" % folder}
        enter = functools.partial(become, self.uid)
        patience = min(timeout, _USER_PATIENCE)
        return command.run(
            ["systemctl", "--user", *arguments], timeout=patience, environment=environment, enter=enter, cwd="/"
        )


def become(uid: int) -> None:
    """Be that user, in a child process before its program starts."""
    try:
        entry = pwd.getpwuid(uid)
        groups, gid = os.getgrouplist(entry.pw_name, entry.pw_gid), entry.pw_gid
    except KeyError:
        groups, gid = [], uid
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)


def ended_well(unit: Properties, *, started: bool = False) -> bool:
    """Whether it is a one-shot that ran and ended as it should, or a unit whose conditions this device does not meet.

    systemd soon forgets whether a one-shot ran: say that it was ``started`` where that is known.
    """
    if unit.get("ActiveState") != "inactive" or unit.get("Result") != "success":
        return False
    looked = unit.get("ConditionTimestampMonotonic", "0") not in ("", "0")
    if unit.get("Type") == "oneshot":
        return started or (looked and unit.get("ConditionResult") != "no")
    return started and looked and unit.get("ConditionResult") == "no"


def _blocks(text: str) -> list[Properties]:
    blocks = [
        dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line) for block in text.split("\n\n")
    ]
    return [block for block in blocks if block]
