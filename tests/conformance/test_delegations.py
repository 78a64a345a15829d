# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which delegated roles are asked, in which order, and what they are trusted for."""

from __future__ import annotations

import hashlib
import typing as t
import urllib.parse

import pytest

from .conftest import Client
from .simulator import Simulator

Edge = tuple[str, str, dict[str, t.Any]]
END = {"terminating": True}
PY = {"paths": ["*.py"]}

GRAPHS: dict[str, tuple[list[Edge], str]] = {
    "one": ([("targets", "A", {})], "A"),
    "side by side": ([("targets", "A", {}), ("targets", "B", {})], "A B"),
    "below the second": ([("targets", "A", {}), ("targets", "B", {}), ("B", "C", {})], "A B C"),
    "depth first": ([("targets", "A", {}), ("targets", "B", {}), ("A", "C", {}), ("A", "D", {})], "A C D B"),
    "deeper": ([("targets", "A", {}), ("targets", "B", {}), ("A", "C", {}), ("C", "D", {})], "A C D B"),
    "terminating": ([("targets", "A", {}), ("targets", "B", {}), ("A", "C", END), ("A", "D", {})], "A C"),
    "below terminating": ([("targets", "A", {}), ("targets", "B", {}), ("A", "C", END), ("C", "D", {})], "A C D"),
    "terminating for others": ([("targets", "A", {**PY, **END}), ("targets", "B", {})], "B"),
    "not for this path": ([("targets", "A", PY), ("targets", "B", {}), ("A", "C", {})], "B"),
    "not below for this path": ([("targets", "A", {}), ("targets", "B", {}), ("A", "C", PY), ("C", "D", {})], "A B"),
    "a circle": ([("targets", "B", {}), ("B", "C", {}), ("C", "D", {}), ("D", "B", {})], "B C D"),
    "to itself": ([("targets", "A", {}), ("A", "A", {})], "A"),
    "two ways": ([("targets", "A", {}), ("targets", "B", {}), ("B", "C", {}), ("A", "C", {})], "A C B"),
    "two ways, one closed": ([("targets", "A", {}), ("targets", "B", {}), ("B", "C", {}), ("A", "C", PY)], "A B C"),
    "case counts": ([("targets", "A", {"paths": ["MISSING*"]}), ("targets", "B", {"paths": ["missing?path"]})], ""),
    "no paths": ([("targets", "A", {"paths": []}), ("targets", "B", {"paths": ["x", "miss[i]ng*"]})], "B"),
}


def build(repository: Simulator, edges: list[Edge]) -> None:
    for by, role, options in edges:
        repository.delegate(by, role, **options)
    repository.publish("targets", *repository.delegated)


def asked(repository: Simulator) -> list[str]:
    """The delegated roles that were asked for."""
    names = [urllib.parse.unquote(name.split(".", 1)[1][: -len(".json")]) for name in repository.asked()]
    return [name for name in names if name in repository.delegated]


@pytest.mark.parametrize(("edges", "order"), GRAPHS.values(), ids=GRAPHS)
def test_order_of_the_search(client: Client, repository: Simulator, edges: list[Edge], order: str) -> None:
    build(repository, edges)
    assert client.init(repository) == 0
    assert client.download("missingpath") == 1
    assert asked(repository) == order.split()


@pytest.mark.parametrize(
    ("path", "found", "order"),
    [
        ("top", True, ""),
        ("README.md", True, "A"),
        ("releases/x/x_v1", True, "B C"),
        ("releases/y/y_v1.zip", True, "B D"),
        ("releases/z/z_v1.zip", False, "B"),
        ("deep/README.md", False, ""),
        ("releases/x", False, ""),
        ("readme.MD", False, ""),
    ],
)
def test_paths(client: Client, repository: Simulator, path: str, found: bool, order: str) -> None:
    repository.delegate("targets", "A", paths=["*.doc", "*.md"])
    repository.delegate("targets", "B", paths=["releases/*/*"])
    repository.delegate("B", "C", paths=["releases/x/*"])
    repository.delegate("B", "D", paths=["releases/y/*.zip"])
    listed = [("targets", "top"), ("A", "README.md"), ("C", "releases/x/x_v1"), ("D", "releases/y/y_v1.zip")]
    for role, name in [*listed, ("D", "releases/z/z_v1.zip"), ("A", "deep/README.md"), ("A", "readme.MD")]:
        repository.add_target(role, name, name.encode())
    repository.publish("targets", *repository.delegated)
    assert client.init(repository) == 0
    assert client.download(path) == (0 if found else 1)
    assert asked(repository) == order.split()
    assert client.got() == ([path.encode()] if found else [])


