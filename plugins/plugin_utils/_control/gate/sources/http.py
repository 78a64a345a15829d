# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Numbers from anything that answers JSON over HTTP."""

from __future__ import annotations

import json
import typing as t
import urllib.parse

from ...base import expressions
from ...base.plan import Metric
from ...transports import http
from . import Sample, SourceError, Subject, numbers


def measure(metric: Metric, subject: Subject) -> Sample:
    """Ask ``url``; ``value`` finds the number or numbers in the answer (without it the answer is one)."""
    url = subject.fill(metric["url"], lambda text: urllib.parse.quote(text, safe=""))
    return reading(metric, get(metric, url))


def reading(metric: Metric, data: object) -> Sample:
    """The values in ``data`` that the expression ``value`` finds, and the data themselves for other expressions."""
    values = data
    if metric.get("value"):
        try:
            values = expressions.search(metric["value"], data)
        except ValueError as error:
            raise SourceError(str(error)) from None
    elif isinstance(data, dict):
        values = None  # success and failure are expressions over the data then
    return {"values": numbers(values), "data": data}


def get(metric: Metric, url: str, fields: t.Mapping[str, str] | None = None) -> t.Any:
    """The JSON at ``url``, asked with POST where there are ``fields``. Raises :class:`SourceError`."""
    headers = {"Accept": "application/json"}
    if fields:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        status, content = http.ask(
            "POST" if fields else "GET",
            url,
            timeout=metric["timeout"],
            headers=headers,
            body=urllib.parse.urlencode(fields) if fields else None,
            token_file=metric.get("token_file"),
            tls=metric.get("tls"),
        )
    except http.WebError as error:
        raise SourceError(str(error)) from None
    if status != 200:
        raise SourceError(f"{urllib.parse.urlsplit(url).hostname} answers with status {status}")
    try:
        return json.loads(content)
    except ValueError:
        raise SourceError(f"{urllib.parse.urlsplit(url).hostname} answers something that is not JSON") from None
