# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Signers by URI: files, PKCS#11 tokens, cloud key services (securesystemslib) and SSH agents.

Which one a URI means is securesystemslib's table; the agent's signer is entered there too.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
import urllib.parse

from ..base.errors import KeyFileError
from . import ssh_agent

try:
    from securesystemslib.exceptions import UnsupportedLibraryError
    from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, HSMSigner, Signer

    SIGNER_FOR_URI_SCHEME[ssh_agent.SCHEME] = ssh_agent.AgentSigner
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

#: What to install for signers that need more than the collection itself.
PACKAGES = {
    "hsm": "python-pkcs11",
    ssh_agent.SCHEME: "paramiko",
    "awskms": "'securesystemslib[awskms]'",
    "gcpkms": "'securesystemslib[gcpkms]'",
    "azurekms": "'securesystemslib[azurekms]'",
}
FILE = "file"

_URI = re.compile(r"([a-z][a-z0-9+.-]*):")


@dataclasses.dataclass(frozen=True)
class Secrets:
    """What unlocks keys: the passphrase of files, the PIN of tokens. Neither is ever told."""

    passphrase: bytes | None = dataclasses.field(default=None, repr=False)
    pin: bytes | None = dataclasses.field(default=None, repr=False)

    def ask(self, name: str) -> str:
        """securesystemslib's handler of secrets. Raises :class:`KeyFileError` when it was not given."""
        secret = self.pin if name.lower() == "pin" else self.passphrase
        if secret is None:
            raise KeyFileError(f"the {name} of a key is needed; give pin_file or FLEET_OTA_KEY_PIN")
        return secret.decode()


def scheme_of(place: str) -> str | None:
    """The scheme of a URI, or None for a path or name. Raises :class:`KeyFileError` for a scheme nobody knows."""
    match = _URI.match(place)
    if match is None:
        return None
    if match[1] != FILE and match[1] not in PACKAGES:
        schemes = ", ".join([FILE, *PACKAGES])
        raise KeyFileError(
            f"{place}: keys are named by a path or by {schemes}, not by {match[1]!r}", code="UNSUPPORTED"
        )
    return match[1]


def load(uri: str, public: SSlibKey | None, secrets: Secrets) -> list[Signer]:
    """The signers that ``uri`` stands for: one, but for ``ssh-agent:`` without a fingerprint.

    ``public`` is the public half; agents and tokens can tell it themselves. Raises :class:`KeyFileError`.
    """
    scheme = str(scheme_of(uri))
    if scheme == ssh_agent.SCHEME and public is None:
        return [*ssh_agent.held(uri)]
    try:
        if scheme == "hsm":
            # also proves that the token is there before anything is begun
            _uri, held = HSMSigner.import_(*_token(uri), secrets_handler=secrets.ask)
            if public is not None and held.keyval != public.keyval:
                raise KeyFileError(f"{uri}: the key on the token is not the one of its public key file; correct one")
            public = public or held
        if public is None:
            raise KeyFileError(f"{uri}: its public half is needed; keep the URI in NAME.uri beside NAME.pub")
        return [Signer.from_priv_key_uri(uri, public, secrets.ask)]
    except UnsupportedLibraryError as error:
        raise KeyFileError(
            f"{uri} cannot be used: {error}; pip install {PACKAGES.get(scheme, 'it')}", code="UNSUPPORTED"
        ) from error
    except KeyFileError:
        raise
    except Exception as error:  # "may raise errors that are not documented here", says securesystemslib
        hint = "; PYKCS11LIB names the module of the token" if scheme == "hsm" else ""
        raise KeyFileError(f"{uri} cannot be used ({error or type(error).__name__}){hint}") from error


def _token(uri: str) -> tuple[int | None, str | None]:
    """Key id and token label of an ``hsm:`` URI."""
    parts = urllib.parse.urlparse(uri)
    return (int(parts.path) if parts.path else None), dict(urllib.parse.parse_qsl(parts.query)).get("label")
