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

from .. import schema
from . import Context, Unhealthy

REQUIRED = ("url",)


def _json(value: t.Any) -> str | None:
    problems = schema.Problems()
    problems.mapping("json", value, {"path": schema.text, "equals": schema.anything}, required=("path", "equals"))
    return problems.found[0] if problems.found else None


def _url(value: t.Any) -> str | None:
    wrong = schema.text(value)
    return wrong or (
        None if value.startswith(("http://", "https://")) else "%r must start with http:// or https://" % value
    )


RULES: dict[str, schema.Rule] = {
    "url": _url,
    "status": schema.whole(100, 599),
    "contains": schema.text,
    "json": _json,
    "wait": schema.number(0.1),
}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer to look at, not to follow: a login page must not pass as health."""

    def redirect_request(self, *args: t.Any, **kwargs: t.Any) -> None:
        """Do not follow."""
        return


def look(check: t.Mapping[str, t.Any], context: Context) -> dict[str, t.Any]:
    """Ask once; ``wait`` (s, default 5) is the longest time for the answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    started = time.monotonic()
    try:
        with opener.open(check["url"], timeout=float(check.get("wait", 5))) as answer:
            status, body = answer.status, answer.read(1 << 20)
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read(1 << 20)
    except (OSError, ValueError) as error:
        raise Unhealthy("%s does not answer: %s" % (check["url"], getattr(error, "reason", error))) from None
    wanted = check.get("status", 200)
    if status != wanted:
        raise Unhealthy("%s answers %d, not %d" % (check["url"], status, wanted))
    if "contains" in check and check["contains"].encode() not in body:
        raise Unhealthy("%s answers without %r" % (check["url"], check["contains"]))
    if "json" in check:
        _compare(check, body)
    return {"seconds": round(time.monotonic() - started, 4), "status": status}


def _compare(check: t.Mapping[str, t.Any], body: bytes) -> None:
    path, wanted = check["json"]["path"], check["json"]["equals"]
    try:
        value = json.loads(body)
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (ValueError, KeyError, IndexError, TypeError):
        raise Unhealthy("%s answers without %s in its JSON" % (check["url"], path)) from None
    if value != wanted or isinstance(value, bool) != isinstance(wanted, bool):
        raise Unhealthy("%s answers %s = %r, not %r" % (check["url"], path, value, wanted))
