# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All of a machine from outside, and what of it is not as it must be."""

from __future__ import annotations

import dataclasses
import json
import time
import typing as t

from tests.lab import evidence

from .machine import KEPT, LIVE, SHARE, Machine
from .others import PACKAGES
from .releases import COMPILED, EFFECT, FOLDER, SCHEMAS, SITE, TOOL, Offer

#: What may differ without being wrong, and why.
VOLATILE = (
    *evidence.VOLATILE,
    KEPT,  # a database that is written all the time; its rows are counted instead
    LIVE,
    SHARE,  # a user exchanges it all the time; what leads out of it is looked at where it leads
    "/var/lib/apt",  # apt's caches and what it remembers of itself
    "/var/lib/dpkg/lock",
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/triggers/Lock",
    "/root/.bash_history",
    "/etc/.pwd.lock",
    "/srv",  # where the test itself puts packages
)
#: Files of everybody: compared line by line or by what their owner prints of them, without their order.
LINES = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid")
DATABASE = "/var/lib/dpkg/"
#: Rewritten with every change of the database; `dpkg-query`, `dpkg-divert` and `dpkg-statoverride` tell what they hold.
RECORDS = ("status", "status-old", "diversions", "diversions-old", "statoverride", "statoverride-old", "available")
TOLD = "dpkg-query -W -f '${Package} ${Version} ${Status}\n'; dpkg-divert --list; dpkg-statoverride --list"
#: What may change where a release is now; the rest is as before.
OF_RELEASE = (
    FOLDER,
    SITE,
    TOOL,
    f"{TOOL}.distrib",
    "/etc/app",
    SCHEMAS,
    "/etc/systemd/system/site.service",
    "/etc/systemd/system/multi-user.target.wants",
    "/usr/lib/systemd/system/app",
    f"{DATABASE}info/app.",
)
#: Run on the device: every process of a program of the machine or of the release, and whether the disk has it so.
PROCESSES = """
import hashlib, json, os
found = []
def digest(path):
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        path = os.readlink(f"/proc/{pid}/exe")
        if path.startswith(("/usr/lib/app", "/opt/site", "/usr/local")):
            there = os.path.exists(path) and digest(f"/proc/{pid}/exe") == digest(path)
            found.append([path, there])
    except OSError:
        pass
print(json.dumps(sorted(found)))
"""
COUNT = (
    "import sqlite3; d = sqlite3.connect('%s/live.db', 20); print(d.execute('pragma integrity_check').fetchone()[0], \
d.execute('select count(*) from row').fetchone()[0])"
)


@dataclasses.dataclass(frozen=True)
class Picture:
    """What a machine shows."""

    files: dict[str, evidence.Entry]
    lines: dict[str, frozenset[str]]
    told: frozenset[str]
    verified: frozenset[str]
    audit: str
    units: dict[str, str]
    processes: list[tuple[str, bool]]
    mounts: frozenset[str]


def picture(machine: Machine) -> Picture:
    """Look at all of a running machine."""
    device = machine.device
    lines = {path: frozenset((evidence.read(device, path) or "").splitlines()) for path in LINES}
    units = dict(zip(machine.watched, _states(machine), strict=True))
    for row in machine.say("systemctl list-units --state=failed --plain --no-legend").splitlines():
        units[row.split()[0]] = "failed"
    mounts = machine.say("findmnt -rno TARGET,FSROOT | grep -e ^/etc -e ^/opt -e ^/srv -e ^/usr -e ^/data", check=False)
    found = json.loads(device.run(["python3", "-c", PROCESSES]).stdout)
    # What dpkg says without the caches that the base system lacks.
    verified = frozenset(
        row for row in machine.say("dpkg --verify", check=False).splitlines() if "/var/lib/apt" not in row
    )
    told = frozenset(machine.say(TOLD).splitlines())
    audit = machine.say("dpkg --audit", check=False)
    files = evidence.tree(device, leave_out=VOLATILE)
    return Picture(files, lines, told, verified, audit, units, list(found), frozenset(mounts.splitlines()))


