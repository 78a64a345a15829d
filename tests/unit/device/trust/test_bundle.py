# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a verified bundle tells beside its release: other documents, and who vouches for them."""

from __future__ import annotations

import functools
import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device import trust
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.trust import Accepted, Trust
from ansible_collections.fleet.ota.plugins.module_utils._device.trust.publickey import parse

from ..signing import Key, Repository, canonical

PLAN = "plans/one.json"
Change = t.Callable[[t.Dict[str, t.Any]], t.Any]


@pytest.fixture()
def layout(tmp_path: Path, repository: Repository) -> Layout:
    """A device that trusts the repository, in which a release and a plan are published."""
    found = Layout(str(tmp_path))
    found.prepare()
    Path(found.file("trust", "root.json")).write_text(repository.root())
    repository.publish({"name": "app", "version": "1"})
    return found


@pytest.fixture()
def plans(repository: Repository, keys: list[Key]) -> Repository:
    """The repository with a second role, ``approvals``, two of three for ``plans/*``."""
    repository.delegate("approvals", ["plans/*"], [keys[0], keys[4], keys[5]], threshold=2, signers=[keys[4], keys[5]])
    repository.add("approvals", PLAN, b"a plan", {"for": "app 1"})
    return repository


def refusal(act: t.Callable[[], t.Any]) -> str:
    """The code with which ``act`` is refused."""
    with pytest.raises(OtaError) as caught:
        act()
    return caught.value.code


def accept(layout: Layout, repository: Repository, **changes: t.Any) -> Accepted:
    """The bundle with changes, accepted."""
    return Trust(layout).accept(repository.bundle(**changes))


def test_the_release_is_a_document_too(layout: Layout, repository: Repository) -> None:
    accepted = accept(layout, repository)
    document = accepted.document(accepted.target)
    assert document is not None and document.content == accepted.content == repository.release
    assert (document.role, document.threshold, accepted.threshold) == ("stable", 2, "2 of 2")


def test_who_vouches_is_who_signed(layout: Layout, plans: Repository, keys: list[Key]) -> None:
    document = accept(layout, plans).document(PLAN)
    assert document is not None
    assert (document.content, document.role, document.threshold) == (b"a plan", "approvals", 2)
    assert document.custom == {"for": "app 1"}
    signed_by = [parse(key.public) for key in (keys[4], keys[5])]
    assert set(document.signers) == {key.value for key in signed_by if key}
    assert set(document.keyids) == {keys[4].id, keys[5].id}


def test_what_nobody_lists_is_none(layout: Layout, plans: Repository) -> None:
    accepted = accept(layout, plans)
    assert accepted.lists(PLAN) and not accepted.lists("plans/two.json")
    assert accepted.document("plans/two.json") is None
    assert accepted.document("elsewhere") is None


def test_withholding_is_not_the_same_as_not_listing(layout: Layout, plans: Repository) -> None:
    whole = plans.bundle()
    without = {"stable": whole["roles"]["stable"]}
    accepted = accept(layout, plans, roles=without)
    assert refusal(lambda: accepted.lists(PLAN)) == "METADATA"
    assert refusal(lambda: accepted.document("plans/two.json")) == "METADATA"
    assert accepted.lists("elsewhere") is False
    accepted = accept(layout, plans, documents={plans.target: whole["documents"][plans.target]})
    assert accepted.lists(PLAN)
    assert refusal(lambda: accepted.document(PLAN)) == "METADATA"


@pytest.mark.parametrize(("content", "code"), [("b plan", "HASH_MISMATCH"), ("a plan ", "LENGTH_MISMATCH")])
def test_another_content_is_refused(layout: Layout, plans: Repository, content: str, code: str) -> None:
    documents = {**plans.bundle()["documents"], PLAN: content}
    assert refusal(lambda: accept(layout, plans, documents=documents).document(PLAN)) == code


def test_a_release_is_not_taken_from_a_role_beside_the_channel(layout: Layout, plans: Repository) -> None:
    assert refusal(lambda: accept(layout, plans, target=PLAN)) == "METADATA"
    assert refusal(lambda: accept(layout, plans, channel="targets")) == "METADATA"


