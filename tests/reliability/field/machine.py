# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine as people have them: packages, units and daemons of others around what the releases bring."""

from __future__ import annotations

import dataclasses
import random
import shutil
import tempfile
import typing as t
from pathlib import Path

from tests.lab import Device, debs, host

from .releases import COMPILED, CONF, PROGRAMS, SCHEMAS, TOOL

KEPT, LIVE, SHARE, DATA = "/var/lib/app/live", "/etc/holeish", "/srv/share", "/data"
PROTECTED = "/etc/site"
LIFE = "/usr/local/lib/life"
DEPENDENCIES = ("Requires", "BindsTo", "PartOf", "Wants")
DIVERT = f"#!/bin/sh\nset -e\ndpkg-divert --package wrapper --add --rename --divert {TOOL}.distrib {TOOL}\n"
COMPILE = f"#!/bin/sh\nset -e\ncat {SCHEMAS}/*.xml >{COMPILED}\n"
CHOICE = "#!/bin/sh\nset -e\nupdate-alternatives --install /usr/bin/any-tool any-tool /usr/bin/choice-tool 10\n"

#: Commits rows for ever; what it has committed is told only afterwards.
WRITER = f"""import os, sqlite3
files = {{name: sqlite3.connect(f"{{folder}}/live.db") for name, folder in (("keep", "{KEPT}"), ("etc", "{LIVE}"))}}
for file in files.values():
    file.execute("create table if not exists row (id integer primary key, text)")
number = 0
while True:
    for name, file in files.items():
        file.execute("insert into row (text) values (?)", ("x" * 200,))
        file.commit()
        count = file.execute("select count(*) from row").fetchone()[0]
        with open(f"/run/committed-{{name}}.new", "w") as stream:
            stream.write(str(count))
        os.rename(f"/run/committed-{{name}}.new", f"/run/committed-{{name}}")
    __import__("time").sleep(0.02)
"""
#: Exchanges its folder for a link to what it may neither read nor write, and back, as fast as it can.
SWAPPER = f"""import os
os.chdir("{SHARE}")
while True:
    os.rename("real", "aside"); os.symlink("/etc/holeish", "real")
    os.unlink("real"); os.rename("aside", "real")
    __import__("time").sleep(0.005)
"""
#: What the customer's own start script does at every boot.
BOOT = f"""#!/bin/sh
mountpoint -q {PROTECTED}/local || mount --bind {DATA}/local {PROTECTED}/local
systemd-run --quiet --scope --unit owned setsid {LIFE}/owned infinity >/dev/null 2>&1 </dev/null &
"""


@dataclasses.dataclass(frozen=True)
class Traits:
    """What a machine has, beside the release."""

    dependents: tuple[str, ...] = DEPENDENCIES
    instances: tuple[str, ...] = ("front", "rear")
    socket: bool = True
    timer: bool = True
    mounts: bool = True
    owned: bool = True  #: a daemon that nobody's unit runs
    wrapper: bool = True  #: a package that diverts a program of the release
    compiler: bool = True  #: a package with a trigger
    choice: bool = True  #: a package with an alternative
    override: bool = True  #: a statoverride for a file of the release
    edited: bool = True  #: a conffile that was edited by hand
    databases: bool = True  #: live files, in a kept folder and below /etc
    swapper: bool = True  #: a local user who exchanges folders for links

    latin: bool = False  #: the system's locale is ISO-8859-1; it costs a boot

    @classmethod
    def plain(cls, **traits: t.Any) -> Traits:
        """A machine that has nothing but these traits."""
        off: dict[str, t.Any] = {f.name: False for f in dataclasses.fields(cls) if f.type == "bool"}
        return cls(**{"dependents": (), "instances": (), **off, **traits})

    @classmethod
    def drawn(cls, chance: random.Random) -> Traits:
        """A machine by chance; each trait is more often there than not."""
        flags = {f.name: chance.random() < 0.75 for f in dataclasses.fields(cls) if f.type == "bool"}
        dependents = tuple(word for word in DEPENDENCIES if chance.random() < 0.75)
        flags["latin"] = chance.random() < 0.2 and bool(shutil.which("localedef"))
        return cls(dependents, tuple(name for name in ("front", "rear") if chance.random() < 0.75), **flags)


def unit(program: str, more: str = "", install: str = "multi-user.target") -> str:
    """The text of a service."""
    section = f"[Install]\nWantedBy={install}\n" if install else ""
    return f"[Unit]\nDescription=of the machine\n{more}\n[Service]\nExecStart={program}\n{section}"


