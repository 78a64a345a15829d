# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases by chance: packages whose scripts have side effects, archives whose activate starts things, good and bad."""

from __future__ import annotations

import dataclasses
import io
import random
import tarfile
import typing as t

from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle

from tests.integration.project import HARDWARE, Project
from tests.lab import Device, debs

TOOL, CONF = "/usr/bin/app-tool", "/etc/app/app.conf"
SCHEMAS, COMPILED = "/usr/share/schemas", "/usr/share/schemas/compiled"
FOLDER, SITE = "/usr/lib/app", "/opt/site"
#: As long as it is there, what is to go wrong does; a rehearsal has a /run of its own and does not see it.
SURPRISE = "/run/surprise"

EFFECTS = ("account", "alternative", "diversion", "file", "conffile")
ENDS = ("good", "unhealthy", "late", "asked", "preinst", "postinst", "prerm", "hangs", "killed", "power", "rollback")
#: What an effect makes: (what the postinst does, the paths it may change).
EFFECT: t.Mapping[str, tuple[str, tuple[str, ...]]] = {
    "account": ("getent passwd appd >/dev/null || useradd --system appd", ()),
    "alternative": (
        f"update-alternatives --install /usr/bin/any-tool any-tool {TOOL} 50",
        ("/usr/bin/any-tool", "/etc/alternatives/any-tool", "/var/lib/dpkg/alternatives/any-tool"),
    ),
    "diversion": (
        "dpkg-divert --package app --quiet --add --rename --divert /usr/bin/choice-tool.app /usr/bin/choice-tool",
        ("/usr/bin/choice-tool", "/usr/bin/choice-tool.app"),
    ),
    "file": (
        "mkdir -p /var/lib/made /etc/made; echo VERSION >/var/lib/made/by-app; echo VERSION >/etc/made/app",
        ("/var/lib/made", "/etc/made"),
    ),
    "conffile": ("true", ()),
}

UNIT = """\
[Unit]
Description=of the release
[Service]
ExecStart={program} infinity
{more}[Install]
WantedBy=multi-user.target
"""
POSTINST = """\
#!/bin/sh
set -e
{effects}
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl try-restart app.service app-ask.service {instances}
    start-stop-daemon --stop --oknodo --retry 3 --quiet --pidfile /run/app-forked.pid
    start-stop-daemon --start --quiet --background --make-pidfile --pidfile /run/app-forked.pid \
        --exec {folder}/forked -- infinity
fi
{fail}
"""
ACTIVATE = """\
#!/bin/sh
set -e
cp share/site.service /etc/systemd/system/site.service
systemctl daemon-reload
systemctl enable --quiet site.service
test ! -e /etc/site-mounts || mountpoint -q data || mount --bind /data/site data
start-stop-daemon --start --oknodo --quiet --background --make-pidfile --pidfile /run/site-forked.pid \
    --exec $PWD/bin/forked -- infinity
"""
DEACTIVATE = """\
#!/bin/sh
start-stop-daemon --stop --oknodo --retry 3 --quiet --pidfile /run/site-forked.pid
"""


class Programs:
    """Programs that can be told apart by their bytes, and do nothing for ever."""

    def binary(self, device: Device, mark: str) -> bytes:
        """The device's own `sleep` with a mark behind it, which its loader does not read."""
        return (device.root / "usr/bin/sleep").read_bytes() + mark.encode()


PROGRAMS = Programs()


@dataclasses.dataclass(frozen=True)
class Offer:
    """A release and how it is to end."""

    number: int
    end: str = "good"
    deb: bool = True
    archive: bool = True
    effects: tuple[str, ...] = ()
    #: Whether what fails or hangs does so only outside a rehearsal.
    surprise: bool = True
    #: The version of the packages; the number if it is 0.
    version: int = 0
    build: str = ""

    @property
    def package(self) -> str:
        return str(self.version or self.number)

    @classmethod
    def drawn(cls, chance: random.Random, number: int, end: str | None = None) -> Offer:
        """A release by chance."""
        end = end or chance.choice(ENDS)
        scripted = end in ("preinst", "postinst", "prerm", "hangs")
        deb = scripted or chance.random() < 0.75
        archive = not deb or chance.random() < 0.5
        effects = tuple(name for name in EFFECTS if deb and chance.random() < 0.5)
        return cls(number, end, deb, archive, effects, end == "hangs" or chance.random() < 0.6)

    @property
    def reason(self) -> str:
        """What a failing script says, and has to arrive."""
        return f"licence server refused release {self.number}"


