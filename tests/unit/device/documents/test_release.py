# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The release document: every mistake is named, at once."""

from __future__ import annotations

import copy
import tarfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import release
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds.payloads import archive


@pytest.fixture()
def author(tmp_path: Path) -> dict[str, t.Any]:
    """A release as a person writes it, with its archive."""
    (tmp_path / "file").write_text("x")
    with tarfile.open(str(tmp_path / "app.tar"), "w") as handle:
        handle.add(str(tmp_path / "file"), "bin/app")
    payload = {"name": "app", "type": "archive", "source": "app.tar", "destination": "/opt/app"}
    return {"format": 1, "name": "app", "version": "1", "counter": 1, "payloads": [payload]}


def test_what_is_signed_can_be_parsed_and_is_always_the_same(author: dict[str, t.Any], tmp_path: Path) -> None:
    document, files = release.describe(author, tmp_path)
    content = release.canonical(document)
    assert release.parse(content) == document
    assert release.canonical(release.describe(copy.deepcopy(author), tmp_path)[0]) == content
    assert [path.name for path in files.values()] == ["app.tar"]


def test_every_mistake_is_named_at_once(author: dict[str, t.Any], tmp_path: Path) -> None:
    author.update(version=2, counter=0, protect=["etc"], surprise=1)
    author["payloads"].append({"name": "app", "type": "tarball"})
    author["health"] = {"checks": [{"name": "a", "type": "guess"}, {"name": "b", "type": "tcp"}]}
    with pytest.raises(release.ReleaseError) as error:
        release.describe(author, tmp_path)
    text = "\n".join(error.value.problems)
    for word in (
        "surprise",
        "version: must be a text",
        "counter: 0 is out of range",
        "protect: entry 0",
        "'tarball' is not a payload type",
        "payloads[1].name",
        "'guess' is not a kind of check",
        "checks[1]: 'port' is missing",
    ):
        assert word in text, word


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"name": "../x"}, "name"),
        ({"version": "a/b"}, "version"),
        ({"counter": True}, "counter"),
        ({"format": 2}, "format"),
        ({"payloads": []}, "payloads"),
        ({"compatible": {"hardware": "edge"}}, "compatible.hardware"),
        ({"requires": {"free_space": -1}}, "requires.free_space"),
        ({"from": {"counter": 0}}, "from.counter"),
        ({"from": {"versions": []}}, "from.versions"),
        ({"from": {"fresh": "no"}}, "from.fresh"),
        ({"from": {"version": ["1"]}}, "from"),
    ],
)
def test_bad_values(author: dict[str, t.Any], change: dict[str, t.Any], word: str) -> None:
    author.update(change)
    problems = release.validate(author, signed=False)
    assert len(problems) == 1 and problems[0].startswith(word), problems


def _members(document: release.Document) -> list[archive.Member]:
    return t.cast("list[archive.Member]", t.cast(archive.ArchivePayload, document["payloads"][0])["members"])


@pytest.mark.parametrize("name", ["../evil", "/abs", "a//b", "."])
def test_member_paths_stay_inside(author: dict[str, t.Any], tmp_path: Path, name: str) -> None:
    document, _files = release.describe(author, tmp_path)
    _members(document)[0]["path"] = name
    assert release.validate(document, signed=True)


@pytest.mark.parametrize(("target", "good"), [("app", True), ("../lib", True), ("../../etc", False), ("/etc", False)])
def test_links_stay_inside(author: dict[str, t.Any], tmp_path: Path, target: str, good: bool) -> None:
    document, _files = release.describe(author, tmp_path)
    member: archive.Member = {"path": "bin/link", "type": "symlink", "mode": "0777", "target": target}
    _members(document).append(member)
    assert (release.validate(document, signed=True) == []) is good


def test_a_missing_file_is_named(author: dict[str, t.Any], tmp_path: Path) -> None:
    author["payloads"][0]["source"] = "nothing.tar"
    with pytest.raises(release.ReleaseError, match=r"no file nothing\.tar"):
        release.describe(author, tmp_path)


def test_a_key_that_stands_twice_is_refused(author: dict[str, t.Any], tmp_path: Path) -> None:
    text = release.canonical(release.describe(author, tmp_path)[0]).decode()
    with pytest.raises(release.ReleaseError, match="twice"):
        release.parse(text.replace('"counter":1', '"counter":1,"counter":2'))


@pytest.mark.parametrize(
    ("wanted", "current", "word"),
    [
        ({}, None, None),
        ({}, ("1", 1), None),
        ({"counter": 3}, None, None),
        ({"counter": 3}, ("2.9", 2), "counter 3 or newer only, here is 2.9"),
        ({"counter": 3}, ("3", 3), None),
        ({"counter": 3, "fresh": False}, None, "an update only"),
        ({"versions": ["1.9", "1.10"]}, ("1.8", 8), "over 1.9, 1.10 only"),
        ({"versions": ["1.9", "1.10"]}, ("1.10", 10), None),
    ],
)
def test_which_release_it_goes_over(
    wanted: dict[str, t.Any], current: tuple[str, int] | None, word: str | None
) -> None:
    here: release.Installed | None = {"version": current[0], "counter": current[1]} if current else None
    found = release.obstacle(t.cast(release.Document, {"from": wanted}), here)
    assert (found is None) if word is None else (word in (found or ""))
