# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The engine's verbs (docs/reference/engine.md): each takes a request and gives a reply."""

from __future__ import annotations

import contextlib
import typing as t

from .. import kinds
from ..admission import requests
from ..base.errors import OtaError, lacking
from ..base.protocol import VERSION, Reply, Request
from ..enrolment import sealed
from ..kinds import checks, interlocks, payloads, snapshots
from ..system.layout import Layout
from ..transaction import recover, worker
from . import apply, enroll, health, info, install, rollback, snapshot, stage, transaction, verify

VERBS: dict[str, t.Callable[[Layout, Request, t.IO[bytes]], Reply]] = {
    "info": info.info,
    "enroll": enroll.enroll,
    "stage": stage.stage,
    "verify": verify.verify,
    "apply": transaction.locked(apply.apply),
    "status": transaction.status,
    "confirm": transaction.locked(transaction.confirm),
    "extend": transaction.locked(transaction.extend),
    "restore": transaction.restore,
    "rollback": transaction.locked(rollback.rollback),
    "health": health.look,
    "snapshot": snapshot.snapshot,
    "install": transaction.locked(install.install),
}


def answer(request: object, stream: t.IO[bytes], fixed: Layout | None = None) -> Reply:
    """The reply to one request; every OtaError becomes ``{"error": ...}``.

    ``fixed`` is given by the program of a sealed device: where its state is, whatever a request says.
    """
    try:
        if fixed is not None:
            request = requests.admit(fixed, sealed.required(fixed), request, VERSION)
        if not isinstance(request, dict) or request.get("v") != VERSION or request.get("verb") not in VERBS:
            raise OtaError("ENGINE", "this engine does not know the request (version %d)" % VERSION)
        heard = t.cast(Request, request)
        layout = fixed or Layout(heard.get("root") or "/", heard.get("state_dir") or "/var/lib/fleet-ota")
        return VERBS[heard["verb"]](layout, heard, stream)
    except ImportError as error:
        missing = lacking(error, "this request")
        return {"error": missing.as_dict(), "outcome": missing.outcome}
    except OtaError as error:
        return {"error": error.as_dict(), "outcome": error.outcome}


def loadable() -> list[str]:
    """The parts of the engine that this device's Python can load, by name: this one, and each kind by itself."""
    found = ["verbs"]
    for several in (checks, interlocks, payloads, snapshots):
        for name in kinds.names(several.__path__):
            with contextlib.suppress(ImportError):
                kinds.module(several.__name__, several.__path__, name)
                found.append("%s.%s" % (several.__name__.rpartition(".")[2], name))
    return found


def background(arguments: t.Sequence[str]) -> None:
    """The detached ways to start the engine: ``worker`` and ``guard``."""
    kind, root, state_dir, identifier = arguments[:4]
    layout = Layout(root, state_dir)
    if kind == "worker":
        worker.work(layout, identifier)
    elif kind == "guard":
        recover.run(layout, identifier, arguments[4])
    else:
        raise SystemExit("fleet-ota: unknown way to start: %s" % kind)