def test_a_look_keeps_nothing(layout: Layout, repository: Repository) -> None:
    before = {path.name: path.read_bytes() for path in Path(layout.file("trust")).iterdir()}
    Trust(layout).accept(repository.bundle(), keep=False)
    assert {path.name: path.read_bytes() for path in Path(layout.file("trust")).iterdir()} == before


def test_texts_that_are_no_unicode_are_no_metadata(layout: Layout, repository: Repository) -> None:
    roles = {"stable": repository.bundle()["roles"]["stable"] + "\ud800"}
    assert refusal(lambda: accept(layout, repository, roles=roles)) == "METADATA"
    assert refusal(lambda: accept(layout, repository, target="stable/\ud800/1")) == "METADATA"
    assert refusal(lambda: accept(layout, repository, root=["\ud800"])) == "METADATA"


def test_roots_come_in_any_order_and_garbage_is_refused(layout: Layout, repository: Repository) -> None:
    roots = []
    for version in (1, 2, 3):
        repository.root_version = version
        roots.append(repository.root())
    assert accept(layout, repository, root=[roots[2], roots[0], roots[1]]).root_version == 3
    assert json.loads(Path(layout.file("trust", "root.json")).read_text())["signed"]["version"] == 3
    assert refusal(lambda: accept(layout, repository, root=["x"])) == "METADATA"
    assert refusal(lambda: accept(layout, repository, root=[None])) == "METADATA"
    assert refusal(lambda: accept(layout, repository, root=["x"] * 1025)) == "METADATA"
    assert refusal(lambda: accept(layout, repository, root="x")) == "METADATA"
    assert refusal(lambda: accept(layout, repository, root=5)) == "METADATA"
    assert refusal(lambda: accept(layout, repository, root=[roots[0]] * 1025)) == "METADATA"
    assert accept(layout, repository, root=[roots[0]] * 1024).root_version == 3
    for odd in ('"4"', "null", "[]", "4.0"):
        offered = [roots[1], roots[2].replace('"version": 3', '"version": ' + odd)]
        assert refusal(functools.partial(accept, layout, repository, root=offered)) == "METADATA"


def test_a_bundle_need_not_bring_roots(layout: Layout, repository: Repository) -> None:
    bundle = repository.bundle()
    del bundle["root"]
    assert Trust(layout).accept(bundle).root_version == 1


@pytest.mark.parametrize("name", ["roles", "documents"])
@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_mappings_are_mappings(layout: Layout, repository: Repository, name: str, value: t.Any) -> None:
    assert refusal(lambda: accept(layout, repository, **{name: value})) == "METADATA"


def test_metadata_is_no_larger_than_its_kind_may_be(layout: Layout, repository: Repository) -> None:
    """White space is no part of what is signed."""
    repository.described = False
    whole = repository.bundle()
    for name, limit in (("timestamp", 16_384), ("snapshot", 2_000_000), ("targets", 5_000_000)):
        padded = whole[name].ljust(limit)
        assert accept(layout, repository, **{name: padded}).root_version == 1
        assert refusal(functools.partial(accept, layout, repository, **{name: padded + " "})) == "METADATA"
    repository.root_version = 2
    padded = repository.root().ljust(512_000)
    assert refusal(lambda: accept(layout, repository, root=[padded + " "])) == "METADATA"
    assert accept(layout, repository, root=[padded]).root_version == 2


@pytest.mark.parametrize(
    ("member", "code"),
    [
        ("1", None),
        ("1.5", "METADATA"),
        ("NaN", "METADATA"),
        ("1e3", "METADATA"),
        ("9" * 18, None),
        ("9" * 19, "METADATA"),
        ("true", None),
        ("{}", None),
        ('{"b": 1, "a": [2, {}]}', None),
        ('{"a": 1, "a": 1}', "METADATA"),
        ('"\\ud800"', "METADATA"),
        ("[" * 5000 + "]" * 5000, "METADATA"),
        ("[" * 450 + "]" * 450, "METADATA or SIGNATURE"),
    ],
)
def test_what_is_signed_is_read_in_one_way_only(
    layout: Layout, repository: Repository, keys: list[Key], member: str, code: str | None
) -> None:
    """A number that another parser would read as null must not be taken for the null that was signed."""
    text = repository.bundle()["timestamp"]
    signed = json.loads(text)["signed"]
    value = None if code else json.loads(member)
    signature = keys[2].sign(canonical({**signed, "more": value}))
    raw = json.dumps({**signed, "more": "@"}).replace('"@"', member)
    made = '{"signed": %s, "signatures": [{"keyid": "%s", "sig": "%s"}]}' % (raw, keys[2].id, signature)
    if code:
        assert refusal(lambda: accept(layout, repository, timestamp=made)) in code
    else:
        assert accept(layout, repository, timestamp=made).root_version == 1


