# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Custody: in-toto statements are believed only by whom the policy trusts, and only about this release."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import release
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals.requests import ApprovalRequests
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import RepositoryError, TrustError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.policy import attestations
from ansible_collections.fleet.ota.plugins.plugin_utils._control.policy import policy as policies
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository import source
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.proposals.proposal import Change
from securesystemslib.dsse import Envelope

from ..conftest import Site

PROVENANCE: dict[str, t.Any] = {
    "buildDefinition": {"buildType": "https://example.com/build/v1", "externalParameters": {"ref": "v1"}},
    "runDetails": {"builder": {"id": "https://example.com/builder"}},
}
TESTED = {"result": "PASSED", "configuration": [{"name": "suite", "digest": {"sha256": "0" * 64}}]}


class Build:
    """A release, and statements about it by keys that `site` makes."""

    def __init__(self, site: Site) -> None:
        self.site = site
        described, content, payloads = source.read(site.document())
        self.document, self.digest, self.payloads = described, source.digest(content), sorted(payloads)

    def statement(self, *signers: str, kind: str = attestations.SLSA, **changes: t.Any) -> dict[str, t.Any]:
        value = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "app", "digest": {"sha256": sha256}} for sha256 in self.payloads],
            "predicateType": kind,
            "predicate": TESTED if kind == attestations.TEST_RESULT else PROVENANCE,
            **changes,
        }
        envelope = Envelope(json.dumps(value).encode(), attestations.PAYLOAD_TYPE, {})
        for signer in self.site.ring(*signers).signers.values():
            envelope.sign(signer)
        return envelope.to_dict()

    def attachment(self, *signers: str, **changes: t.Any) -> attestations.Attachment:
        return attestations.parse(json.dumps(self.statement(*signers, **changes)).encode(), "statement.json")

    def policy(self, more: t.Sequence[dict[str, t.Any]] = (), **changes: t.Any) -> policies.Policy:
        entry = {"predicate": attestations.SLSA, "keys": ["builder.pub"], **changes}
        path = self.site.folder / "keys" / "policy.yml"
        path.write_text(
            json.dumps({"format": 1, "rules": [{"name": "all", "approvals": {}}], "custody": [entry, *more]})
        )
        return policies.parse(policies.read(path))

    def check(self, *attachments: attestations.Attachment, channel: str = "stable", **changes: t.Any) -> list[str]:
        document = t.cast(release.Document, self.document)
        return attestations.require_custody(attachments, document, self.digest, channel, self.policy(**changes))


@pytest.fixture
def build(empty: Site) -> Build:
    for name in ("builder", "second", "stranger"):
        empty.key(name)
    return Build(empty)


def refused(build: Build, words: str, *attachments: attestations.Attachment, **changes: t.Any) -> None:
    with pytest.raises(RepositoryError, match=words) as error:
        build.check(*attachments, **changes)
    assert error.value.code == "CUSTODY"


def test_a_statement_by_a_trusted_builder_about_these_payloads_counts(build: Build) -> None:
    (line,) = build.check(build.attachment("builder"))
    assert "about 1 of 1 payloads" in line


def test_a_statement_about_the_release_document_covers_its_payloads(build: Build) -> None:
    about = [{"name": "release", "digest": {"sha256": build.digest}}]
    assert build.check(build.attachment("builder", subject=about))


def test_what_the_policy_demands_must_be_there(build: Build) -> None:
    refused(build, "no trusted statement covers app.tar.gz")
    assert build.check(required=False) == []
    assert build.check(channels=["pilot"]) == []


def test_nobody_else_may_vouch(build: Build) -> None:
    refused(build, "not signed by whom the policy trusts", build.attachment("stranger"))
    refused(build, "not signed by whom the policy trusts", build.attachment("builder"), threshold=2,
            keys=["builder.pub", "second.pub"])  # fmt: skip
    assert build.check(build.attachment("builder", "second"), threshold=2, keys=["builder.pub", "second.pub"])


def test_a_copy_of_one_key_is_no_second_signer(build: Build) -> None:
    twin = build.site.folder / "keys" / "twin.pub"
    twin.write_bytes((build.site.folder / "keys" / "builder.pub").read_bytes())
    refused(build, "1 of 2 keys have", build.attachment("builder"), threshold=2,
            keys=["builder.pub", "twin.pub"])  # fmt: skip


