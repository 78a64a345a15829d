# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What a sealed device lets its controller ask: each verb, each key of a request, each value.

The engine gets a request made of what is named here and nothing else. A key that an engine does not know never reaches
it, a value that could do harm is refused with ``SEALED``; which root and state directory are meant was fixed by the
administrator, not by the request.
"""

from __future__ import annotations

import json
import math
import re
import typing as t

from ..base import schema
from ..base.errors import OtaError
from ..base.protocol import Request
from ..documents import data
from ..enrolment.sealed import Settings
from ..kinds import interlocks
from ..system.layout import Layout

#: Takes a value and the settings; gives the value to go on with, or raises ValueError with what is wrong.
Rule = t.Callable[[object, Settings], object]

_CODE = re.compile(r"^(REQUESTED|TEAM_CHECK)\Z")
_LONGEST_WAIT = 60
_LONGEST_TEXT = 2000
_LONGEST_CHECKPOINT = 4096


def _keeps(rule: schema.Rule) -> Rule:
    def require_kept(value: object, settings: Settings) -> object:
        wrong = rule(value)
        if wrong:
            raise ValueError(wrong)
        return value

    return require_kept


def _only(*values: str) -> Rule:
    """One of ``values``."""
    return _keeps(schema.choice(*values))


def _flag(value: object, settings: Settings) -> object:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _never(value: object, settings: Settings) -> object:
    """Only what says no."""
    if value:
        raise ValueError("this is not for the controller of a sealed device")
    return value


def _allowed_by(name: str) -> Rule:
    """True only if the setting ``name`` says so."""

    def require_allowed(value: object, settings: Settings) -> object:
        if value and not getattr(settings, name):
            raise ValueError("the settings of this device do not allow it (%s)" % name)
        return bool(value)

    return require_allowed


def _wait(value: object, settings: Settings) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("must be a number of seconds")
    return max(0, min(value, _LONGEST_WAIT)) if not math.isnan(value) else 0


def _deadline(value: object, settings: Settings) -> object:
    wrong = schema.whole(5, settings.longest_deadline)(value)
    if wrong:
        raise ValueError(wrong)
    return value


def _protect(value: object, settings: Settings) -> object:
    wrong = schema.list_of(schema.absolute)(value)
    if wrong:
        raise ValueError(wrong)
    others = sorted(set(t.cast("list[str]", value)) - set(settings.protect))
    if others:
        raise ValueError("the settings of this device do not list %s under protect" % ", ".join(others[:5]))
    return value


def _data(value: object, settings: Settings) -> object:
    """What would not go back is decided by the signed release and no request; what would, as with ``protect``."""
    problems = schema.Problems()
    data.validate_choice(value, problems)
    if problems.found:
        raise ValueError("; ".join(problems.found))
    entries = t.cast("list[data.Choice]", value)
    if any(entry["on_restore"] == "keep" for entry in entries):
        raise ValueError("what is kept when this device goes back only a release says")
    _protect([entry["path"] for entry in entries], settings)
    return value


def _pull(value: object, settings: Settings) -> object:
    """Each URL must be what one of the device's own mirrors has for that digest, letter by letter."""
    if not isinstance(value, dict):
        raise ValueError("must be a mapping")
    for digest, urls in value.items():
        wrong = schema.matching(schema.SHA256)(digest) or schema.list_of(schema.text)(urls)
        if wrong:
            raise ValueError(wrong)
        allowed = ["%s/targets/payloads/%s" % (mirror.rstrip("/"), digest) for mirror in settings.mirrors]
        if any(url not in allowed for url in urls):
            raise ValueError("a URL is not of the mirrors that the settings of this device list")
    return value


def _checkpoint(value: object, settings: Settings) -> object:
    if not isinstance(value, dict) or len(json.dumps(value)) > _LONGEST_CHECKPOINT:
        raise ValueError("must be a mapping of at most %d bytes" % _LONGEST_CHECKPOINT)
    return value


def _interlocks(value: object, settings: Settings) -> object:
    """Only kinds that run, ask and read nothing that a request names; the device's own files hold always."""
    problems = schema.Problems()
    interlocks.validate("interlocks", value, problems)
    if problems.found:
        raise ValueError("; ".join(problems.found))
    entries = t.cast("list[interlocks.Entry]", value)
    others = sorted({one["type"] for one in entries if not interlocks.is_harmless(one["type"])})
    if others:
        raise ValueError("%s must be in the device's own files" % ", ".join(others))
    return value


def _expected(value: object, settings: Settings) -> object:
    problems = schema.Problems()
    rules: dict[str, schema.Rule] = {"instance": schema.text, "sequence": schema.whole(0)}
    problems.mapping("", value, rules, required=rules)
    if problems.found:
        raise ValueError("; ".join(problems.found))
    return value


