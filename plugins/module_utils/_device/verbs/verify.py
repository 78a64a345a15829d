# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Verb `verify`: whether this device would take a release, without changing anything."""

from __future__ import annotations

import typing as t

from ..admission.offer import examine
from ..base.protocol import Reply, Request
from ..system.layout import Layout


def verify(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Everything that would be checked before installing, without changing anything."""
    offer = examine(layout, request["bundle"], retry_rejected=bool(request.get("retry_rejected")), keep=False)
    accepted = offer.accepted
    verdict = {
        "channel": accepted.channel,
        "target": accepted.target,
        "threshold": accepted.threshold,
        "root_version": accepted.root_version,
        "approvals": offer.approvals,
    }
    return {"release": offer.release, "verdict": verdict}
