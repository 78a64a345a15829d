# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Numbers from Prometheus: an instant query over its HTTP API (``POST /api/v1/query``)."""

from __future__ import annotations

from ...base.plan import Metric
from . import Sample, SourceError, Subject, http, number, pattern


def measure(metric: Metric, subject: Subject) -> Sample:
    """The value of every series that the query gives now; none where it gives none."""
    # names are quoted for a regular expression in a text, so that no name can change the query
    query = subject.fill(metric["query"], pattern, subject.pattern())
    data = http.get(metric, metric["url"].rstrip("/") + "/api/v1/query", {"query": query})
    try:
        if data["status"] != "success":
            raise SourceError(f"Prometheus says {data.get('errorType')}: {str(data.get('error'))[:200]}")
        kind, result = data["data"]["resultType"], data["data"]["result"]
        if kind == "scalar":
            return {"values": [number(result[1])], "data": result}
        if kind != "vector":
            raise SourceError(f"the query gives a {kind}; ask for one number per series")
        return {"values": [number(series["value"][1]) for series in result], "data": result}
    except (KeyError, IndexError, TypeError):
        raise SourceError("the answer is not that of Prometheus' query API") from None
