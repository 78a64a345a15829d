# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ran before an update runs after it, from the right files, whichever way the update ended.

Each test keeps as many kinds of unit and process as possible on one device: instances, sockets, dependents in both
directions, units of users, daemons that no unit keeps.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Device, debs

from .engine import Engine
from .project import Project

NEVER = [{"name": "never", "type": "command", "argv": ["/bin/false"]}]
#: Says its version under /run, and runs on.
PROGRAM = '#!/bin/sh\n# version {0}\necho {0} >"${{XDG_RUNTIME_DIR:-/run}}/node-$1"\nwhile :; do sleep 0.5; done\n'
#: Answers on the socket that systemd passes.
ANSWER = """#!/usr/bin/python3
import socket
listener = socket.socket(fileno=3)
while True:
    connection, _ = listener.accept()
    connection.sendall(b"{0}")
    connection.close()
"""
ASK = "python3 -c 'import socket; print(socket.create_connection((\"127.0.0.1\", 8600), 3).recv(9).decode())'"
POSTINST = """#!/bin/sh
set -e
test -d /run/systemd/system || exit 0
systemctl daemon-reload
systemctl stop ask.socket ask.service
systemctl start ask.socket
systemctl restart node@front node@rear slow
runuser -u edge -- env XDG_RUNTIME_DIR=/run/user/$(id -u edge) systemctl --user daemon-reload
runuser -u edge -- env XDG_RUNTIME_DIR=/run/user/$(id -u edge) systemctl --user restart mine
start-stop-daemon --stop --oknodo --retry 9 --pidfile /run/loose.pid
start-stop-daemon --start --background --make-pidfile --pidfile /run/loose.pid --exec /usr/lib/node/run -- loose
start-stop-daemon --stop --oknodo --retry 9 --pidfile /run/plain.pid
start-stop-daemon --start --background --make-pidfile --pidfile /run/plain.pid --exec /bin/sleep -- 10000{0}
"""
#: Takes its time to stop, as a database that flushes.
SLOW = "#!/bin/sh\n# {0}\ntrap 'sleep 4; echo flushed by {0} >>/srv/slow; exit 0' TERM\nwhile :; do sleep 0.1; done\n"
INSTANCES = ("node@front.service", "node@rear.service")
#: Units that the operator of the device made: they end when one of the release ends.
DEPENDENTS = {
    "dash.service": "Requires=node@front.service\nAfter=node@front.service",
    "feed.service": "BindsTo=node@front.service\nAfter=node@front.service",
    "beside.service": "PartOf=dash.service\nAfter=dash.service",
    "uses.service": "Requires=ask.socket\nAfter=ask.socket",
}


def unit(start: str, more: str = "", section: str = "") -> tuple[int, str]:
    return 0o644, f"[Unit]\nDescription=x\n{section}\n[Service]\nExecStart={start}\n{more}\n"


