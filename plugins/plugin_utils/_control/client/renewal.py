# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A rollout may take longer than its metadata hold: what a device is given is renewed on the way.

The metadata are bound to a run when it plans. With soaks of a day the timestamp of a week ends before the last wave,
although the repository has a fresh one, and every device of that wave would refuse the release.
"""

from __future__ import annotations

import datetime
import json
import pathlib

from ..base.errors import TrustError
from . import updater
from .bundle import TEXTS, Bundle

#: What holds for less than this is renewed: an update and its way back are to be over by then.
LEAST = datetime.timedelta(hours=1)


def ends(bundle: Bundle) -> datetime.datetime:
    """When the first of the bundle's metadata expires."""
    texts = [*(getattr(bundle, name) for name in TEXTS), *bundle.roles.values()]
    return min(datetime.datetime.fromisoformat(json.loads(text)["signed"]["expires"]) for text in texts)


def renew(path: pathlib.Path, trust_root: pathlib.Path, now: datetime.datetime) -> bool:
    """Bring the bundle in ``path`` up to date where it ends soon or has approvals; whether something newer was found.

    The release stays the same, bit by bit, and so do the approvals. Raises :class:`TrustError` if the repository
    cannot be read or has another release of that name and version now, and with ``APPROVAL`` if one of the approvals
    was taken back or has ended.
    """
    bundle = Bundle.load(path)
    if ends(bundle) - now > LEAST and not bundle.approvals:
        return False
    fresh = updater.prepare(
        repository=bundle.repository,
        trust_root=trust_root,
        channel=bundle.channel,
        release=f"{bundle.name}/{bundle.version}",
        cache=pathlib.Path(bundle.cache).parent,
        tls=bundle.tls,
    )
    if fresh.digest != bundle.digest:
        message = f"{bundle.name} {bundle.version} is another release now than the one that was planned; plan again"
        raise TrustError(message, code="METADATA")
    gone = sorted(set(bundle.approvals) - set(fresh.approvals))
    if gone:
        message = f"the approval {', '.join(gone)} was taken back; ask for it again with fleet.ota.plan"
        raise TrustError(message, code="APPROVAL")
    fresh = fresh.with_approvals(bundle.approvals)
    over = [one.path for one in fresh.approved() if one.expired(now)]  # it may have been given anew under its name
    if over:
        message = f"the approval {', '.join(over)} has ended; ask for another one with fleet.ota.plan"
        raise TrustError(message, code="APPROVAL")
    fresh.save(path)
    return ends(fresh) > ends(bundle)
