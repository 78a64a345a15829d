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

from .errors import ControlError

#: 7.0.0 does not check a cached delegated role against its current delegator; 7.0.1 passes all of tuf-conformance.
NEEDED = {
    "tuf": (7, 0, 1),
    "securesystemslib": (1, 6),
    "cryptography": (42,),
    "in-toto-attestation": (0, 9, 3),
}


def require() -> None:
    """Raise :class:`ControlError` naming what is missing or too old."""
    wrong = []
    for name, least in NEEDED.items():
        wanted = f"{name}>={'.'.join(map(str, least))}"
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{wanted} is missing")
            continue
        if tuple(int(number) for number in re.findall(r"\d+", version)[:3]) < least:
            wrong.append(f"{wanted} is needed, {version} is installed")
    if wrong:
        raise ControlError(
            f"{'; '.join(wrong)}; install them for the Python that runs ansible: pip install 'tuf>=7.0.1' "
            "'securesystemslib[crypto]>=1.6' 'in-toto-attestation>=0.9.3'"
        )
