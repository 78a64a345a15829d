# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Interlock ``http``: a URL answers 200 to go, and anything else while not."""

from __future__ import annotations

import threading
import urllib.error

from ...base import schema, urls
from ..checks import http
from . import TIMEOUT, Context, Entry, Unknown

HARMLESS = False
REQUIRED = ("url",)
RULES: dict[str, schema.Rule] = {"url": http.RULES["url"]}


def look(entry: Entry, context: Context) -> str | None:
    """Ask once by GET, without a proxy and following no redirect; no answer says nothing."""
    url, seconds = entry["url"], float(entry.get("timeout", TIMEOUT))
    shown = urls.shown(url)
    answers: list[int | Exception] = []
    # A thread that may be left behind: a time-out of sockets is for each silence, and a name server has none, so that
    # a server that sends a byte now and then would hold the device for as long as it likes.
    asking = threading.Thread(target=lambda: answers.append(_ask(url, seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    if not answers:
        raise Unknown("%s does not answer within %g s" % (shown, seconds))
    answer = answers[0]
    if isinstance(answer, Exception):
        reason = getattr(answer, "reason", type(answer).__name__)
        raise Unknown("%s does not answer: %s" % (shown, reason)) from answer
    return None if answer == 200 else "%s answers %d" % (shown, answer)


def _ask(url: str, seconds: float) -> int | Exception:
    """The status, or why there is none."""
    try:
        with http.opener().open(url, timeout=seconds) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except Exception as error:  # for the thread that waits, which has no other way to hear of it
        return error