class Site:
    """A device, and releases for it."""

    def __init__(self, project: Project, device: Device, folder: Path) -> None:
        self.project, self.device, self.folder = project, device, folder
        self.engine = Engine(device)
        self.engine.enroll(project)

    def say(self, command: str) -> str:
        return self.device.run(["sh", "-c", command], check=False).stdout.strip()

    def write(self, path: str, text: str) -> None:
        self.device.run(["sh", "-c", 'mkdir -p "${1%/*}"; printf %s "$2" >"$1"', "sh", path, text])

    def publish(self, name: str, version: int, *payloads: dict[str, Any], **health: Any) -> Any:
        document = {"format": 1, "name": name, "version": str(version), "counter": version, "payloads": payloads}
        document["health"] = {"passes": 1, "interval": 0.2, "timeout": 3, "checks": [], **health}
        return self.project.publish(self.project.write(document))

    def package(self, version: int) -> dict[str, Any]:
        """`node`: a template, a socket, a unit of users, one that stops slowly, and a daemon without a unit."""
        files = {
            "/usr/lib/node/run": (0o755, PROGRAM.format(version)),
            "/usr/lib/node/answer": (0o755, ANSWER.format(version)),
            "/usr/lib/node/slow": (0o755, SLOW.format(version)),
            "/lib/systemd/system/node@.service": unit("/usr/lib/node/run %i", "Restart=always"),
            "/lib/systemd/system/ask.service": unit("/usr/lib/node/answer"),
            "/lib/systemd/system/ask.socket": (0o644, "[Socket]\nListenStream=127.0.0.1:8600\n"),
            "/lib/systemd/system/slow.service": unit("/usr/lib/node/slow", "TimeoutStopSec=30"),
            "/usr/lib/systemd/user/mine.service": unit("/usr/lib/node/run mine"),
        }
        return self.deb("node", version, files, {"postinst": POSTINST.format(version)})

    def deb(
        self, name: str, version: int, files: dict[str, tuple[int, str]], scripts: dict[str, str]
    ) -> dict[str, Any]:
        built = debs.package(name, str(version), "python3", files, scripts, self.folder)
        build = self.project.folder / "build" / built.name
        build.parent.mkdir(exist_ok=True)
        build.write_bytes(built.read_bytes())
        return {"name": name, "type": "deb", "source": f"build/{built.name}"}

    def archive(self, version: int, files: dict[str, str], **more: Any) -> dict[str, Any]:
        path = self.project.folder / f"app-{version}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.mode, member.size = 0o755, len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        return {"name": "app", "type": "archive", "source": path.name, "destination": "/opt/app", **more}


@pytest.fixture
def site(project: Project, lab_device: Device, tmp_path: Path) -> Site:
    return Site(project, lab_device, tmp_path)


