# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Interlock ``http``: a URL answers 200 to go, and anything else while not."""

from __future__ import annotations

import http.client
import urllib.error

from .. import download, schema
from ..checks import http as check
from . import TIMEOUT, Context, Entry, Unknown

HARMLESS = False
REQUIRED = ("url",)
RULES: dict[str, schema.Rule] = {"url": check.RULES["url"]}


def look(entry: Entry, context: Context) -> str | None:
    """Ask once by GET, without a proxy and following no redirect; no answer says nothing."""
    url, seconds = entry["url"], float(entry.get("timeout", TIMEOUT))
    shown = download.shown(url)
    try:
        with check.opener().open(url, timeout=seconds) as answer:
            status = int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unknown("%s does not answer: %s" % (shown, getattr(error, "reason", type(error).__name__))) from error
    return None if status == 200 else "%s answers %d" % (shown, status)
