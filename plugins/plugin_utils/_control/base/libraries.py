# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Whether the libraries that the control engine stands on are there.

The engine's files import them where they can, so that documentation and sanity tests work without them; whoever
begins work calls :func:`require` first.
"""

from __future__ import annotations

import importlib.metadata
import re
import typing as t

from .errors import ControlError

#: 7.0.0 does not check a cached delegated role against its current delegator; 7.0.1 passes all of tuf-conformance.
NEEDED = {
    "tuf": (7, 0, 1),
    "securesystemslib": (1, 6),
    "cryptography": (42,),
    "in-toto-attestation": (0, 9, 3),
}

#: For waves, analysis and rules that are written as expressions.
EXPRESSIONS = {"jmespath": (1, 0)}
#: For windows given as cron has them, and for calendars.
SCHEDULING = {"cronsim": (2, 6), "icalendar": (6, 1), "recurring-ical-events": (3, 5)}


def require(needed: t.Mapping[str, tuple[int, ...]] | None = None) -> None:
    """Raise :class:`ControlError` naming what of ``needed`` (by default :data:`NEEDED`) is missing or too old."""
    needed = NEEDED if needed is None else needed
    wrong = []
    for name, least in needed.items():
        wanted = f"{name}>={'.'.join(map(str, least))}"
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{wanted} is missing")
            continue
        if tuple(int(number) for number in re.findall(r"\d+", version)[:3]) < least:
            wrong.append(f"{wanted} is needed, {version} is installed")
    if wrong:
        extras = {"securesystemslib": "securesystemslib[crypto]"}
        packages = " ".join(
            f"'{extras.get(name, name)}>={'.'.join(map(str, least))}'" for name, least in needed.items()
        )
        raise ControlError(f"{'; '.join(wrong)}; install them for the Python that runs ansible: pip install {packages}")
