# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Custody: who built and tested what a release carries, as in-toto statements in DSSE envelopes.

Form and signatures are checked by in-toto's and securesystemslib's own code; what is decided here is whether the
statements are about this release and by whom the fleet's policy demands (docs/reference/approval.md).
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import pathlib
import typing as t

from ....module_utils._device.documents import release
from ..base.errors import RepositoryError
from .policy import Policy

try:
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
    from in_toto_attestation.v1 import statement, statement_pb2
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
    from securesystemslib.signer import Key, Signature
except ImportError:  # libraries.require() tells
    pass

#: DSSE's name for in-toto statements (in-toto attestation framework, spec v1, envelope).
PAYLOAD_TYPE = "application/vnd.in-toto+json"
#: Bytes of one envelope at most; an SBOM of a whole distribution has a few MB.
LARGEST = 32 << 20
_MOST_SIGNATURES = 64
SLSA = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"


@dataclasses.dataclass(frozen=True)
class Attachment:
    """One envelope: its bytes and digest, the predicate's type, and the SHA-256 of every subject."""

    name: str
    content: bytes
    sha256: str
    predicate: str
    subjects: frozenset[str]
    envelope: Envelope
    #: the signatures, by whomever
    signatures: tuple[bytes, ...] = ()

    def __str__(self) -> str:
        return f"{self.predicate} ({self.name}, {len(self.subjects)} subjects)"