class Machine:
    """One lab device with its traits."""

    def __init__(self, device: Device, traits: Traits, folder: Path) -> None:
        """:param folder: for packages that are built for it"""
        self.device, self.traits, self.folder = device, traits, folder

    @property
    def watched(self) -> list[str]:
        """Units whose state has to be as before."""
        has = self.traits
        names = ["app.service", "site.service", *(f"dep-{word.lower()}.service" for word in has.dependents)]
        names += [f"app@{name}.service" for name in has.instances]
        names += ["app-ask.socket", "app-ask.service"] if has.socket else []
        names += ["app-tick.timer"] if has.timer else []
        return names + (["livedb.service"] if has.databases else []) + (["swapper.service"] if has.swapper else [])

    def say(self, command: str, *, check: bool = True) -> str:
        """What a shell on the device prints."""
        return self.device.run(["sh", "-c", command], check=check).stdout.strip()

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        """Write a file on the device as its root would."""
        outside = self.device.root / path.lstrip("/")
        outside.parent.mkdir(parents=True, exist_ok=True)
        outside.write_bytes(text if isinstance(text, bytes) else text.encode())
        outside.chmod(mode)

    def package(
        self, name: str, version: str, files: t.Mapping[str, tuple[int, str | bytes]], scripts: t.Mapping[str, str]
    ) -> str:
        """Build a package of others and put it on the device; returns its path there."""
        path = debs.package(name, version, "python3", files, scripts, self.folder)
        self.write(f"/srv/{path.name}", path.read_bytes())
        return f"/srv/{path.name}"

    def before_the_release(self) -> None:
        """Whatever is there before the fleet takes the machine over."""
        has = self.traits
        self.say(f"mkdir -p {KEPT} {LIVE} {PROTECTED}/local {DATA}/local {DATA}/site; useradd guest; echo a >{DATA}/a")
        self.say(f"echo years >{DATA}/site/measurements; echo mine >{DATA}/local/mine; echo x >{PROTECTED}/settings")
        self.write(f"{LIFE}/owned", PROGRAMS.binary(self.device, "owned 1"), 0o755)
        self.write(f"{LIFE}/dependent", PROGRAMS.binary(self.device, "dependent 1"), 0o755)
        if has.mounts:
            self.write("/etc/site-mounts", "wanted\n")
        packages = []
        if has.compiler:
            scripts = {"postinst": COMPILE, "triggers": f"interest {SCHEMAS}\n"}
            packages.append(self.package("compiler", "1", {f"{SCHEMAS}/base.xml": (0o644, "base\n")}, scripts))
        if has.choice:
            files = {"/usr/bin/choice-tool": (0o755, "#!/bin/sh\necho choice\n")}
            packages.append(self.package("choice", "1", files, {"postinst": CHOICE}))
        if packages:
            self.say(f"dpkg --install {' '.join(packages)}")
        if has.latin:
            self._speak_latin()

    def _speak_latin(self) -> None:
        """Give the device a locale that has not all letters, from its next boot on."""
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "de_DE.iso88591"
            host.run(["localedef", "-c", "-i", "de_DE", "-f", "ISO-8859-1", str(made)])
            shutil.copytree(made, self.device.root / "usr/lib/locale" / made.name)
        self.write("/etc/locale.conf", "LANG=de_DE.ISO-8859-1\nLC_ALL=de_DE.ISO-8859-1\n")
        self.device.reboot()

    def after_the_release(self) -> None:
        """What others did once the first release was there; ends when all of it runs."""
        has, start = self.traits, ["app.service", "site.service"]
        if has.wrapper:
            files = {TOOL: (0o755, f'#!/bin/sh\nexec {TOOL}.distrib "$@"\n')}
            self.say(f"dpkg --install {self.package('wrapper', '1', files, {'preinst': DIVERT})}")
        if has.override:
            self.say("dpkg-statoverride --update --add root guest 0750 /usr/lib/app/forked")
        if has.edited:
            self.say(f"echo 'edited = by hand' >>{CONF}")
        for word in has.dependents:
            text = unit(f"{LIFE}/dependent infinity", f"{word}=app.service\nAfter=app.service")
            self.write(f"/etc/systemd/system/dep-{word.lower()}.service", text)
        if has.databases:
            self.write("/usr/local/lib/livedb.py", WRITER)
            self.write("/etc/systemd/system/livedb.service", unit("/usr/bin/python3 /usr/local/lib/livedb.py"))
        if has.swapper:
            self.say(f"mkdir -p {SHARE}/real; echo own >{SHARE}/real/own; chown -R guest: {SHARE}")
            self.write("/usr/local/lib/swapper.py", SWAPPER)
            text = unit("/usr/bin/python3 /usr/local/lib/swapper.py").replace("[Service]", "[Service]\nUser=guest")
            self.write("/etc/systemd/system/swapper.service", text)
        self.write("/usr/local/sbin/start-of-life", BOOT if has.owned else BOOT.rpartition("systemd-run")[0], 0o755)
        text = unit("/usr/local/sbin/start-of-life").replace(
            "[Service]", "[Service]\nType=oneshot\nRemainAfterExit=yes"
        )
        if has.mounts or has.owned:
            self.write("/etc/systemd/system/boot-of-life.service", text)
            start.append("boot-of-life.service")
        names = [name for name in self.watched if name != "app-ask.service"]
        self.say(f"systemctl daemon-reload; systemctl enable --quiet --now {' '.join(dict.fromkeys(start + names))}")
        if has.socket:
            self.say("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 8600), 3)'")
