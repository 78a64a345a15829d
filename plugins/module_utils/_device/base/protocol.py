# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the controller and the engine say to each other (docs/reference/engine.md)."""

from __future__ import annotations

import typing as t

from .errors import OtaError
from .typed import TypedDict

VERSION = 1


class Checkpoint(TypedDict, total=False):
    """Where a controller's journal stands: :mod:`admission.witness` says what each key is."""

    rollout: str
    size: int
    head: str
    journal: str
    since: str
    device: str


class Expected(TypedDict):
    """The last transaction of a device that its controller has heard of."""

    instance: str
    sequence: int


class File(TypedDict):
    """A payload file by its digest; ``length`` in bytes."""

    sha256: str
    length: int


class Missing(File):
    """A payload file that is not here yet, with the ``offset`` in bytes to go on from."""

    offset: int


class Piece(Missing):
    """``size`` bytes of a payload file, which follow the request on the connection."""

    size: int


class Release(TypedDict):
    """A release by name, as replies and records have it."""

    name: str
    version: str
    counter: int
    digest: str


class Difference(TypedDict):
    """What ``--diff`` shows: by the names of payloads, and ``release``."""

    before: dict[str, object]
    after: dict[str, object]


class Bundle(TypedDict, total=False):
    """A release with all metadata that is needed to verify it; nothing in it is trusted before that."""

    channel: str
    target: str
    root: list[str]
    timestamp: str
    snapshot: str
    targets: str
    roles: dict[str, str]
    documents: dict[str, str]
    approvals: list[str]


class Request(TypedDict, total=False):
    """The keys of all requests (docs/reference/engine.md says which verb hears which).

    A value of type ``object`` is checked where it is used.
    """

    v: int
    verb: str
    root: str
    state_dir: str
    check: bool
    wait: float
    logs: bool
    # whose request it is
    rollout: str
    generation: int
    holder: str
    take_over: bool
    transaction: str
    checkpoint: Checkpoint
    witnessed: Checkpoint
    expected: Expected
    # a release, and how it is taken
    bundle: Bundle
    retry_rejected: bool
    repair: bool
    deadline: int
    guard: str
    snapshot: str
    rehearsal: str
    protect: list[str]
    keep_snapshots: int
    data: object
    interlocks: object
    # payload files
    files: list[File]
    put: Piece
    pull: dict[str, list[str]]
    # a way back
    name: str
    overwrite: bool
    code: str
    message: str
    # snapshots of people
    action: str
    paths: list[str]
    kind: str
    # health
    checks: object
    passes: int
    interval: float
    timeout: float
    settle: float
    baseline: dict[str, dict[str, object]]
    # enrolment
    identity: object
    trust_root: str
    tls: object
    sealed: object


class TransactionReply(TypedDict, total=False):
    """How a transaction stands."""

    transaction: str | None
    state: str
    outcome: str | None
    code: str | None
    message: str
    release: Release | None
    before: Release | None
    rollout: str | None
    kind: str
    boots: int
    boot_id: str
    rebooting: bool
    instance: str | None
    sequence: int
    steps: dict[str, float]
    seconds: float
    deadline: int
    health: t.Mapping[str, object]
    diff: Difference | None
    missing: list[Missing]
    #: The end was brought by an earlier request; nothing was done now.
    again: bool


#: The reply to any verb.
Reply = t.Mapping[str, object]


def whole(request: Request, name: str, default: int = 0) -> int:
    """A whole number of a request, ``default`` where it is not there; OtaError ``RELEASE`` for anything else."""
    value: object = request.get(name)
    try:
        return int(t.cast("int", value or default))
    except (TypeError, ValueError, OverflowError):
        raise OtaError("RELEASE", "%s must be a whole number, not %r" % (name, value)) from None