def _code(value: object, settings: Settings) -> object:
    # The way back stays open whatever is said about it.
    return value if isinstance(value, str) and _CODE.match(value) else "REQUESTED"


def _message(value: object, settings: Settings) -> object:
    return str(value)[:_LONGEST_TEXT]


def _numbers(*names: str) -> Rule:
    """A mapping with ``sha256`` and whole numbers under ``names``."""

    rules: dict[str, schema.Rule] = {"sha256": schema.matching(schema.SHA256)}
    rules.update((name, schema.whole(0)) for name in names)

    def require_numbers(value: object, settings: Settings) -> object:
        numbers = {key: value[key] for key in rules if key in value} if isinstance(value, dict) else value
        problems = schema.Problems()
        problems.mapping("", numbers, rules, required=rules)
        if problems.found:
            raise ValueError("; ".join(problems.found))
        return numbers

    return require_numbers


def _files(value: object, settings: Settings) -> object:
    if not isinstance(value, list) or len(value) > 1000:
        raise ValueError("must be a list of at most 1000 files")
    one = _numbers("length")
    return [one(entry, settings) for entry in value]


_TEXT = _keeps(
    lambda value: schema.text(value) or (None if len(str(value)) <= 200 else "is longer than 200 characters")
)
_BUNDLE = _keeps(lambda value: None if isinstance(value, dict) else "must be a mapping")
_RUN: dict[str, Rule] = {
    "rollout": _TEXT,
    "generation": _keeps(schema.whole(0, 1 << 31)),
    "holder": _keeps(schema.matching(schema.SHA256)),
}
_TRANSACTION: dict[str, Rule] = {
    **_RUN,
    "take_over": _flag,
    "deadline": _deadline,
    "guard": _only("auto", "systemd"),
    "snapshot": _only("auto", "files", "btrfs", "lvm"),
    "rehearsal": _only("auto", "required"),
    "protect": _protect,
    "keep_snapshots": _keeps(schema.whole(1, 100)),
    "data": _data,
    "interlocks": _interlocks,
    "checkpoint": _checkpoint,
    "witnessed": _checkpoint,
    "expected": _expected,
    "retry_rejected": _allowed_by("retry_rejected"),
    "wait": _wait,
    "check": _flag,
}
_WHICH: dict[str, Rule] = {**_RUN, "transaction": _TEXT, "wait": _wait, "check": _flag}

#: Verbs that a sealed device answers, with the keys it hears. What is not here does not get through.
TABLE: dict[str, dict[str, Rule]] = {
    "info": {"logs": _flag, "transaction": _TEXT},
    "verify": {"bundle": _BUNDLE, "retry_rejected": _allowed_by("retry_rejected")},
    "stage": {"files": _files, "put": _numbers("length", "offset", "size"), "pull": _pull, "check": _flag},
    # A repair finishes what packages that are on the device already began.
    "apply": {"bundle": _BUNDLE, "pull": _pull, "repair": _flag, **_TRANSACTION},
    "status": {"wait": _wait},
    "confirm": _WHICH,
    "extend": {**_WHICH, "deadline": _deadline},
    "restore": {**_WHICH, "code": _code, "message": _message},
    "rollback": {"name": _keeps(schema.matching(schema.NAME)), "overwrite": _never, **_TRANSACTION},
    # Checks run commands: only those of releases that were confirmed here, never given ones.
    "health": {"checks": _never, "baseline": _never},
    "snapshot": {"action": _only("list")},
}


def admit(layout: Layout, settings: Settings, request: object, version: int) -> Request:
    """The request that the engine may work on; OtaError ``SEALED`` for what a sealed device does not do."""
    if not isinstance(request, dict):
        raise OtaError("ENGINE", "a request is a mapping")
    verb = request.get("verb")
    if request.get("v") != version or not isinstance(verb, str) or verb not in TABLE:
        message = "this sealed device does not do %r (version %r of the protocol); log in with admin rights, and enroll"
        raise OtaError("SEALED", (message + " it again if its engine is too old") % (verb, request.get("v")))
    if verb == "rollback" and not settings.rollback:
        message = "going back from a confirmed release is a downgrade, which this sealed device does not do"
        raise OtaError("SEALED", message + "; publish a newer release, or log in with admin rights")
    for name, fixed in (("root", layout.root), ("state_dir", layout.state_dir)):
        if request.get(name) not in (None, fixed):
            raise OtaError("SEALED", "%s is %s on this sealed device, not %r" % (name, fixed, request[name]))
    admitted: dict[str, object] = {"v": version, "verb": verb}
    for name, rule in TABLE[verb].items():
        if request.get(name) is None:
            continue
        try:
            value = rule(request[name], settings)
        except ValueError as error:
            raise OtaError("SEALED", "%s of %s: %s" % (name, verb, error)) from error
        if rule is not _never:
            admitted[name] = value
    return t.cast(Request, admitted)
