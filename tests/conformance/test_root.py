# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The chain of roots from the pinned one."""

from __future__ import annotations

import json
import typing as t

import pytest
from securesystemslib.signer import CryptoSigner

from .conftest import Client
from .simulator import Simulator


class Step(t.NamedTuple):
    """One version of root: which of some keys it lists, the threshold, which sign it, and whether it is accepted."""

    keys: str
    threshold: int
    signers: str
    good: bool = True


CHAINS: dict[str, list[Step]] = {
    "one key stays": [Step("1", 1, "1"), Step("1", 1, "1")],
    "two of three": [Step("123", 2, "12"), Step("123", 2, "23")],
    "too few of the new": [Step("123", 2, "12"), Step("123", 2, "2", False)],
    "other key, signed by both": [Step("1", 1, "1"), Step("2", 1, "12")],
    "other key, not signed by the old": [Step("1", 1, "1"), Step("2", 1, "2", False)],
    "other key, not signed by the new": [Step("1", 1, "1"), Step("2", 1, "1", False)],
    "other keys one by one": [Step("123", 2, "12"), Step("234", 2, "23"), Step("345", 2, "34"), Step("456", 2, "45")],
    "all keys at once": [Step("123", 2, "12"), Step("456", 2, "1245")],
    "all keys at once, too few old": [Step("123", 2, "12"), Step("456", 2, "145", False)],
    "all keys at once, too few new": [Step("123", 2, "12"), Step("456", 2, "124", False)],
    "threshold raised": [Step("123", 1, "1"), Step("123", 2, "12")],
    "threshold raised, not met": [Step("123", 1, "1"), Step("123", 2, "1", False)],
    "threshold lowered, the old one counts": [Step("123", 2, "12"), Step("123", 1, "1", False)],
    "threshold above the number of keys": [Step("1", 1, "1"), Step("12", 3, "12", False)],
    "foreign signatures do no harm": [Step("1", 1, "1"), Step("1", 1, "15")],
    "a key comes back": [Step("1", 1, "1"), Step("2", 1, "12"), Step("1", 1, "12")],
}
_KEYS = {name: CryptoSigner.generate_ecdsa() for name in "123456"}


def show(repository: Simulator, step: Step) -> None:
    """Make the root what a step says."""
    repository.drop_keys("root")
    for name in step.keys:
        repository.add_key("root", _KEYS[name], signs=False)
    repository.root.roles["root"].threshold = step.threshold
    repository.signers["root"] = [_KEYS[name] for name in step.signers]


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_each_root_is_signed_by_the_one_before_and_by_itself(client: Client, chain: list[Step]) -> None:
    repository = Simulator()
    show(repository, chain[0])
    repository.serve("root")
    assert client.init(repository) == 0 and client.refresh() == 0
    for step in chain[1:]:
        show(repository, step)
        repository.publish("root")
        assert client.refresh() == (0 if step.good else 1)
    assert client.version("root") == len(chain) - (0 if chain[-1].good else 1)


def test_many_at_once_are_followed_one_by_one(client: Client, repository: Simulator) -> None:
    assert client.init(repository) == 0
    for _version in range(2, 7):
        old = repository.signers["root"]
        repository.rotate("root")
        new = repository.signers["root"]
        repository.signers["root"] = old + new
        repository.publish("root")
        repository.signers["root"] = new
    assert client.refresh() == 0
    assert client.version("root") == 6
    assert repository.asked()[:6] == [f"{version}.root.json" for version in range(2, 8)]


def test_the_good_part_of_a_bad_chain_is_kept(client: Client, repository: Simulator) -> None:
    """And a bad root is not (CVE-2020-15163): a client that starts again trusts the last good one."""
    assert client.init(repository) == 0
    repository.publish("root")
    repository.rotate("root")
    repository.publish("root")
    assert client.refresh() == 1
    assert client.version("root") == 2
    del repository.files["metadata/3.root.json"]
    assert client.refresh() == 0
    assert client.versions() == (2, 1, 1, 1)


@pytest.mark.parametrize("offered", [1, 3, 9])
def test_a_root_of_another_version_than_its_name(ready: Client, repository: Simulator, offered: int) -> None:
    repository.root.version = offered
    repository.files["metadata/2.root.json"] = repository.sign("root")
    assert ready.refresh() == 1
    assert ready.version("root") == 1


def test_only_the_last_root_must_not_be_expired(client: Client, repository: Simulator) -> None:
    old = repository.root.expires
    repository.root.expires = old.replace(year=2020)
    repository.serve("root")
    assert client.init(repository) == 0
    repository.publish("root")
    repository.root.expires = old
    repository.publish("root")
    assert client.refresh() == 0
    assert client.version("root") == 3


def test_an_expired_last_root_is_kept_but_nothing_after_it(ready: Client, repository: Simulator) -> None:
    repository.root.expires = repository.end.replace(year=2020)
    repository.publish("root", "targets")
    assert ready.refresh() == 1
    assert ready.versions() == (2, 1, 1, 1)


def test_only_so_many_roots_are_followed_at_once(client: Client, repository: Simulator) -> None:
    """A server with roots without end costs a bounded number of requests; the next run goes on.

    python-tuf starts from its bootstrap root each time: after 256 rotations it needs a newer one to be pinned.
    """
    assert client.init(repository) == 0
    for _version in range(2, 260):
        repository.root.version += 1
        repository.serve("root")
    client.refresh()
    assert len(repository.asked()) <= 256 + 3
    assert client.version("root") == 257
    assert client.refresh() == 0
    assert client.version("root") == (259 if client.kind == "device" else 257)


BAD: dict[str, t.Callable[[dict[str, t.Any]], object]] = {
    "no version": lambda root: root["signed"].pop("version"),
    "unsigned": lambda root: root.update(signatures=[]),
    "another signature": lambda root: root["signatures"][0].update(sig="3045" + "00" * 69),
    "changed": lambda root: root["signed"].update(version=2),
    "another type": lambda root: root["signed"].update(_type="targets"),
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_an_initial_root_that_is_not_one(
    client: Client, repository: Simulator, change: t.Callable[[dict[str, t.Any]], object]
) -> None:
    root = json.loads(t.cast(bytes, repository.files["metadata/1.root.json"]))
    change(root)
    client.init(repository, json.dumps(root).encode())
    assert client.refresh() == 1
    assert repository.asked() == []


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"\x00"], ids=["empty", "cut", "null", "binary"])
def test_an_initial_root_that_cannot_be_read(client: Client, repository: Simulator, content: bytes) -> None:
    client.init(repository, content)
    assert client.refresh() == 1
    assert repository.asked() == []


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "a folder"])
def test_a_trust_root_that_was_lost(ready: Client, repository: Simulator, damage: str) -> None:
    """Keys that are configured but cannot be read must never mean "unverified" (Mender hub 6495).

    python-tuf's cache may be lost: it starts from the pinned root, which must not.
    """
    path = ready.metadata / ("root.json" if ready.kind == "device" else "pinned/root.json")
    content = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "gone":
        path.write_bytes(b"" if damage == "empty" else content[:-20])
    assert ready.refresh() == 1
    assert repository.asked() == []
