# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device that is a directory, driven in this process; and what must hold on it whatever happened before.

The engine's code is what runs, only its detached work waits in a queue until a test lets it run: so a test decides
what is killed when. Programs that are to be killed from outside run from the zipapp as on a real device.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import stat
import time
import typing as t
from pathlib import Path

from ansible_collections.fleet.ota.plugins.module_utils._device import verbs
from ansible_collections.fleet.ota.plugins.module_utils._device.base import states
from ansible_collections.fleet.ota.plugins.module_utils._device.system import background, kept
from ansible_collections.fleet.ota.plugins.module_utils._device.system.files import tree
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction import recover, worker

from .releases import Release

Reply = dict[str, t.Any]
ENDED = states.ENDED
#: Work that was started and has not run: kind, and the rest of its arguments.
Job = tuple[str, list[str]]


class Directory:
    """A directory that plays a device. One at a time drives: its queue takes what the engine starts detached."""

    def __init__(self, root: Path, program: Path) -> None:
        self.root, self.program = root, program
        self.layout = Layout(str(root))
        self.state = Path(self.layout.state)
        self.queue: list[Job] = []

    # -- asking ---------------------------------------------------------------------------------------------------

    def call(self, verb: str, data: bytes = b"", /, **request: t.Any) -> Reply:
        """One request; the reply as the controller gets it, after what it started detached came to rest."""
        reply = self.ask(verb, data, **request)
        return self.settled(reply)

    def ask(self, verb: str, data: bytes = b"", /, **request: t.Any) -> Reply:
        """One request; what it starts stays in the queue."""
        with self._driven():
            found = json.loads(json.dumps({"v": 1, "verb": verb, "root": str(self.root), **request}))
            return t.cast(Reply, json.loads(json.dumps(verbs.answer(found, io.BytesIO(data)))))

    def settled(self, reply: Reply) -> Reply:
        """Let detached work run; the transaction's reply if there was some and ``reply`` was about it."""
        if not self.queue or "error" in reply:
            self.run()
            return reply
        self.run()
        return self.ask("status")

    def run(self) -> None:
        """Let everything in the queue run to its end."""
        while self.queue:
            kind, arguments = self.queue.pop(0)
            with self._driven():
                if kind == "worker":
                    worker.work(self.layout, arguments[2])
                elif arguments[3] != "wait":  # a guard that waits for its deadline is a step of the test
                    recover.run(self.layout, arguments[2], arguments[3])

    def guard(self, mode: str) -> None:
        """What the guard does at boot or at the deadline; nothing without a transaction."""
        found = self.transaction()
        if found:
            self.queue = []
            self.pass_time(mode)
            with self._driven():
                recover.run(self.layout, found["id"], mode)
            self.run()

    def pass_time(self, mode: str) -> None:
        """Make it true what the guard is going to be called for: another boot, or a deadline that is over."""
        found = self.transaction()
        if mode == "boot":
            found["counted"] = "the boot before"
        if found.get("expires"):
            found["expires"] = (
                {"boot": "the boot before", "clock": 0.0} if mode == "boot" else ({**found["expires"], "clock": 0.0})
            )
        # with its copy, which may be what counts: where the disk was full, it stands for the file
        kept.write(self.layout, "transaction.json", found)

    def _driven(self) -> Driven:
        return Driven(self)

    # -- a controller's steps -------------------------------------------------------------------------------------

    def enroll(self, trust_root: str, **identity: str) -> Reply:
        """Pin a trust root and write an identity."""
        return self.call("enroll", identity={"name": "dev1", "hardware": "edge-1", **identity}, trust_root=trust_root)

    def stage(self, release: Release, missing: t.Sequence[Reply] = ()) -> None:
        """Push what the release consists of, from where the device says that it goes on (default: all of it).

        As the controller's `push`: bytes that a power cut spoiled are sent anew.
        """
        places = {entry["sha256"]: entry["offset"] for entry in missing} or dict.fromkeys(release.files, 0)
        for digest, offset in places.items():
            reply = self._push(digest, release.files[digest], offset)
            if offset and reply.get("error", {}).get("code") == "HASH_MISMATCH":
                self._push(digest, release.files[digest], 0)

    def _push(self, digest: str, content: bytes, offset: int) -> Reply:
        piece = {"sha256": digest, "length": len(content), "offset": offset, "size": len(content) - offset}
        return self.call("stage", content[offset:], put=piece)

    def begin(self, release: Release, **options: t.Any) -> Reply:
        """Apply, and stage what is missing, as a controller does; the work is queued and has not run."""
        request: Reply = {"rollout": release.version, "generation": 1, "guard": "process", "deadline": 600, **options}
        reply = self.ask("apply", bundle=release.bundle, **request)
        if reply.get("missing"):
            self.stage(release, reply["missing"])
            reply = self.ask("apply", bundle=release.bundle, **request)
        return reply

    def apply(self, release: Release, **options: t.Any) -> Reply:
        """Stage, apply, and let it run until it waits for a confirm or came to an end."""
        return self.settled(self.begin(release, **options))

    def update(self, release: Release, **options: t.Any) -> Reply:
        """As a rollout does it: apply until it is at rest, then confirm."""
        reply = self.apply(release, **options)
        if reply.get("state") == "unconfirmed":
            reply = self.call("confirm", transaction=reply["transaction"])
        return reply

    # -- looking --------------------------------------------------------------------------------------------------

    def transaction(self) -> Reply:
        """``transaction.json``, or the copy that stands for it; empty if there is none."""
        return kept.read(self.layout, "transaction.json") or {}

    def history(self) -> list[Reply]:
        """Every record of ``history.jsonl``; raises if a line is not one."""
        path = self.state / "history.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def tree(self) -> dict[str, t.Any]:
        """Everything outside the state directory: type, mode, owner, content or target of each path."""
        return look(self.root, self.state)

    def copy(self, root: Path) -> Directory:
        """A second one as this one is now, at ``root``, which is removed before."""
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.root, root, symlinks=True)
        return Directory(root, self.program)

    def end(self) -> None:
        """End every real guard that still waits for this device, also one whose number a fault kept off the record.

        Otherwise it would meet the next device at the same place, and settle that.
        """
        for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
            if str(self.root) in background._arguments(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                while str(self.root) in background._arguments(pid):
                    time.sleep(0.001)


class Driven:
    """While it lasts, what the engine starts detached goes into the queue of one device."""

    current: t.ClassVar[list[Directory]] = []

    def __init__(self, device: Directory) -> None:
        self.device = device

    def __enter__(self) -> None:
        Driven.current.append(self.device)

    def __exit__(self, *_: object) -> None:
        Driven.current.pop()

    @classmethod
    def start(cls, layout: Layout, name: str, arguments: t.Sequence[str], log: str, engine: str | None = None) -> None:
        """In the place of :func:`detach.start`."""
        cls.current[-1].queue.append((arguments[0], list(arguments[1:])))


def look(root: Path, *skip: Path) -> dict[str, t.Any]:
    """Type, mode, owner, and content or target of every path below ``root`` but ``skip`` with all below."""
    found: dict[str, t.Any] = {}
    todo = [root]
    while todo:
        folder = todo.pop()
        for path in sorted(folder.iterdir()):
            if path in skip:
                continue
            info = path.lstat()
            content: t.Any = None
            if stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(info.st_mode):
                content = path.read_bytes()
            else:
                todo.append(path)
            found[str(path.relative_to(root))] = (info.st_mode, info.st_uid, info.st_gid, content)
    return found


def differences(one: dict[str, t.Any], other: dict[str, t.Any]) -> list[str]:
    """The paths at which two looks differ."""
    return sorted(path for path in {*one, *other} if one.get(path) != other.get(path))


def leftovers(device: Directory) -> list[str]:
    """What lies in the state directory although nothing needs it any more; called with nothing open."""
    with Driven(device):
        reply = verbs.answer({"v": 1, "verb": "info", "root": str(device.root)}, io.BytesIO())
    installed = t.cast("dict[str, t.Any]", reply["releases"])
    last = device.transaction()
    current = [value["current"] for value in installed.values() if value["current"]]
    needed = {entry["transaction"] for entry in current}
    if last.get("state") == "broken":
        needed.add(last["id"])
    digests = {
        entry["digest"] for value in installed.values() for entry in (value["current"], value["previous"]) if entry
    }
    found = ["snapshots/" + name for name in _names(device.state / "snapshots") if name not in needed]
    found += ["transactions/" + name for name in _names(device.state / "transactions") if name != last.get("id")]
    found += ["releases/" + name for name in _names(device.state / "releases") if name[:-5] not in digests]
    if last.get("state") == "confirmed":
        found += ["inbox/" + name for name in _names(device.state / "inbox")]
    return found


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


__all__ = ["ENDED", "Directory", "Driven", "Reply", "differences", "leftovers", "look", "tree"]
