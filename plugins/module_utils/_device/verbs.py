# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The engine's verbs (docs/reference/engine.md): each takes a request and gives a reply."""

from __future__ import annotations

import contextlib
import os
import platform
import time
import typing as t

from . import (
    admission,
    apply,
    binding,
    checks,
    command,
    conclude,
    connection,
    crypto,
    documents,
    durable,
    enrolment,
    fetch,
    guard,
    health,
    identity,
    installers,
    interlocks,
    lease,
    lock,
    memory,
    notnow,
    reboot,
    rollback,
    schema,
    sealed,
    snapshots,
    transaction,
    tree,
    trust,
    watch,
    witness,
    worker,
)
from .errors import OtaError
from .layout import Layout

Request = t.Mapping[str, t.Any]
Reply = t.Dict[str, t.Any]
VERSION = 1


def info(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """The device's own truth."""
    found = transaction.Transaction.load(layout)
    known = memory.Memory(layout).value
    disk = os.statvfs(layout.state if os.path.isdir(layout.state) else layout.root)
    nothing = tree.Selection((), (), ())
    kinds = [kind for kind in snapshots.kinds() if snapshots.by_kind(kind).probe(layout, nothing) is None]
    return {
        "identity": durable.read_json(layout.file("identity.json")),
        "enrolled": os.path.exists(layout.file("trust", "root.json")),
        "instance": binding.instance(layout),
        "releases": known["releases"],
        "rejected": known["rejected"],
        "sealed": _sealed(layout),
        "transaction": found.reply() if found else None,
        "witness": witness.shown(layout),
        "capabilities": {
            "payload_types": installers.types_known(),
            "checks": checks.kinds(),
            "interlocks": interlocks.kinds(),
            "snapshots": kinds,
            "guard": _guard(layout),
            "python": platform.python_version(),
            "architecture": platform.machine(),
            "free_bytes": disk.f_bavail * disk.f_frsize,
            "key_types": sorted(crypto.SCHEMES),
            "openssl": command.which("openssl") is not None,
        },
    }


def _guard(layout: Layout) -> str | None:
    """The guard that ``auto`` takes here."""
    try:
        return guard.choose(layout, "auto")
    except OtaError:
        return None


def _sealed(layout: Layout) -> Reply | None:
    found = sealed.load(layout)
    return found.shown() if found else None


def enroll(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Write the identity and pin the trust root; a root that is pinned already stays and must be the same one."""
    wanted = identity.check(request["identity"])
    offered = trust.pinned(request["trust_root"])
    before = durable.read_json(layout.file("identity.json"))
    path, pinned = layout.file("trust", "root.json"), None
    if os.path.exists(path):
        with open(path, encoding="utf-8") as handle:
            pinned = trust.pinned(handle.read())
        if pinned["version"] == offered["version"] and trust.canonical(pinned) != trust.canonical(offered):
            message = "this device trusts another root of version %d; remove %s there to enroll it anew"
            raise OtaError("TRUST_ROOT", message % (pinned["version"], os.path.dirname(path)))
    more = enrolment.changes(layout, request)
    changed = before != wanted or pinned is None or any(one.changed for one in more)
    if changed and not request.get("check"):
        layout.prepare()
        with lock.hold(layout, wait=30):
            durable.write_json(layout.file("identity.json"), wanted)
            if pinned is None:
                durable.write(path, request["trust_root"].encode())
                durable.write_json(layout.file("trust", "floor.json"), {"time": int(time.time())})
            for one in more:
                one.apply()
    reply = {"changed": changed, "before": before, "after": wanted, "root_version": (pinned or offered)["version"]}
    return enrolment.described(reply, more)


def stage(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Say what is missing, take a pushed piece, or pull."""
    layout.prepare()
    files = list(request.get("files") or [])
    changed = False
    if "put" in request:
        fetch.put(layout, request["put"], stream)
        files, changed = files or [request["put"]], True
    if request.get("pull") and not request.get("check"):
        for entry in fetch.missing(layout, files):
            fetch.pull(layout, entry, request["pull"].get(entry["sha256"], []))
            changed = True
    return {"changed": changed, "missing": fetch.missing(layout, files)}


def verify(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Everything that would be checked before installing, without changing anything."""
    offer = apply.examine(layout, request["bundle"], retry_rejected=bool(request.get("retry_rejected")), keep=False)
    accepted = offer.accepted
    verdict: Reply = {"channel": accepted.channel, "target": accepted.target, "threshold": accepted.threshold}
    verdict.update(root_version=accepted.root_version, approvals=offer.approvals)
    return {"release": offer.release, "verdict": verdict}


def _locked(function: t.Callable[[Layout, Request], Reply]) -> t.Callable[[Layout, Request, t.IO[bytes]], Reply]:
    def verb(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
        if not os.path.isdir(layout.state):
            raise OtaError("NO_IDENTITY", "this device was not enrolled: there is no %s" % layout.state)
        layout.prepare()
        running = transaction.Transaction.load(layout)
        try:
            # A look at the status holds the lock for a moment; only real work is worth telling about.
            with lock.hold(layout, wait=0 if running and running.is_at_work else 5):
                reply = function(layout, request)
        except OtaError as error:
            # At work for the same rollout: not somebody else, but what this very command started before.
            if error.code != "BUSY" or not running or not running.is_at_work or not _ours(running, request):
                raise
            lease.insist(running, request)
            reply = running.reply()
        return _wait(layout, reply, request)

    return verb


def _ours(running: transaction.Transaction, request: Request) -> bool:
    return bool(running.data.get("rollout") == request.get("rollout"))


def _wait(layout: Layout, reply: Reply, request: Request) -> Reply:
    """Stay for up to ``wait`` seconds while the transaction is at work: a short change costs one round trip."""
    end = time.monotonic() + float(request.get("wait") or 0)
    pause = 0.02
    while _is_going_on(reply) and time.monotonic() < end:
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
        found = transaction.Transaction.load(layout)
        if found is None or found.id != reply["transaction"]:
            break
        reply = _reply(found)
    return reply


def _is_going_on(reply: Reply) -> bool:
    """At work, and not about to go down: nobody holds a connection to a device that reboots."""
    return bool(reply.get("transaction") and reply["state"] in transaction.AT_WORK and not reply.get("rebooting"))


def _reply(found: transaction.Transaction) -> Reply:
    """The transaction reply; what was asked to go back is on its way, also before the guard has taken it over."""
    reply = dict(found.reply(), rebooting=reboot.under_way(found))
    if found.state == "unconfirmed" and os.path.exists(found.folder("asked.json")):
        reply["state"] = "restoring"
    return reply


def status(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """How the transaction stands; what a lost engine left undone is done, or sent back, right away."""
    found = transaction.Transaction.load(layout)
    if found is None:
        return dict(apply.IDLE)
    unfinished = found.is_at_work or (not found.is_open and not found.data.get("tidied"))
    if unfinished and lock.is_free(layout):
        with lock.hold(layout, wait=5):
            found = conclude.settle(layout)
        if found is not None and found.state in transaction.TOUCHED:
            _take_over(found)
    return _wait(layout, _reply(found) if found else {}, request)


def _take_over(found: transaction.Transaction) -> None:
    """Nobody is at work on what ought to be: the guard of this boot has not begun, or somebody was killed."""
    if reboot.under_way(found):
        with contextlib.suppress(OtaError):  # a system that is going down starts nothing any more
            _back(found, "now")
    else:
        _back(found, "boot" if reboot.is_into_new(found) and reboot.happened(found) else "now")


def _meant(found: transaction.Transaction, request: Request) -> bool:
    """Whether a request is about this transaction: by its id, by its rollout, or by naming neither."""
    identifier, rollout = request.get("transaction"), request.get("rollout")
    return (not identifier or found.id == identifier) and (not rollout or found.data.get("rollout") == rollout)


def confirm(layout: Layout, request: Request) -> Reply:
    """Keep what is installed. Only a transaction that waits for it can be confirmed; once confirmed it stays so."""
    found = conclude.settle(layout)
    if found is None or not _meant(found, request):
        return dict(apply.IDLE)
    lease.insist(found, request)
    if found.state == "unconfirmed" and not request.get("check"):
        _new_connection(layout, found)
        conclude.confirm(found)
    return found.reply()


def _new_connection(layout: Layout, found: transaction.Transaction) -> None:
    """OtaError ``SAME_CONNECTION`` for an SSH connection that was made before the new release was in place."""
    made, since = connection.started() if layout.is_real else None, found.data.get("in_place")
    if made is None or not since or since["boot"] != transaction.boot_id():
        return
    if made + 0.05 < since["clock"]:  # the kernel counts it in ticks
        message = "this connection is older than the release; confirm over a new one, which proves that one can be made"
        raise OtaError("SAME_CONNECTION", message)


def extend(layout: Layout, request: Request) -> Reply:
    """Move the deadline of what waits for a confirm: ``deadline`` seconds from now, never earlier than it is."""
    found = conclude.settle(layout)
    if found is None or not _meant(found, request):
        return dict(apply.IDLE)
    lease.insist(found, request)
    if found.state == "unconfirmed" and not request.get("check"):
        guard.extend(found, apply.options(request)["deadline"])
    return found.reply()


def restore_verb(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Go back from the open transaction, at work or waiting; nothing open is nothing to do."""
    found = transaction.Transaction.load(layout)
    if found is None or not _meant(found, request):
        return dict(apply.IDLE)
    lease.insist(found, request)
    again = found.state == "broken"
    if request.get("check") or not (found.is_open or again):
        return found.reply()
    if again:
        with lock.hold(layout, wait=5):
            found.advance("restoring", outcome=None, tidied=False)
    if found.state != "restoring":
        asked = {
            "code": request.get("code") or "REQUESTED",
            "message": request.get("message") or "somebody asked for it",
        }
        durable.write_json(found.folder("asked.json"), asked)
    if found.state != "restoring" or lock.is_free(layout):
        try:
            _back(found, "now")
        except OtaError:
            if not reboot.under_way(found):  # what was asked for is on disk: the guard sees it after the boot
                raise
    return _wait(layout, dict(found.reply(), state="restoring"), request)


def _back(found: transaction.Transaction, mode: str) -> None:
    guard.start(found, "fleet-ota-back-%s-%d" % (found.id, time.time_ns() // 1000000), mode)


def look(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Health by given checks, or by those of everything confirmed here."""
    words = identity.Identity(layout).words if os.path.exists(layout.file("identity.json")) else {}
    sections = [request] if request.get("checks") is not None else _sections(layout)
    problems = schema.Problems()
    keys = ("checks", "passes", "interval", "timeout", "settle")
    result: Reply = {"healthy": True, "checks": {}}
    for section in sections:
        wanted = {key: section[key] for key in keys if section.get(key) is not None}
        checks.validate("health", wanted, problems)
        if problems.found:
            raise OtaError("RELEASE", "; ".join(problems.found))
        verdict = health.Health(layout, wanted, words).wait(request.get("baseline"))
        result["healthy"] = result["healthy"] and verdict.healthy
        result["checks"].update(verdict.checks)
    found = transaction.Transaction.load(layout)
    result["transaction"] = found.reply() if found else None
    result["releases"] = memory.Memory(layout).value["releases"]
    result["witness"] = witness.shown(layout)
    return result


def _sections(layout: Layout) -> list[dict[str, t.Any]]:
    found = []
    for entry in memory.Memory(layout).value["releases"].values():
        document = documents.confirmed(layout, entry["current"])
        if document and document.get("health"):
            found.append(document["health"])
    return found


def snapshot(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Snapshots that people make: create, restore, prove, remove, list; they have names of their own."""
    layout.prepare()
    action, name = request["action"], str(request.get("name") or "")
    listed = [entry for entry in snapshots.listing(layout) if not transaction.IDENTIFIER.match(entry["id"])]
    if action == "list":
        return {"changed": False, "snapshots": listed}
    if not schema.NAME.match(name) or transaction.IDENTIFIER.match(name):
        raise OtaError("RELEASE", "%r cannot name a snapshot; use letters, digits, '.', '_' and '-'" % name)
    there = any(entry["id"] == name for entry in listed)
    if request.get("check") or (action == "create" and there) or (action == "remove" and not there):
        changed = {"create": not there, "remove": there, "prove": False}.get(action)
        if changed is None:
            changed = bool(snapshots.load(layout, name).remaining())
        return {"changed": changed, "snapshots": listed}
    with lock.hold(layout, wait=30):
        if action == "create":
            paths = [str(path) for path in request.get("paths") or []]
            wrong = [path for path in paths if schema.absolute(path) or not os.path.lexists(layout.real(path))]
            if wrong or not paths:
                raise OtaError("RELEASE", "nothing to snapshot at %s; name existing absolute paths" % (wrong or paths))
            selection = tree.select(layout, (), paths, worker.exclude(layout))
            made = snapshots.choose(layout, selection, request.get("kind") or "auto")(layout, name, selection)
            disk = os.statvfs(layout.state)
            needed = made.estimate()
            if disk.f_bavail * disk.f_frsize < needed:
                raise OtaError("NO_SPACE", "a snapshot needs %d bytes in %s; make room" % (needed, layout.state))
            made.create()
            made.prove()
            return {"changed": True, "kind": made.kind, "snapshots": snapshots.listing(layout)}
        made = snapshots.load(layout, name)
        if action == "remove":
            made.remove()
            return {"changed": True}
        made.prove()
        if action == "prove":
            return {"changed": False}
        paths = made.restore()
        remaining = made.remaining()
        if remaining:
            raise OtaError(
                "RESTORE", "%d paths are not as in the snapshot: %s" % (len(remaining), ", ".join(remaining[:5]))
            )
        return {"changed": bool(paths), "paths": paths}


def install(layout: Layout, request: Request) -> Reply:
    """Verify and install under one lock, without a transaction: no snapshot, no guard, no health."""
    running = conclude.settle(layout)
    if running is not None and running.is_open:
        raise apply.busy(running)
    offer = apply.examine(layout, request["bundle"], retry_rejected=bool(request.get("retry_rejected")))
    files = apply.release.payload_files(offer.document)
    found = installers.create(layout, offer.document, lambda text: None)
    before = {one.payload["name"]: one.observe() for one in found}
    after = {one.payload["name"]: one.wanted() for one in found}
    changed = before != after
    if changed:
        notnow.ask(layout, None)
    for one in found if changed else []:
        one.ready(repair=bool(request.get("repair")))
    missing = fetch.missing(layout, files) if changed else []
    pull = request.get("pull") or {}
    reply: Reply = {"changed": changed, "diff": {"before": before, "after": after}, "release": offer.release}
    if not changed or request.get("check") or any(entry["sha256"] not in pull for entry in missing):
        return dict(reply, missing=missing)
    for entry in missing:
        fetch.pull(layout, entry, pull[entry["sha256"]])
    folder = layout.file("transactions", "install")
    paths = fetch.take(layout, folder, files)
    for one in found:
        one.files = paths
        if request.get("repair"):
            one.repair()
        one.check()
    for one in found:
        one.install()
    transaction.remove_folder(layout, "install")
    return dict(reply, missing=[])


VERBS: dict[str, t.Callable[[Layout, Request, t.IO[bytes]], Reply]] = {
    "info": info,
    "enroll": enroll,
    "stage": stage,
    "verify": verify,
    "apply": _locked(apply.apply),
    "status": status,
    "confirm": _locked(confirm),
    "extend": _locked(extend),
    "restore": restore_verb,
    "rollback": _locked(rollback.rollback),
    "health": look,
    "snapshot": snapshot,
    "install": _locked(install),
}


def answer(request: t.Any, stream: t.IO[bytes], fixed: Layout | None = None) -> Reply:
    """The reply to one request; every OtaError becomes ``{"error": ...}``.

    ``fixed`` is given by the program of a sealed device: where its state is, whatever a request says.
    """
    try:
        if fixed is not None:
            request = admission.admit(fixed, sealed.required(fixed), request, VERSION)
        if not isinstance(request, dict) or request.get("v") != VERSION or request.get("verb") not in VERBS:
            raise OtaError("ENGINE", "this engine does not know the request (version %d)" % VERSION)
        layout = fixed or Layout(request.get("root") or "/", request.get("state_dir") or "/var/lib/fleet-ota")
        return VERBS[request["verb"]](layout, request, stream)
    except OtaError as error:
        return {"error": error.as_dict(), "outcome": error.outcome}


def background(arguments: t.Sequence[str]) -> None:
    """The detached ways to start the engine: ``worker`` and ``guard``."""
    kind, root, state_dir, identifier = arguments[:4]
    layout = Layout(root, state_dir)
    if kind == "worker":
        worker.work(layout, identifier)
    elif kind == "guard":
        watch.run(layout, identifier, arguments[4])
    else:
        raise SystemExit("fleet-ota: unknown way to start: %s" % kind)