@pytest.mark.parametrize("prefix", ["", "right", "right+", "wrong", "upper", "too long"])
def test_hash_prefixes(client: Client, repository: Simulator, prefix: str) -> None:
    digest = hashlib.sha256(b"artifact").hexdigest()
    upper = next(digest[:number].upper() for number in range(1, 65) if digest[:number].upper() != digest[:number])
    wrong = ("0" if digest[0] != "0" else "1") + digest[1:4]
    prefixes = {"": "", "right": digest[:3], "right+": digest, "wrong": wrong, "upper": upper, "too long": digest + "0"}
    repository.delegate("targets", "A", path_hash_prefixes=["f" * 70, prefixes[prefix]])
    repository.add_target("A", "artifact", b"content")
    repository.publish("targets", "A")
    assert client.init(repository) == 0
    good = prefix in ("", "right", "right+")
    assert client.download("artifact") == (0 if good else 1)
    assert asked(repository) == (["A"] if good else [])


@pytest.mark.parametrize("damage", ["missing", "garbage", "unsigned", "expired", "not in snapshot", "other version"])
def test_a_role_that_cannot_be_verified_is_not_passed_over(client: Client, repository: Simulator, damage: str) -> None:
    """Or whoever withholds it would decide which later role answers."""
    repository.delegate("targets", "A")
    repository.delegate("targets", "B")
    repository.add_target("B", "artifact", b"from B")
    if damage == "expired":
        repository.delegated["A"].expires = repository.end.replace(year=2020)
    repository.publish("targets", "A", "B")
    name = repository.name("A")
    if damage == "missing":
        del repository.files[name]
    elif damage == "garbage":
        repository.files[name] = b"garbage"
    elif damage == "unsigned":
        repository.bend("A", lambda whole: whole.update(signatures=[]), sign=False)
    elif damage == "not in snapshot":
        del repository.snapshot.meta["A.json"]
        repository.publish("snapshot")
    elif damage == "other version":
        repository.delegated["A"].version = 7
        repository.files[name] = repository.sign("A")
    assert client.init(repository) == 0
    assert client.download("artifact") == 1
    assert client.got() == []


def test_thresholds_of_delegations(client: Client, repository: Simulator) -> None:
    repository.delegate("targets", "A", threshold=2)
    repository.add_target("A", "artifact", b"content")
    repository.publish("targets", "A")
    assert client.init(repository) == 0
    assert client.download("artifact") == 1
    repository.add_key("A", by="targets")
    repository.publish("targets", "A")
    assert client.download("artifact") == 0


def test_what_is_kept_is_verified_as_it_is_delegated_now(client: Client, repository: Simulator) -> None:
    """python-tuf 7.0.0 trusted a cached role whose delegator had changed its keys."""
    repository.delegate("targets", "A")
    repository.add_target("A", "artifact", b"content")
    repository.publish("targets", "A")
    assert client.init(repository) == 0
    assert client.download("artifact") == 0
    assert repository.targets.delegations and repository.targets.delegations.roles
    role = repository.targets.delegations.roles["A"]
    repository.targets.revoke_key(role.keyids[0], "A")
    repository.add_key("A", by="targets", signs=False)
    repository.publish("targets")
    repository.files["targets/" + hashlib.sha256(b"content").hexdigest() + ".artifact"] = 404
    assert client.download("artifact") == 1
    assert client.version("A") == 2