def test_what_ran_before_runs_after_a_way_back(site: Site) -> None:
    site.say("loginctl enable-linger edge; while ! test -S /run/user/$(id -u edge)/systemd/private; do sleep 0.1; done")
    reply = site.engine.update(site.publish("node", 1, site.package(1)))
    assert reply["outcome"] == "updated", reply
    for name, section in DEPENDENTS.items():
        site.write(f"/etc/systemd/system/{name}", unit("/bin/sleep infinity", section=section)[1])
    site.write("/etc/systemd/system/tick.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
    site.write("/etc/systemd/system/tick.timer", "[Unit]\nRequires=node@rear.service\n[Timer]\nOnActiveSec=1d\n")
    site.say(f"systemctl daemon-reload; systemctl start tick.timer {' '.join(DEPENDENTS)}; {ASK}")

    units = [*DEPENDENTS, *INSTANCES, "ask.socket", "ask.service", "slow.service", "tick.timer"]
    user = "runuser -u edge -- env XDG_RUNTIME_DIR=/run/user/$(id -u edge) systemctl --user"
    look = f"systemctl is-active {' '.join(units)}; {user} is-active mine; {ASK}"
    look += "; cat /run/node-front /run/node-rear /run/node-loose /run/user/$(id -u edge)/node-mine"
    look += (
        "; ps -p $(cat /run/loose.pid) -p $(cat /run/plain.pid) -o args= | sort; systemctl --failed --plain --no-legend"
    )
    before = site.say(look)
    daemons = ["/bin/sh", "/usr/lib/node/run", "loose", "/bin/sleep", "100001"]
    assert before.split() == ["active"] * (len(units) + 1) + ["1"] * 5 + daemons, before

    reply = site.engine.apply(site.publish("node", 2, site.package(2), checks=NEVER), wait=90)
    site.engine.wait_for_tidy()
    done = site.engine.transaction()
    assert (done["state"], done["code"]) == ("restored", "HEALTH"), (reply, done)
    assert done["message"] == "never: /bin/false ended with 1, not 0: ", done
    assert site.say(look).splitlines() == before.splitlines()
    # a stop was waited for, in both directions: nothing was put back under a service that still wrote
    assert site.say("cat /srv/slow") == "flushed by 1\nflushed by 2"
    assert site.say("pgrep -cf '/usr/lib/node/run [l]oose'; pgrep -cf '/bin/[s]leep 10000'") == "1\n1"
    assert site.say("ps -p $(cat /run/plain.pid) -o unit=").startswith("fleet-ota-started-"), "it ends with the engine"


def test_what_a_release_starts_outlives_the_engine_and_is_its_own(site: Site) -> None:
    start = "#!/bin/sh\nstart-stop-daemon --start --background --make-pidfile --pidfile /run/app.pid --exec /bin/sleep"
    stop = "#!/bin/sh\nstart-stop-daemon --stop --pidfile /run/app.pid --oknodo --retry 3\n"
    units = {
        "ask.service": unit("/opt/app/current/bin/answer")[1],
        "ask.socket": "[Socket]\nListenStream=127.0.0.1:8600\n",
        "node.service": unit("/opt/app/current/bin/node", "TimeoutStopSec=20")[1],
        "asks.service": unit("/bin/sleep infinity", section="Requires=ask.socket\nAfter=ask.socket")[1],
    }
    for name, text in units.items():
        site.write(f"/etc/systemd/system/{name}", text)
    site.say("systemctl daemon-reload")

    counts = "/bin/sh -c 'echo started >>/run/late'"

    def release(version: int, node: str, named: list[str], **health: Any) -> Any:
        files = {"bin/start": f"{start} -- 100000{version}\n", "bin/stop": stop, "bin/node": node}
        more = {"activate": ["bin/start"], "deactivate": ["bin/stop"], "units": named}
        files["bin/answer"] = ANSWER.format(version)
        # The archive names a unit that comes with the package behind it, which names it too.
        late = {"/lib/systemd/system/late.service": unit(f"/bin/sleep 200000{version}", f"ExecStartPre={counts}")}
        package = {**site.deb("late", version, late, {}), "units": ["late.service"]}
        return site.publish("app", version, site.archive(version, files, **more), package, **health)

    # an http server that drains for a while when it is stopped, and answers until then
    drains = "#!/bin/sh\ntrap 'sleep 3; exit 0' TERM\npython3 -m http.server 8601 &\nwhile :; do sleep 0.1; done\n"
    named = ["late.service", "ask.service", "ask.socket", "node.service"]
    answers = [{"name": "answers", "type": "http", "url": "http://127.0.0.1:8601/", "wait": 2}]

    reply = site.engine.apply(release(1, drains, [*named, "no-such.service"]))
    assert (reply["outcome"], reply["code"]) == ("refused", "REQUIREMENT"), reply
    assert "no-such.service" in reply["message"]
    assert site.say("ls /opt; systemctl is-active node ask.socket | sort -u") == "inactive"

    for version in (2, 3):  # the second over the first: the socket listens anew, its service is the new one
        reply = site.engine.update(release(version, drains, named, checks=answers, timeout=10))
        assert reply["outcome"] == "updated", reply
        if version == 2:
            site.say("systemctl start asks.service")
        assert site.say(f"{ASK}; ps -p $(cat /run/app.pid) -o args=") == f"{version}\n/bin/sleep 100000{version}"
        assert site.say(f"pgrep -c -fx '/bin/sleep 200000{version}'; cat /run/late; rm /run/late") == "1\nstarted"
    assert site.say("systemctl is-active ask.socket ask.service node asks.service | sort -u") == "active"

    # the new program cannot run: the one that drains does not prove it, and the reason arrives
    broken = "#!/bin/sh\necho no licence here >&2\nexit 3\n"
    site.engine.apply(release(4, broken, named, checks=answers, timeout=6), wait=90)
    site.engine.wait_for_tidy()
    done = site.engine.transaction()
    assert (done["state"], done["code"]) == ("restored", "HEALTH"), done
    assert done["health"]["answers"]["ok"]
    assert "unit node.service: it is" in done["message"], done
    assert site.say(f"{ASK}; ps -p $(cat /run/app.pid) -o args=") == "3\n/bin/sleep 1000003"
    assert site.say("systemctl is-active ask.socket ask.service node asks.service | sort -u") == "active"

    reply = site.engine.call("rollback", wait=60)
    assert reply["state"] == "unconfirmed", reply
    assert site.engine.call("confirm", transaction=reply["transaction"])["outcome"] == "updated"
    assert site.say(f"{ASK}; ps -p $(cat /run/app.pid) -o args=") == "2\n/bin/sleep 1000002"
    assert site.say("systemctl is-active ask.socket ask.service node asks.service | sort -u") == "active"