def read(path: pathlib.Path) -> Attachment:
    """The envelope in the file ``path``. Raises :class:`RepositoryError` with ``CUSTODY``."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _error(f"{path} cannot be read ({error.strerror}); correct the path") from error
    return parse(content, str(path))


def parse(content: bytes, name: str) -> Attachment:
    """The envelope in ``content``; ``name`` is for people. Raises :class:`RepositoryError` with ``CUSTODY``."""
    if len(content) > LARGEST:
        raise _error(f"{name} has {len(content)} bytes, {LARGEST} at most; attach less")
    try:
        envelope, signatures = _envelope(json.loads(content))
        if envelope.payload_type != PAYLOAD_TYPE:
            raise ValueError(f"its payload is {envelope.payload_type!r}, not {PAYLOAD_TYPE}")
        message = json_format.Parse(envelope.payload, statement_pb2.Statement())
        statement.Statement.copy_from_pb(message).validate()
        _known_predicate(message)
        subjects = [subject.digest.get("sha256") for subject in message.subject]
        if not all(subjects):
            raise ValueError("a subject has no sha256")
    # what malformed JSON, base64 or protobuf raises
    except (ValueError, KeyError, TypeError, AttributeError, json_format.ParseError) as error:
        raise _error(f"{name} is no in-toto statement in a DSSE envelope: {error}; attach another") from error
    digest = hashlib.sha256(content).hexdigest()
    return Attachment(name, content, digest, message.predicate_type, frozenset(subjects), envelope, signatures)


def require_custody(
    attachments: t.Sequence[Attachment], document: release.Document, digest: str, channel: str, policy: Policy | None
) -> list[str]:
    """Lines for people on what the statements prove about a release.

    Each attachment must be signed as one of the rules of ``policy`` for its predicate says, and be about this release:
    its subjects hold the release's ``digest`` or some of the payloads of ``document``, and those that one rule counts
    together all of them. Every rule that the policy requires in ``channel`` must be met, each by itself where several
    are about one predicate. Raises :class:`RepositoryError` with ``CUSTODY`` and every problem in
    ``detail['problems']``.
    """
    rules = [
        entry for entry in (policy.get("custody", []) if policy else []) if channel in entry.get("channels", [channel])
    ]
    problems: list[str] = []
    lines: list[str] = []
    payloads = {entry["sha256"]: str(entry["name"]) for entry in release.payload_files(document)}
    covered: dict[int, set[str]] = {}
    for one in attachments:
        mine = [(number, rule) for number, rule in enumerate(rules) if rule["predicate"] == one.predicate]
        if not mine:
            problems.append(
                f"{one}: the fleet's policy trusts no key for this predicate in channel {channel}; add it to custody"
            )
            continue
        wrong = {number: _signed(one, rule) for number, rule in mine}
        about = set(payloads) if digest in one.subjects else one.subjects & set(payloads)
        if all(wrong.values()):
            problems.append(f"{one}: {' and '.join(dict.fromkeys(filter(None, wrong.values())))}")
        elif not about:
            problems.append(f"{one}: is about other files; attach the statement of this build")
        else:
            for number in [number for number, reason in wrong.items() if reason is None]:
                covered.setdefault(number, set()).update(about)
            lines.append(f"{one}: signed, about {len(about)} of {len(payloads)} payloads")
    for number, rule in enumerate(rules):
        left = sorted(payloads[sha256] for sha256 in set(payloads) - covered.get(number, set()))
        if left and (number in covered or rule.get("required", True)):
            problems.append(
                f"{rule['predicate']}: no trusted statement covers {', '.join(left[:5])}; attach one, signed by "
                f"{rule.get('threshold', 1)} of the keys in the policy"
            )
    if problems:
        raise _error(f"the release lacks custody: {'; '.join(problems)}", problems=problems)
    return lines


def _signed(one: Attachment, rule: t.Mapping[str, t.Any]) -> str | None:
    """What is wrong with the signatures, None if the rule's threshold is met by distinct keys.

    Each trusted key is tried on each signature: a key id is a hint that anybody may have written, and that cosign and
    others leave out (DSSE protocol, "Verification").
    """
    trusted: dict[str, Key] = {}
    for entry in rule["keys"]:
        value = dict(entry)
        key = Key.from_dict(value.pop("keyid"), value)
        trusted[str(key.keyval)] = key
    signed, good = one.envelope.pae(), 0
    for key in trusted.values():
        good += any(_is_by(key, signature, signed) for signature in one.signatures)
    wanted = int(rule.get("threshold", 1))
    if good < wanted:
        return f"not signed by whom the policy trusts for it ({good} of {wanted} keys have); have it signed"
    return None


def _is_by(key: Key, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify_signature(Signature(key.keyid, signature.hex()), signed)
    except (UnverifiedSignatureError, VerificationError, ValueError):
        return False
    return True


def _envelope(value: t.Any) -> tuple[Envelope, tuple[bytes, ...]]:
    """The envelope without its signatures, and these. Raises ValueError and its like."""
    signatures = value["signatures"]
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= _MOST_SIGNATURES:
        raise ValueError(f"it has not 1 to {_MOST_SIGNATURES} signatures")
    return (
        Envelope.from_dict({**value, "payload": _standard(value["payload"]), "signatures": []}),
        tuple(base64.b64decode(_standard(one["sig"]), validate=True) for one in signatures),
    )


def _standard(text: str) -> str:
    """DSSE allows the base64 of URLs too."""
    return text.replace("-", "+").replace("_", "/")


def _known_predicate(message: statement_pb2.Statement) -> None:
    """Predicates whose published schema is at hand must have its form, with the fields that it requires.

    Raises ValueError or ParseError.
    """
    value = json_format.MessageToDict(message.predicate)
    if message.predicate_type == SLSA:
        provenance = json_format.ParseDict(value, provenance_pb2.Provenance(), ignore_unknown_fields=True)
        if not provenance.build_definition.build_type or not provenance.run_details.builder.id:
            raise ValueError("a SLSA provenance needs buildDefinition.buildType and runDetails.builder.id")
    elif message.predicate_type == TEST_RESULT:
        json_format.ParseDict(value, test_result_pb2.TestResult(), ignore_unknown_fields=True)
        # a statement that says itself that the tests failed proves the opposite of what it is attached for
        if value.get("result") != "PASSED":
            raise ValueError(f"it says that the tests ended with {value.get('result')}")


def _error(reason: str, **more: object) -> RepositoryError:
    return RepositoryError(reason, code="CUSTODY", **more)