@pytest.mark.parametrize("keyid", ["", None, "SHA256:abc", 7], ids=repr)
def test_a_key_id_is_a_hint(build: Build, keyid: t.Any) -> None:
    envelope = build.statement("builder", "second")
    for signature in envelope["signatures"]:
        signature["keyid"] = keyid
        signature["sig"] = signature["sig"].replace("+", "-").replace("/", "_")  # the base64 of URLs
    if keyid is None:
        envelope["signatures"] = [{"sig": one["sig"]} for one in envelope["signatures"]]
    attached = attestations.parse(json.dumps(envelope).encode(), "x")
    assert build.check(attached, keys=["builder.pub", "second.pub"], threshold=2)
    refused(build, "not signed by whom", attached, keys=["stranger.pub"])


def test_the_id_of_a_trusted_key_makes_no_signature(build: Build) -> None:
    envelope = build.statement("stranger")
    envelope["signatures"][0]["keyid"] = build.statement("builder")["signatures"][0]["keyid"]
    refused(build, "not signed by whom", attestations.parse(json.dumps(envelope).encode(), "x"))


def test_of_two_rules_for_one_predicate_both_count(build: Build) -> None:
    two: dict[str, t.Any] = {"keys": ["builder.pub", "second.pub"], "threshold": 2}
    also = [{"predicate": attestations.SLSA, "keys": ["stranger.pub"], "required": False, "channels": ["stable"]}]
    refused(build, "no trusted statement covers app.tar.gz", more=also, **two)
    refused(build, "signed by 2 of the keys", build.attachment("stranger"), more=also, **two)
    assert build.check(build.attachment("builder", "second"), more=also, **two)
    must = [{**also[0], "required": True}]
    refused(build, "signed by 1 of the keys", build.attachment("builder", "second"), more=must, **two)
    assert build.check(build.attachment("builder", "second"), build.attachment("stranger"), more=must, **two)


def test_a_policy_names_channels_that_are_there_and_a_key_once(build: Build) -> None:
    def problems(**changes: t.Any) -> list[str]:
        return policies.unknown_or_doubled(build.policy(**changes), ["stable", "pilot"])

    assert problems(channels=["stable"]) == []
    assert "no channel stabel, only pilot, stable" in problems(channels=["stabel"])[0]
    assert "a key stands twice" in problems(keys=["builder.pub", "builder.pub"])[0]


def test_a_predicate_that_nobody_is_trusted_for_is_refused(build: Build) -> None:
    sbom = build.attachment("builder", kind="https://spdx.dev/Document/v2.3")
    refused(build, "trusts no key for this predicate", build.attachment("builder"), sbom)


def test_a_statement_about_other_files_is_refused(build: Build) -> None:
    other = [{"name": "app", "digest": {"sha256": "1" * 64}}]
    refused(build, "is about other files", build.attachment("builder", subject=other))


def test_one_changed_byte_of_the_payload_of_the_envelope_is_noticed(build: Build) -> None:
    envelope = build.statement("builder")
    other = build.statement("builder", predicate={**PROVENANCE, "note": "another"})
    envelope["payload"] = other["payload"]
    refused(build, "not signed", attestations.parse(json.dumps(envelope).encode(), "x"))


def test_a_test_result_must_say_that_the_tests_passed(build: Build) -> None:
    kind = attestations.TEST_RESULT
    assert build.check(build.attachment("builder", kind=kind), predicate=kind)
    with pytest.raises(RepositoryError, match="tests ended with FAILED"):
        build.attachment("builder", kind=kind, predicate={**TESTED, "result": "FAILED"})


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"subject": []},
        {"subject": [{"name": "app"}]},
        {"subject": [{"name": "app", "digest": {"sha1": "1" * 40}}]},
        {"predicate": {}},
        {"predicate": {"buildDefinition": "text"}},
        {"predicateType": ""},
        {"surprise": 1},
    ],
)
def test_what_is_no_statement_is_refused(build: Build, change: dict[str, t.Any]) -> None:
    with pytest.raises(RepositoryError, match="is no in-toto statement") as error:
        build.attachment("builder", **change)
    assert error.value.code == "CUSTODY"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"payload": "x", "payloadType": "y", "signatures": [{}]}'])