def test_the_same_role_by_two_delegators_is_verified_for_each(client: Client, repository: Simulator) -> None:
    """A's delegation to C names another key than B's: C is asked by A first, and refused."""
    for role in ("A", "B"):
        repository.delegate("targets", role)
        repository.delegate(role, "C")
    delegations = repository.delegated["A"].delegations
    assert delegations and delegations.roles
    repository.delegated["A"].revoke_key(delegations.roles["C"].keyids[0], "C")
    repository.add_key("C", by="A", signs=False)
    repository.add_target("C", "artifact", b"content")
    repository.publish("targets", "A", "B", "C")
    assert client.init(repository) == 0
    assert client.download("artifact") == 1


@pytest.mark.parametrize(("count", "found"), [(32, True), (33, False)])
def test_a_search_ends(client: Client, repository: Simulator, count: int, found: bool) -> None:
    for number in range(count):
        repository.delegate("targets", f"role-{number}")
    repository.add_target(f"role-{count - 1}", "artifact", b"content")
    repository.publish("targets", *repository.delegated)
    assert client.init(repository) == 0
    assert client.download("artifact") == (0 if found else 1)
    assert len(asked(repository)) == 32


@pytest.mark.parametrize("role", ["?", "#", "/A", "../A", "..", ".", "a b", "ä", "a%2Fb", "con\n", "-", "root.json"])
def test_odd_names_of_roles(client: Client, repository: Simulator, role: str) -> None:
    """They are asked for as one quoted name, and kept inside the folder (CVE-2021-41131)."""
    repository.delegate("targets", role)
    repository.publish("targets", role)
    assert client.init(repository) == 0
    around = sorted(client.folder.iterdir())
    assert client.download("nothing") == 1
    assert f"2.{urllib.parse.quote(role, safe='')}.json" in repository.asked()
    assert sorted(client.folder.iterdir()) == around
    assert len(client.trusted()) == 5


WRONG: dict[str, t.Callable[[dict[str, t.Any]], object]] = {
    "a top-level name": lambda role: role.update(name="snapshot"),
    "an empty name": lambda role: role.update(name=""),
    "paths and prefixes": lambda role: role.update(path_hash_prefixes=["a"]),
    "neither": lambda role: role.pop("paths"),
    "paths a text": lambda role: role.update(paths="*"),
    "a path a number": lambda role: role.update(paths=["*", 1]),
    "terminating a number": lambda role: role.update(terminating=0),
    "terminating missing": lambda role: role.pop("terminating"),
    "threshold 0": lambda role: role.update(threshold=0),
    "a key id twice": lambda role: role.update(keyids=role["keyids"] * 2),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_delegation_that_is_none(
    client: Client, repository: Simulator, change: t.Callable[[dict[str, t.Any]], object], request: t.Any
) -> None:
    repository.delegate("targets", "A")
    repository.add_target("A", "artifact", b"content")
    repository.publish("targets", "A")
    repository.bend("targets", lambda signed: change(signed["delegations"]["roles"][0]))
    assert client.init(repository) == 0
    # python-tuf takes a number for a flag, and a text for a list of its letters.
    lenient = request.node.callspec.id.split("-", 1)[1] in ("terminating a number", "paths a text")
    assert client.refresh() == (0 if lenient and client.kind == "controller" else 1)


def test_a_role_twice_and_succinct_roles(client: Client, repository: Simulator) -> None:
    """TAP 15 is python-tuf's; a device says that it cannot follow it rather than find nothing."""
    repository.delegate("targets", "A")
    repository.publish("targets", "A")
    repository.bend("targets", lambda signed: signed["delegations"]["roles"].append(signed["delegations"]["roles"][0]))
    assert client.init(repository) == 0
    assert client.refresh() == 1
    succinct = {"keyids": [], "threshold": 1, "bit_length": 2, "name_prefix": "bin"}

    def change(signed: dict[str, t.Any]) -> None:
        signed["delegations"] = {"keys": {}, "succinct_roles": succinct}

    repository.bend("targets", change)
    assert client.refresh() == (0 if client.kind == "controller" else 1)
