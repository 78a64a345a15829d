# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Whether bytes are what signed metadata describes: length and every hash."""

from __future__ import annotations

import hashlib
import hmac

from ..errors import OtaError
from .metadata import Described

#: The hash functions of the TUF specification. One that is not known cannot be compared, and that is a refusal.
HASHES = ("sha256", "sha512")


def check(name: str, content: bytes, described: Described) -> None:
    """Compare; raises OtaError ``LENGTH_MISMATCH``, ``HASH_MISMATCH`` or ``METADATA``."""
    if described.length is not None and len(content) != described.length:
        message = "%s has %d bytes, not the %d that were signed"
        raise OtaError("LENGTH_MISMATCH", message % (name, len(content), described.length))
    for algorithm, wanted in described.hashes.items():
        if algorithm not in HASHES:
            raise OtaError("METADATA", "%s is described by the unknown hash %r" % (name, algorithm))
        if not hmac.compare_digest(hashlib.new(algorithm, content).hexdigest().encode(), wanted.encode()):
            raise OtaError("HASH_MISMATCH", "%s is not what was signed (%s)" % (name, algorithm))