def test_what_is_no_envelope_is_refused(content: bytes) -> None:
    with pytest.raises(RepositoryError, match="is no in-toto statement"):
        attestations.parse(content, "x")


def test_an_envelope_of_something_else_is_refused(build: Build) -> None:
    with pytest.raises(RepositoryError, match="its payload is 'text/plain'"):
        attestations.parse(json.dumps({**build.statement("builder"), "payloadType": "text/plain"}).encode(), "x")


def test_a_missing_file_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(RepositoryError, match="cannot be read") as error:
        attestations.read(tmp_path / "provenance.json")
    assert error.value.code == "CUSTODY"


# -- with a release in a repository --------------------------------------------------------------------------------


class Owner(Build):
    """The build's release in a repository whose policy demands provenance everywhere and test results in `stable`."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        site.make()
        path = site.folder / "keys" / "policy.yml"
        rules = [{"name": "all", "approvals": {}}]
        demands = [
            {"predicate": attestations.SLSA, "keys": ["builder.pub"]},
            {"predicate": attestations.TEST_RESULT, "keys": ["second.pub"], "channels": ["stable"]},
        ]
        path.write_text(json.dumps({"format": 1, "rules": rules, "custody": demands}))
        ApprovalRequests(site.repository()).publish(policies.read(path), site.ring())

    def publish(self, *attachments: attestations.Attachment, channel: str = "pilot") -> Change:
        return self.site.repository().publish(channel, self.site.document(), self.site.ring(), attachments=attachments)

    def promote(self, *attachments: attestations.Attachment) -> Change:
        return self.site.repository().promote("gateway", "1.0", "stable", self.site.ring(), attachments=attachments)


@pytest.fixture
def owner(empty: Site) -> Owner:
    for name in ("builder", "second", "stranger"):
        empty.key(name)
    return Owner(empty)


def test_a_release_is_published_only_with_its_statements(owner: Owner) -> None:
    with pytest.raises(RepositoryError, match=r"no trusted statement covers app\.tar\.gz") as error:
        owner.publish()
    assert error.value.code == "CUSTODY"
    assert owner.site.repository().releases() == []
    change = owner.publish(owner.attachment("builder"))
    assert change.changed
    assert "about 1 of 1 payloads" in change.after[-1]


def test_statements_go_along_and_more_are_added(owner: Owner) -> None:
    provenance = owner.attachment("builder")
    owner.publish(provenance)
    with pytest.raises(RepositoryError, match=r"test-result/v0\.1: no trusted statement covers"):
        owner.promote()
    assert owner.promote(owner.attachment("second", kind=attestations.TEST_RESULT)).changed
    assert len(owner.site.fetch().custody) == 2
    assert len(owner.site.fetch(channel="pilot").custody) == 1


def test_the_same_statements_again_change_nothing(owner: Owner) -> None:
    provenance = owner.attachment("builder")
    assert owner.publish(provenance).changed
    assert not owner.publish(provenance).changed
    assert not owner.publish().changed
    assert owner.publish(owner.attachment("builder", predicate={**PROVENANCE, "note": "again"})).changed


def test_a_statement_that_nobody_signed_any_more_stops_the_rollout(owner: Owner) -> None:
    """The policy may change after a release was published: it is asked again before every rollout."""
    owner.publish(owner.attachment("builder"))
    assert owner.site.fetch(channel="pilot").custody
    path = owner.site.folder / "keys" / "policy.yml"
    path.write_text(path.read_text().replace("builder.pub", "stranger.pub"))
    ApprovalRequests(owner.site.repository()).publish(policies.read(path), owner.site.ring())
    with pytest.raises(RepositoryError, match="not signed by whom the policy trusts"):
        owner.site.fetch(channel="pilot")


def test_a_lost_statement_is_noticed(owner: Owner) -> None:
    owner.publish(owner.attachment("builder"))
    (path,) = (owner.site.path / "targets/pilot/gateway").glob("*.intoto.json")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TrustError):
        owner.site.fetch(channel="pilot")
