# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Downloading what metadata lists, and nothing else."""

from __future__ import annotations

import hashlib
import typing as t

import pytest

from .conftest import Client
from .simulator import Simulator

GOOD = {"sha256": hashlib.sha256(b"content").hexdigest()}


@pytest.mark.parametrize("name", ["file.txt", "path/to/a/file.txt", "a b", "ä", "a#b", "a?b", "..", "a/../b", "%2e%2e"])
@pytest.mark.parametrize("consistent", [True, False])
def test_names(client: Client, name: str, consistent: bool) -> None:
    """Whatever it is called, it stays inside the folder.

    python-tuf does not quote names in URLs: some it cannot get.
    """
    repository = Simulator(consistent=consistent)
    repository.add_target("targets", name, b"content")
    if not consistent:
        repository.files["targets/" + name] = b"content"
    repository.publish("targets")
    assert client.init(repository) == 0
    around = sorted(client.folder.iterdir())
    code = client.download(name)
    unable = client.kind == "controller" and any(odd in name for odd in ("#", "?", "..", "%"))
    assert code == 0 or unable
    assert client.got() == ([b"content"] if code == 0 else [])
    assert sorted(client.folder.iterdir()) == around


def test_what_is_here_already_is_not_fetched_again(ready: Client, repository: Simulator) -> None:
    repository.add_target("targets", "file", b"content")
    repository.publish("targets")
    assert ready.download("file") == 0
    repository.requests.clear()
    assert ready.download("file") == 0
    assert not any(path.startswith("targets/") for path in repository.requests)
    repository.add_target("targets", "file", b"another content")
    repository.publish("targets")
    assert ready.download("file") == 0
    assert ready.got() == [b"another content"]


@pytest.mark.parametrize("content", [b"contenX", b"conten", b"content and more", b"", 404, 500, 403])
def test_another_content_than_was_signed(ready: Client, repository: Simulator, content: bytes | int) -> None:
    repository.add_target("targets", "file", b"content")
    repository.publish("targets")
    name = next(path for path in repository.files if path.startswith("targets/"))
    repository.files[name] = content
    assert ready.download("file") == 1
    assert ready.got() == []


@pytest.mark.parametrize(
    ("hashes", "good"),
    [
        (GOOD, True),
        ({**GOOD, "sha512": hashlib.sha512(b"content").hexdigest()}, True),
        ({**GOOD, "sha512": "0" * 128}, False),
        ({}, False),
        (None, False),
        ({"SHA256": GOOD["sha256"]}, False),
        ({"sha256": GOOD["sha256"].upper()}, False),
        ({"sha256": " " + GOOD["sha256"]}, False),
        ({"sha256": ""}, False),
        ({"sha256": GOOD["sha256"][:20]}, False),
        ({"crc32": "0"}, False),
        ({**GOOD, "crc32": "0"}, False),
        ({"sha256": 1}, False),
        ({"sha256": None}, False),
        ([GOOD["sha256"]], False),
    ],
)
def test_hashes(ready: Client, repository: Simulator, hashes: t.Any, good: bool) -> None:
    """None at all, unknown ones, and other ways of writing are refusals, never "nothing to check" (CVE-2025-67903).

    python-tuf asks openssl for the function, which knows SHA256 too: it does check there.
    """
    repository.add_target("targets", "file", b"content")
    repository.publish("targets")
    entry = {"length": 7, "hashes": hashes}
    if hashes is None:
        del entry["hashes"]
    repository.bend("targets", lambda signed: signed["targets"].update(file=entry))
    for value in list(hashes.values() if isinstance(hashes, dict) else []):
        repository.files[f"targets/{value}.file"] = b"content"
    good = good or (ready.kind == "controller" and "SHA256" in (hashes or ()))
    assert ready.download("file") == (0 if good else 1)
    assert ready.got() == ([b"content"] if good else [])


@pytest.mark.parametrize("length", [6, 8, 0, -7, "7", None, True, 7.0])
def test_lengths(ready: Client, repository: Simulator, length: t.Any) -> None:
    repository.add_target("targets", "file", b"content")
    repository.publish("targets")
    repository.bend("targets", lambda signed: signed["targets"]["file"].update(length=length))
    assert ready.download("file") == 1
    assert ready.got() == []


def test_an_empty_artifact(ready: Client, repository: Simulator) -> None:
    repository.add_target("targets", "file", b"")
    repository.publish("targets")
    assert ready.download("file") == 0
    assert ready.got() == [b""]


def test_custom_may_be_anything(ready: Client, repository: Simulator) -> None:
    info = repository.add_target("targets", "file", b"content")
    info.unrecognized_fields["custom"] = {"a": [None, {"b": True}]}
    info.unrecognized_fields["more"] = "c"
    repository.publish("targets")
    assert ready.download("file") == 0
