# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The device engine on a lab device, called over SSH the way the collection's actions call it."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine.connection import RECEIVE
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine.zipapp import Program, program

from tests.lab import Device
from tests.lab.errors import LabError

from .project import HARDWARE, Project

STATE = "/var/lib/fleet-ota"
Reply = dict[str, Any]


@contextlib.contextmanager
def lock_held(device: Device, path: str) -> Iterator[None]:
    """While it lasts, a python3 on the device holds the fcntl lock of `path`, as package tools do."""
    code = f"import fcntl,sys; f=open('{path}','w'); fcntl.lockf(f, 2); print('held', flush=True); sys.stdin.read()"
    command = device.ssh(f'python3 -c "{code}"')
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        try:
            yield
        finally:
            process.communicate()


class Engine:
    """Speaks docs/reference/engine.md with one device."""

    call_timeout = 120.0  #: seconds that a call may take

    def __init__(self, device: Device, state: str = STATE, engine: Program | None = None) -> None:
        """:param engine: another program than this checkout's"""
        self.device, self.state, self._zipapp = device, state, engine or program()
        #: More options for ssh, for example a shared connection.
        self.ssh_options: list[str] = []
        #: The program, as a shell reads it.
        self._path = shlex.quote(f"{state}/engine/{self._zipapp.digest}.pyz")

    def install(self) -> None:
        """Put the program where it belongs."""
        receive = f"exec python3 -I -S -B -c {shlex.quote(RECEIVE)} {self._path}"
        self._ssh(f"umask 077; mkdir -p {shlex.quote(self.state)}/engine; {receive}", self._zipapp.content)

    def start(self, verb: str, data: bytes = b"", /, **request: Any) -> subprocess.Popen[bytes]:
        """Begin a call without waiting for its answer."""
        program, *rest = self.device.ssh(f"exec python3 -I -S -B {self._path}")
        command = [program, *self.ssh_options, *rest]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        assert process.stdin is not None
        process.stdin.write(
            json.dumps({"v": 1, "verb": verb, "state_dir": self.state, **request}).encode() + b"\n" + data
        )
        process.stdin.close()
        process.stdin = None
        return process

    def call(self, verb: str, data: bytes = b"", /, **request: Any) -> Reply:
        """One request and its reply; the `code` of an error is where a transaction has it too."""
        output, errors = self.start(verb, data, **request).communicate(timeout=self.call_timeout)
        assert output, errors.decode()
        reply: Reply = json.loads(output)
        return {**reply.get("error", {}), **reply}

    def enroll(self, project: Project, **identity: Any) -> None:
        """Install the program, write the identity and pin the project's root."""
        self.install()
        mine = {"name": self.device.name, "hardware": HARDWARE, "site": "north", "labels": {}, **identity}
        reply = self.call("enroll", identity=mine, trust_root=project.trust_root.read_text())
        assert reply.get("changed") is True, reply

    def stage(self, bundle: Bundle) -> None:
        """Push the payloads of a release."""
        for entry in bundle.payloads():
            content = bundle.payload(entry["sha256"]).read_bytes()
            put = {"sha256": entry["sha256"], "length": len(content), "offset": 0, "size": len(content)}
            reply = self.call("stage", content, put=put)
            assert reply.get("missing") == [], reply

    def apply(self, bundle: Bundle, *, wait: float = 60, **options: Any) -> Reply:
        """Stage and apply; options are those of the protocol."""
        self.stage(bundle)
        return self.call("apply", bundle=bundle.wire(), wait=wait, **{"rollout": bundle.digest[:8], **options})

    def start_apply(self, bundle: Bundle, **options: Any) -> subprocess.Popen[bytes]:
        """Stage, and begin to apply without waiting."""
        self.stage(bundle)
        return self.start("apply", bundle=bundle.wire(), wait=60, **{"rollout": bundle.digest[:8], **options})

    def update(self, bundle: Bundle, **options: Any) -> Reply:
        """Stage, apply and confirm; returns the last reply."""
        reply = self.apply(bundle, **options)
        if reply.get("state") != "unconfirmed":
            return reply
        return self.call("confirm", transaction=reply["transaction"])

    def transaction(self) -> Reply:
        """The device's own record, read from outside: also while the cable is out."""
        try:
            path = self.device.root / self.state.lstrip("/") / "transaction.json"
            content: Reply = json.loads(path.read_text())
        except (OSError, LabError):  # none yet, or between two boots
            return {"state": "idle"}
        return content

    def wait_for(self, *states: str, timeout: float = 60) -> Reply:
        """Wait until the device's record shows one of the states; `timeout` in seconds."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = self.transaction()
            if found["state"] in states:
                return found
            time.sleep(0.02)
        raise AssertionError(f"{self.device.name} is {self.transaction()['state']}, not {' or '.join(states)}")

    def wait_for_tidy(self, timeout: float = 60) -> None:
        """Wait until what belongs to the transaction's end is done; its state is on disk before that begins."""
        deadline = time.monotonic() + timeout
        while not self.transaction().get("tidied"):
            assert time.monotonic() < deadline, self.transaction()
            time.sleep(0.02)

    def wait_for_boot(self, number: int, timeout: float = 60) -> None:
        """Wait until the device's boot `number` has begun and its record can be read; `timeout` in seconds."""
        deadline = time.monotonic() + timeout
        while self.device.boots < number or self.device.pid is None:
            assert time.monotonic() < deadline, f"{self.device.name} did not boot"
            time.sleep(0.02)

    def wait_for_count(self, boots: int, timeout: float = 60) -> None:
        """Wait until the device's own record has counted that many boots; `timeout` in seconds."""
        deadline = time.monotonic() + timeout
        while self.transaction().get("boots") != boots:
            assert time.monotonic() < deadline, self.transaction()
            time.sleep(0.02)

    def _ssh(self, command: str, content: bytes) -> None:
        patience = self.call_timeout
        subprocess.run(self.device.ssh(command), input=content, check=True, capture_output=True, timeout=patience)


def when(engine: Engine, *states: str, then: Callable[[], None], timeout: float = 60) -> threading.Thread:
    """Do something in the background as soon as a device's own record shows one of the states.

    :param timeout: seconds until it must
    """

    def watch() -> None:
        engine.wait_for(*states, timeout=timeout)
        then()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread
