# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Signatures on metadata: made with the keys at hand, and counted."""

from __future__ import annotations

import dataclasses
import typing as t

from ...base.errors import KeyFileError

try:
    from securesystemslib.exceptions import UnverifiedSignatureError
    from tuf.api.exceptions import UnsignedMetadataError
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from tuf.api.metadata import Metadata

    from ...keys.ring import Ring


@dataclasses.dataclass(frozen=True)
class Need:
    """What one role still needs: names of the keys that signed, and of those that may.

    ``previous`` marks the demand of the root before: a new root satisfies the old one's threshold too.
    """

    role: str
    threshold: int
    signed: tuple[str, ...]
    missing: tuple[str, ...]
    previous: bool = False

    @property
    def have(self) -> int:
        """Signatures that count."""
        return len(self.signed)

    @property
    def met(self) -> bool:
        """Whether they are enough."""
        return self.have >= self.threshold

    def as_dict(self) -> dict[str, t.Any]:
        """For results and JSON."""
        names = {"signed": list(self.signed), "missing": list(self.missing)}
        return {**dataclasses.asdict(self), **names, "have": self.have, "met": self.met}


def sign(metadata: Metadata[t.Any], keyids: t.Iterable[str], ring: Ring) -> list[str]:
    """Add the signatures of those of ``keyids`` that are in ``ring`` and did not sign yet; which ones these were."""
    added = [keyid for keyid in dict.fromkeys(keyids) if keyid in ring.signers and keyid not in metadata.signatures]
    for keyid in added:
        try:
            signature = metadata.sign(ring.signers[keyid], append=True)
            ring.signers[keyid].public_key.verify_signature(signature, metadata.signed_bytes)
        except (UnsignedMetadataError, UnverifiedSignatureError) as error:
            metadata.signatures.pop(keyid, None)
            if isinstance(error.__cause__, KeyFileError):
                raise error.__cause__ from error
            reason = str(error.__cause__ or error)
            if isinstance(error, UnverifiedSignatureError):
                reason = "what it signed does not fit its public half"
            raise KeyFileError(f"the key {keyid[:8]} cannot sign ({reason}); look at its token or service") from error
    return added
