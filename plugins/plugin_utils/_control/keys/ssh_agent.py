# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Signing with the key that a person has in an SSH agent already (paramiko).

TUF signs canonical bytes with ECDSA P-256 over SHA-256, or Ed25519. An agent does exactly that for
``ecdsa-sha2-nistp256`` (RFC 5656) and ``ssh-ed25519`` (RFC 8709) keys; only the signature's wrapping differs. Keys on
FIDO tokens (``sk-...``) sign something else, and RSA is nothing that devices check.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import typing as t

from ..base.errors import KeyFileError

try:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from securesystemslib.signer import Signature, Signer, SSlibKey
except ImportError:  # libraries.require() tells
    Signer = object  # type: ignore[assignment, misc]

if t.TYPE_CHECKING:
    from securesystemslib.signer import Key

SCHEME = "ssh-agent"
_KINDS = ("ecdsa-sha2-nistp256", "ssh-ed25519")


class AgentSigner(Signer):
    """Signs through the agent at ``SSH_AUTH_SOCK``; nothing is kept open between signatures."""

    def __init__(self, public_key: SSlibKey, blob: bytes, name: str) -> None:
        self._public_key = public_key
        self._blob = blob
        #: The comment of the key in the agent.
        self.name = name

    @property
    def public_key(self) -> SSlibKey:
        """The public half."""
        return self._public_key

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: t.Callable[[str], str] | None = None
    ) -> AgentSigner:
        """The key of the agent that ``priv_key_uri`` and ``public_key`` name. Raises :class:`KeyFileError`."""
        for signer in held(priv_key_uri):
            if signer.public_key.keyval == public_key.keyval:
                return cls(t.cast("SSlibKey", public_key), signer._blob, signer.name)
        raise KeyFileError(f"{priv_key_uri}: the SSH agent does not hold that key; add it with ssh-add")

    def sign(self, payload: bytes) -> Signature:
        """Sign ``payload``. Raises :class:`KeyFileError` when the agent is gone or refuses."""
        with _keys() as keys:
            for key in keys:
                if key.asbytes() == self._blob:
                    try:
                        return Signature(self.public_key.keyid, _unwrapped(key.sign_ssh_data(payload)).hex())
                    except Exception as error:  # paramiko's own tree, and whatever the agent answers
                        raise KeyFileError(f"the SSH agent did not sign with {self.name} ({error})") from error
        raise KeyFileError(f"the SSH agent no longer holds {self.name}; add it with ssh-add")


def held(uri: str) -> list[AgentSigner]:
    """The keys that ``ssh-agent:`` (all that can be used) or ``ssh-agent:SHA256:...`` stands for.

    Raises :class:`KeyFileError` when there is none.
    """
    wanted = uri.partition(":")[2]
    signers = []
    with _keys() as keys:
        for key in keys:
            blob = key.asbytes()
            if wanted in ("", fingerprint(blob)):
                if key.get_name() in _KINDS:
                    signers.append(AgentSigner(_public(key.get_name(), blob), blob, key.comment or fingerprint(blob)))
                elif wanted:
                    raise KeyFileError(
                        f"{uri}: devices cannot check {key.get_name()}; use a key of {' or '.join(_KINDS)}",
                        code="UNSUPPORTED",
                    )
    if not signers:
        raise KeyFileError(
            f"{uri}: the SSH agent holds no such key; add it with ssh-add, `ssh-add -l` shows fingerprints"
        )
    return signers


def fingerprint(blob: bytes) -> str:
    """A public key's fingerprint as OpenSSH prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


@contextlib.contextmanager
def _keys() -> t.Iterator[list[t.Any]]:
    try:
        import paramiko
    except ImportError as error:
        raise KeyFileError("keys of an SSH agent need paramiko; pip install paramiko", code="UNSUPPORTED") from error
    if not os.environ.get("SSH_AUTH_SOCK"):
        raise KeyFileError("there is no SSH agent here (SSH_AUTH_SOCK is not set); start one, or forward yours")
    try:
        agent = paramiko.Agent()
    except (OSError, paramiko.SSHException) as error:
        raise KeyFileError(f"the SSH agent does not answer ({error}); start it again") from error
    try:
        yield list(agent.get_keys())
    finally:
        agent.close()


def _public(kind: str, blob: bytes) -> SSlibKey:
    return SSlibKey.from_crypto(
        t.cast("t.Any", serialization.load_ssh_public_key(f"{kind} {base64.b64encode(blob).decode()}".encode()))
    )


def _unwrapped(blob: bytes) -> bytes:
    """What TUF holds: the ECDSA signature as DER, or the 64 bytes of Ed25519."""
    kind, rest = _string(blob)
    signature, rest = _string(rest)
    if kind == b"ssh-ed25519" and len(signature) == 64 and not rest:
        return signature
    if kind == b"ecdsa-sha2-nistp256" and not rest:
        r, more = _string(signature)
        s, more = _string(more)
        if not more:
            return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    raise ValueError(f"a signature of the kind {kind!r} came back")


def _string(blob: bytes) -> tuple[bytes, bytes]:
    """RFC 4251, section 5: four bytes of length, and so many bytes."""
    length = int.from_bytes(blob[:4], "big")
    if len(blob) < 4 + length:
        raise ValueError("the signature is cut short")
    return blob[4 : 4 + length], blob[4 + length :]