def test_a_search_that_does_not_end_tells_nothing(layout: Layout, repository: Repository, keys: list[Key]) -> None:
    """Thirty-two roles are asked; with one more the answer would be a guess."""
    for number in range(32):
        repository.delegate("r%d" % number, ["x/*"], keys[4:5], threshold=1, signers=keys[4:5])
    assert accept(layout, repository).lists("x/y") is False
    repository.delegate("last", ["x/*"], keys[4:5], threshold=1, signers=keys[4:5])
    repository.publish({"name": "app", "version": "2"})
    accepted = accept(layout, repository)
    assert refusal(lambda: accepted.lists("x/y")) == "METADATA"
    assert accepted.lists("y") is False


FORMS: list[tuple[str, Change, str]] = [
    ("timestamp", lambda whole: whole.update(signatures={}), "not a list"),
    ("timestamp", lambda whole: whole["signatures"].append(whole["signatures"][0]), "signed twice"),
    ("timestamp", lambda whole: whole.pop("signatures"), "lacks 'signatures'"),
    ("snapshot", lambda whole: whole["signed"].update(meta={}), "does not list targets.json"),
    ("targets", lambda whole: whole["signed"]["delegations"].update(roles={}), "not a list"),
    ("targets", lambda whole: whole["signed"]["delegations"].update(succinct_roles={}), "TAP 15"),
    ("targets", lambda whole: whole["signed"].update(_type="root"), "it is 'root'"),
    (
        "targets",
        lambda whole: whole["signed"]["delegations"]["roles"][0].update(threshold=True),
        "is True, not a whole",
    ),
]


@pytest.mark.parametrize(("name", "change", "message"), FORMS)
def test_what_is_wrong_is_told(
    layout: Layout, repository: Repository, keys: list[Key], name: str, change: Change, message: str
) -> None:
    repository.described = False
    whole = json.loads(repository.bundle()[name])
    change(whole)
    if "signed" not in message and name != "timestamp":
        signer = repository.signers[name][0]
        whole["signatures"] = [{"keyid": signer.id, "sig": signer.sign(canonical(whole["signed"]))}]
    with pytest.raises(OtaError, match=message) as caught:
        accept(layout, repository, **{name: json.dumps(whole)})
    assert caught.value.code == "METADATA"
    assert not Path(layout.file("trust", name + ".json")).exists()


@pytest.mark.parametrize("value", [1.5, b"x", object(), ("a",)])
def test_only_json_can_be_signed(value: t.Any) -> None:
    assert refusal(lambda: trust.canonical({"a": [value]})) == "METADATA"


def test_a_root_to_pin_is_signed_by_itself(repository: Repository) -> None:
    assert trust.pinned(repository.root())["version"] == 1
    whole = json.loads(repository.root())
    changes: list[dict[str, t.Any]] = [{"signatures": []}, {"signed": {**whole["signed"], "version": 2}}]
    for change in changes:
        assert refusal(functools.partial(trust.pinned, json.dumps({**whole, **change}))) == "SIGNATURE"
    assert refusal(lambda: trust.pinned("\ud800")) == "METADATA"


@pytest.mark.parametrize(("left", "code"), [(0, "SIGNATURE"), (1, "THRESHOLD")])
def test_none_and_too_few_are_told_apart(layout: Layout, repository: Repository, left: int, code: str) -> None:
    whole = json.loads(repository.bundle()["roles"]["stable"])
    whole["signatures"] = whole["signatures"][:left]
    assert refusal(lambda: accept(layout, repository, roles={"stable": json.dumps(whole)})) == code