def _states(machine: Machine) -> list[str]:
    rows = machine.say(f"systemctl show -p Id,ActiveState,SubState {' '.join(machine.watched)}").split("\n\n")
    return [" ".join(line.partition("=")[2] for line in sorted(row.splitlines()) if line[:2] != "Id") for row in rows]


@dataclasses.dataclass
class Oracle:
    """Compares a machine with what it was before, with what others did since and with what a release brings."""

    machine: Machine
    before: Picture
    #: The release that the machine runs.
    runs: Offer
    #: What of the machine a power cut ends for good: processes and mounts that no unit starts.
    cut: bool = False
    #: An earlier power cut did so, and a way back may start them again: it activates the release of before.
    was_cut: bool = False
    #: A release was there and went: what its confirmation removed of older ones stays removed.
    rolled_back: bool = False

    @property
    def loses(self) -> bool:
        """Whether what no unit starts may be there or not."""
        return self.cut or self.was_cut

    def problems(
        self, others: t.Mapping[str, evidence.Entry], names: t.Collection[str], new: Offer | None
    ) -> list[str]:
        """What is wrong now.

        :param others: what other programs wrote since, and have to find as they left it
        :param names: accounts and packages of theirs
        :param new: the release that is to be there; None: all is as before
        """
        deadline = time.monotonic() + 8
        while True:
            after = picture(self.machine)
            found = self._units(after, new) + self._processes(after, new)
            if not found or time.monotonic() > deadline:
                break
        found += self._files(after, others, names, new)
        found += self._records(after, names, new)
        found += self._data(after)
        if new:
            found += self._arrived(after, new)
        self.after = after
        return found

    def _units(self, after: Picture, new: Offer | None) -> list[str]:
        names = self.before.units.keys() | after.units.keys()
        rows = [(name, self.before.units.get(name, "not failed"), after.units.get(name, "")) for name in sorted(names)]
        # One that waits for its first connection was not stopped by anyone: after a power cut nobody has called yet.
        lazy = {"app-ask.service", "app-ask.socket"} if self.cut else set()
        return [f"unit {name} was {was}, is {now}" for name, was, now in rows if was != now and name not in lazy]

    def _processes(self, after: Picture, new: Offer | None) -> list[str]:
        def names(found: list[tuple[str, bool]]) -> list[str]:
            paths = (path.split("/releases/") for path, _there in found)
            plain = [p[0] if len(p) == 1 else f"{p[0]}/{p[1].partition('/')[2] if new else p[1]}" for p in paths]
            left_out = ("/ask",) if self.cut else ()
            return sorted(p for p in plain if not (self.loses and "forked" in p) and not p.endswith(left_out))

        found = [f"process of {path}, which is not what the disk has" for path, there in after.processes if not there]
        was, now = names(self.before.processes), names(after.processes)
        if was != now:
            found.append(f"processes were {was}, are {now}")
        return found

    def _files(
        self, after: Picture, others: t.Mapping[str, evidence.Entry], names: t.Collection[str], new: Offer | None
    ) -> list[str]:
        allowed = tuple(f"{DATABASE}info/{name}." for name in names)
        if new:
            allowed += OF_RELEASE + tuple(p for name in new.effects for p in EFFECT[name][1])
            allowed += tuple(p for name in self.runs.effects for p in EFFECT[name][1])
        changed = evidence.differences(self.before.files, after.files)
        found = []
        for path, (was, now) in changed.items():
            own = path in LINES or path.rstrip("-") in LINES or path == COMPILED or path.endswith("/ld.so.cache")
            inside = path[len(DATABASE) :] if path.startswith(DATABASE) else ""
            record = inside in RECORDS or inside.startswith("triggers")
            is_old = path.startswith(f"{SITE}/releases/") and now is None and self.rolled_back
            is_under_mount = self.loses and path.startswith(f"{SITE}/releases/") and "/data" in path
            if own or record or is_old or is_under_mount or path.startswith(allowed) or path in others:
                continue
            found.append(f"file {path} was {_brief(was)}, is {_brief(now)}")
        found += [
            f"file {path} of others is {_brief(after.files.get(path))}, they left {_brief(entry)}"
            for path, entry in others.items()
            if after.files.get(path) != entry
        ]
        if self.machine.traits.compiler:
            wanted = self.machine.say(f"cat {SCHEMAS}/*.xml")
            if self.machine.say(f"cat {COMPILED}") != wanted:
                found.append(f"{COMPILED} is not made of what is there")
        return found

    def _records(self, after: Picture, names: t.Collection[str], new: Offer | None) -> list[str]:
        mine = {*names, *(("appd",) if new else ())}
        found = []
        for path in LINES:
            for line in sorted(self.before.lines[path] ^ after.lines[path]):
                if line.partition(":")[0] not in mine:
                    found.append(f"{path}: {line.partition(':')[0]} {'came' if line in after.lines[path] else 'went'}")
        for line in sorted(self.before.told ^ after.told):
            if (new and ("app" in line or "any-tool" in line)) or any(name in line for name in names):
                continue
            found.append(f"dpkg's database: {line!r} {'came' if line in after.told else 'went'}")
        if not new:
            found += [f"dpkg --verify: {line}" for line in sorted(after.verified ^ self.before.verified)]
        else:
            found += [f"dpkg --verify: {line}" for line in sorted(after.verified - self.before.verified)]
        accounts = {line.partition(":")[0] for line in after.lines["/etc/passwd"]}
        found += [f"account {name} of others went" for name in sorted(set(names) - accounts)]
        packages = [name for name in sorted(names) if name.startswith(PACKAGES)]
        found += [f"package {n} of others went" for n in packages if f"{n} 1 install ok installed" not in after.told]
        if after.audit:
            found.append(f"dpkg --audit: {after.audit}")
        known = {m for m in self.before.mounts if not (self.loses and SITE in m)}
        came = after.mounts - known if not new else set()
        found += [f"mount {m} came" for m in sorted(came) if not (self.loses and SITE in m)]
        found += [f"mount {m} went" for m in sorted(known - after.mounts) if not (new and SITE in m)]
        return found

    def _data(self, after: Picture) -> list[str]:
        found = []
        for path in ("/data/a", "/data/site/measurements", "/data/local/mine"):
            if after.files.get(path) != self.before.files.get(path):
                found.append(f"customers' {path} is {_brief(after.files.get(path))}")
        if self.machine.traits.databases:
            for name, folder in (("keep", KEPT), ("etc", LIVE)):
                told = int(self.machine.say(f"cat /run/committed-{name}", check=False) or 0)
                said = self.machine.device.run(["python3", "-c", COUNT % folder], check=False)
                state, _blank, rows = said.stdout.strip().partition(" ")
                if state != "ok" or int(rows) < told:
                    found.append(f"database {name}: {said.stdout}{said.stderr[-200:]}, {told} rows were committed")
        return found

    def _arrived(self, after: Picture, new: Offer) -> list[str]:
        found = []
        if new.deb:
            name = TOOL + (".distrib" if self.machine.traits.wrapper else "")
            said = self.machine.say(name, check=False)
            if said != f"app {new.package}{new.build}":
                found.append(f"the program says {said!r}, not what release {new.number} brings")
            if f"app {new.package} install ok installed" not in after.told:
                found.append(f"app {new.package} is not installed")
        if new.archive and evidence.read(self.machine.device, f"{SITE}/current/VERSION") != f"{new.number}\n":
            found.append(f"{SITE}/current is not release {new.number}")
        return found


def _brief(entry: evidence.Entry | None) -> str:
    return "missing" if entry is None else f"{entry.kind}{entry.mode} {entry.owner}:{entry.group} {entry.content[:24]}"
