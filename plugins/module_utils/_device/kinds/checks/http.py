# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Check ``http``: a URL answers with a status, a text, a value in its JSON."""

from __future__ import annotations

import json
import time
import typing as t
import urllib.error
import urllib.request

from ...base import schema
from . import Check, Context, Measured, Unhealthy, _latency

REQUIRED = ("url",)
WAIT = 5.0


def _json(value: object) -> str | None:
    """One condition, or a list of them; each has a path and at least one of ``equals``, ``min`` and ``max``."""
    problems = schema.Problems()
    number = schema.number(float("-inf"))
    rules: dict[str, schema.Rule] = {"path": schema.text, "equals": schema.anything, "min": number, "max": number}
    for one in value if isinstance(value, list) and value else [value]:
        whole = problems.mapping("json", one, rules, required=("path",))
        if whole and isinstance(one, dict) and not {"equals", "min", "max"} & set(one):
            problems.add("json", "needs 'equals', 'min' or 'max'")
    return problems.found[0] if problems.found else None


def _headers(value: object) -> str | None:
    """Header names with what they must be, letter by letter."""
    problems = schema.Problems()
    problems.mapping("headers", value, dict.fromkeys(value, schema.text) if isinstance(value, dict) else {})
    return problems.found[0] if problems.found else None


def _url(value: object) -> str | None:
    wrong = schema.text(value)
    return wrong or (
        None if str(value).startswith(("http://", "https://")) else "%r must start with http:// or https://" % value
    )


RULES: dict[str, schema.Rule] = {
    "url": _url,
    "status": schema.whole(100, 599),
    "contains": schema.text,
    "json": _json,
    "headers": _headers,
    "wait": schema.number(0.1),
    **_latency.RULES,
}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer to look at, not to follow: a login page must not pass as health."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        """Do not follow."""
        return


def opener() -> urllib.request.OpenerDirector:
    """What asks without a proxy and follows no redirect."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


def look(check: Check, context: Context) -> Measured:
    """Ask once; ``wait`` (s) is the longest time for the answer."""
    started = time.monotonic()
    try:
        with opener().open(check["url"], timeout=float(check.get("wait", WAIT))) as answer:
            status, headers, body = answer.status, answer.headers, answer.read(1 << 20)
    except urllib.error.HTTPError as error:
        status, headers, body = error.code, error.headers, error.read(1 << 20)
    except (OSError, ValueError) as error:
        raise Unhealthy("%s does not answer: %s" % (check["url"], getattr(error, "reason", error))) from None
    expected = check.get("status", 200)
    if status != expected:
        raise Unhealthy("%s answers %d, not %d" % (check["url"], status, expected))
    if "contains" in check and check["contains"].encode() not in body:
        raise Unhealthy("%s answers without %r" % (check["url"], check["contains"]))
    seconds = time.monotonic() - started
    for name, text in check.get("headers", {}).items():
        if headers.get(name) != text:
            raise Unhealthy("%s answers %s: %r, not %r" % (check["url"], name, headers.get(name), text))
    if "json" in check:
        answer = _parsed(body)
        for one in check["json"] if isinstance(check["json"], list) else [check["json"]]:
            _compare(check["url"], one, answer)
    _latency.judge(check, seconds, context)
    return {"seconds": round(seconds, 4), "status": status}


def _parsed(body: bytes) -> t.Any:
    """What the answer says; None, in which no path leads anywhere, if it is no JSON."""
    try:
        return json.loads(body, parse_constant=_no_number)
    except ValueError:
        return None


def _compare(url: str, check: Check, value: t.Any) -> None:
    path = check["path"]
    try:
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (ValueError, KeyError, IndexError, TypeError):
        raise Unhealthy("%s answers without %s in its JSON" % (url, path)) from None
    if "equals" in check:
        expected = check["equals"]
        if value != expected or isinstance(value, bool) != isinstance(expected, bool):
            raise Unhealthy("%s answers %s = %r, not %r" % (url, path, value, expected))
    if "min" in check or "max" in check:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Unhealthy("%s answers %s = %r, which is no number" % (url, path, value))
        if not check.get("min", value) <= value <= check.get("max", value):
            raise Unhealthy(
                "%s answers %s = %r, out of %s to %s" % (url, path, value, check.get("min"), check.get("max"))
            )


def _no_number(text: str) -> None:
    """NaN and infinity are no JSON, and nothing that could be compared."""
    raise ValueError(text)