class Maker:
    """Builds and publishes releases for a device."""

    def __init__(self, project: Project, device: Device) -> None:
        self.project, self.device = project, device

    def files(self, offer: Offer) -> dict[str, tuple[int, str | bytes]]:
        """What the package `app` of a release has."""
        mark = f"app {offer.package}{offer.build}"
        programs = {f"{FOLDER}/{name}": f"{name} of {mark}" for name in ("appd", "cam", "ask", "forked")}
        units = "/lib/systemd/system"
        listen = "[Unit]\nDescription=x\n[Socket]\nListenStream=127.0.0.1:8600\n[Install]\nWantedBy=sockets.target\n"
        timer = "[Unit]\nDescription=x\n[Timer]\nOnActiveSec=10h\n[Install]\nWantedBy=timers.target\n"
        conf = f"shipped = {offer.number if 'conffile' in offer.effects else 1}\n"
        return {
            **{path: (0o755, PROGRAMS.binary(self.device, text)) for path, text in programs.items()},
            f"{units}/app.service": (0o644, UNIT.format(program=f"{FOLDER}/appd", more="")),
            f"{units}/app@.service": (0o644, UNIT.format(program=f"{FOLDER}/cam", more="")),
            f"{units}/app-ask.service": (0o644, UNIT.format(program=f"{FOLDER}/ask", more="")),
            f"{units}/app-ask.socket": (0o644, listen),
            f"{units}/app-tick.service": (0o644, "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
            f"{units}/app-tick.timer": (0o644, timer),
            TOOL: (0o755, f"#!/bin/sh\necho {mark}\n"),
            f"{SCHEMAS}/app.xml": (0o644, f"{mark}\n"),
            CONF: (0o644, conf),
        }

    def publish(self, offer: Offer) -> Bundle:
        """Build and publish; the device is told later."""
        payloads: list[dict[str, t.Any]] = []
        if offer.deb:
            folder = self.project.folder / "build" / str(offer.number)
            path = debs.package("app", offer.package, "python3", self.files(offer), self._scripts(offer), folder)
            source = str(path.relative_to(self.project.folder))
            payloads.append({"name": "packages", "type": "deb", "source": source, "units": ["app.service"]})
        if offer.archive:
            payloads.append(self._archive(offer))
        checks: list[dict[str, t.Any]] = []
        for unit, is_there in (("app.service", offer.deb), ("site.service", offer.archive)):
            checks += [{"name": unit.partition(".")[0], "type": "unit", "unit": unit}] if is_there else []
        if offer.end == "unhealthy":
            checks.append({"name": "never", "type": "command", "argv": ["/bin/false"]})
        document = {"format": 1, "name": "app", "version": str(offer.number), "counter": offer.number}
        document |= {
            "payloads": payloads,
            "compatible": {"hardware": [HARDWARE]},
            "protect": ["/etc/site", "/srv/share"],
        }
        document["data"] = [{"path": "/var/lib/app/live", "on_restore": "keep"}]
        document["health"] = {"passes": 1, "interval": 0.2, "timeout": 3, "checks": checks}
        return self.project.publish(self.project.write(document))

    def _scripts(self, offer: Offer) -> dict[str, str]:
        sure = f"[ ! -e {SURPRISE} ]" if offer.surprise else "false"
        fail = f"{sure} || {{ echo '{offer.reason}' >&2; exit 7; }}\n"
        last = fail if offer.end == "postinst" else f"{sure} || sleep 600\n" if offer.end == "hangs" else ""
        effects = "\n".join(EFFECT[name][0].replace("VERSION", str(offer.number)) for name in offer.effects)
        wanted = "'app@*.service'"
        scripts = {"conffiles": f"{CONF}\n"}
        scripts["postinst"] = POSTINST.format(effects=effects, instances=wanted, folder=FOLDER, fail=last)
        # An upgrade asks the old version first, and the new one if that fails.
        kind = "prerm" if offer.end == "prerm" else "preinst" if offer.end == "preinst" else ""
        scripts["prerm"] = f'#!/bin/sh\n[ "$1" != upgrade ] || [ ! -e {SURPRISE}-prerm ] || exit 5\n'
        if kind == "preinst":
            scripts["preinst"] = f"#!/bin/sh\n{fail}"
        elif kind == "prerm":
            scripts["prerm"] += f'[ "$1" != failed-upgrade ] || {{ echo "{offer.reason}" >&2; exit 7; }}\n'
        return scripts

    def _archive(self, offer: Offer) -> dict[str, t.Any]:
        path = self.project.folder / f"site-{offer.number}.tar.gz"
        unit = UNIT.format(program=f"{SITE}/current/bin/sited", more="")
        files: dict[str, tuple[int, bytes]] = {
            "VERSION": (0o644, f"{offer.number}\n".encode()),
            "bin/sited": (0o755, PROGRAMS.binary(self.device, f"sited {offer.number}")),
            "bin/forked": (0o755, PROGRAMS.binary(self.device, f"site forked {offer.number}")),
            "bin/activate": (0o755, ACTIVATE.encode()),
            "bin/deactivate": (0o755, DEACTIVATE.encode()),
            "data/.keep": (0o644, b""),
            "share/site.service": (0o644, unit.encode()),
            "share/日本 Größe.txt": (0o644, b"text\n"),
        }
        with tarfile.open(path, "w:gz") as archive:
            for name, (mode, content) in files.items():
                member = tarfile.TarInfo(name)
                member.mode, member.size = mode, len(content)
                archive.addfile(member, io.BytesIO(content))
        more = {"activate": ["bin/activate"], "deactivate": ["bin/deactivate"], "units": ["site.service"]}
        return {"name": "site", "type": "archive", "source": path.name, "destination": SITE, **more}
