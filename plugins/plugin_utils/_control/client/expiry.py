# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What ends before a rollout can, and what ends soon: told when it is planned, while people can still sign.

Timestamp and snapshot end every few days and are signed again by a job; for root, targets and channels somebody has to
bring keys, so these are told weeks ahead.
"""

from __future__ import annotations

import datetime
import typing as t

from .bundle import ENDED

_BY_A_JOB = ("timestamp", "snapshot")
#: Before an expiry that takes people and their keys.
WEEKS = datetime.timedelta(days=28)
#: For delegated roles, whose metadata hold for a month or three.
DAYS = datetime.timedelta(days=10)


def lines(ends: t.Mapping[str, str], now: datetime.datetime, until: datetime.datetime) -> list[str]:
    """For people: what of the metadata (:attr:`Bundle.ends`) ends before ``until``, or soon after ``now``."""
    told = []
    for role, text in sorted(ends.items()):
        if text == ENDED:
            told.append(
                f"the metadata of {role} have ended: approvals by it do not count until its people sign again "
                "(fleet.ota.refresh with their keys)"
            )
            continue
        moment = datetime.datetime.fromisoformat(text)
        within = moment < until
        if role in _BY_A_JOB:
            if within:
                told.append(
                    f"{role} ends {_day(moment)}, before the rollout can: it goes on with what fleet.ota.refresh signs "
                    "by then, so keep that job running"
                )
        elif within or moment - now < (WEEKS if role in ("root", "targets") else DAYS):
            before = ", before the rollout can" if within else ""
            told.append(
                f"{role} ends {_day(moment)}{before}: have its people sign it again by then (fleet.ota.refresh with "
                f"the keys of {role})"
            )
    return told


def approvals(ends: t.Mapping[str, str], until: datetime.datetime) -> list[str]:
    """For people: which of the approvals that let a rollout begin end (``ends``, by path) before ``until``."""
    return [
        f"the approval {path} ends {_day(datetime.datetime.fromisoformat(text))}, before the rollout can: waves that "
        "begin later wait for another one; ask for more time with fleet_ota_approval_hours"
        for path, text in sorted(ends.items())
        if datetime.datetime.fromisoformat(text) < until
    ]


def _day(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
