# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a device keeps of what it accepted, and what it does when that is damaged."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.system import durable
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.trust import Trust

from ..signing import Repository

TOP = ["timestamp", "snapshot", "targets"]


@pytest.fixture()
def layout(tmp_path: Path, repository: Repository) -> Layout:
    """A device that accepted a release once."""
    found = Layout(str(tmp_path))
    found.prepare()
    Path(found.file("trust", "root.json")).write_text(repository.root())
    repository.publish({"name": "app", "version": "1"})
    Trust(found).accept(repository.bundle())
    return found


def kept(layout: Layout, name: str) -> Path:
    """The file of a role."""
    return Path(layout.file("trust", name + ".json"))


def refusal(layout: Layout, repository: Repository, **changes: t.Any) -> str:
    """The code with which a bundle is refused."""
    with pytest.raises(OtaError) as caught:
        Trust(layout).accept(repository.bundle(**changes))
    return caught.value.code


def rotate(repository: Repository) -> str:
    """Another key for timestamp and snapshot; the text of the root that says so."""
    repository.signers["timestamp"] = repository.signers["snapshot"] = [repository.extra]
    repository.root_version += 1
    return repository.root()


def test_what_is_kept_is_what_was_brought(layout: Layout, repository: Repository) -> None:
    bundle = repository.bundle()
    assert {name: kept(layout, name).read_text() for name in TOP} == {name: bundle[name] for name in TOP}
    floor = json.loads(Path(layout.file("trust", "floor.json")).read_text())
    assert floor["time"] > 1_600_000_000
    # No delegated role: one could be called "floor", and nobody reads them.
    assert {path.name for path in Path(layout.file("trust")).iterdir()} == {
        *(name + ".json" for name in [*TOP, "root", "floor"])
    }


def test_what_did_not_change_is_not_written_again(layout: Layout, repository: Repository) -> None:
    """Flash wears."""
    now = Trust(layout).now + 5
    Trust(layout, now=now).accept(repository.bundle())
    before = {name: kept(layout, name).stat().st_ino for name in [*TOP, "root", "floor"]}
    Trust(layout, now=now).accept(repository.bundle())
    assert {name: kept(layout, name).stat().st_ino for name in [*TOP, "root", "floor"]} == before


def test_the_floor_only_rises(layout: Layout, repository: Repository) -> None:
    floor = Path(layout.file("trust", "floor.json"))
    later = json.loads(floor.read_text())["time"] + 1000
    Trust(layout, now=later + 0.5).accept(repository.bundle())
    assert json.loads(floor.read_text()) == {"time": later}
    assert Trust(layout, now=5).now == later
    Trust(layout, now=5).accept(repository.bundle())
    assert json.loads(floor.read_text()) == {"time": later}
    Trust(layout, now=later + 50).accept(repository.bundle(), keep=False)
    assert json.loads(floor.read_text()) == {"time": later}


@pytest.mark.parametrize("content", ["", "x", "[]", "null", "{}", '{"time": "1"}', '{"time": true}', '{"time": 1.5}'])
def test_a_floor_that_cannot_be_read_is_a_refusal(layout: Layout, content: str) -> None:
    Path(layout.file("trust", "floor.json")).write_text(content)
    with pytest.raises(OtaError, match="time floor") as caught:
        Trust(layout)
    assert caught.value.code == "TRUST_ROOT"


@pytest.mark.parametrize("name", ["timestamp", "snapshot", "root"])
@pytest.mark.parametrize("damage", ["empty", "cut", "a folder", "another kind"])
def test_damage_is_never_taken_for_nothing(layout: Layout, repository: Repository, name: str, damage: str) -> None:
    """Or a bad sector would take the protection against replay away."""
    path = kept(layout, name)
    content = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    else:
        other = kept(layout, "targets").read_bytes()
        path.write_bytes({"empty": b"", "cut": content[:-9], "another kind": other}[damage])
    repository.publish({"name": "app", "version": "2"})
    assert refusal(layout, repository) == "TRUST_ROOT"


def test_a_pinned_root_that_was_tampered_with(layout: Layout, repository: Repository) -> None:
    path = kept(layout, "root")
    path.write_text(path.read_text().replace('"threshold": 1', '"threshold": 2', 1))
    assert refusal(layout, repository) == "TRUST_ROOT"


def test_a_look_follows_a_rotation_and_keeps_nothing(layout: Layout, repository: Repository) -> None:
    repository.versions["timestamp"] = 99
    Trust(layout).accept(repository.bundle())
    before = {path.name: path.read_bytes() for path in Path(layout.file("trust")).iterdir()}
    root = rotate(repository)
    repository.versions["timestamp"] = 3
    assert refusal(layout, repository, root=[]) in ("SIGNATURE", "ROLLBACK")
    assert Trust(layout).accept(repository.bundle(root=[root]), keep=False).root_version == 2
    assert {path.name: path.read_bytes() for path in Path(layout.file("trust")).iterdir()} == before
    assert Trust(layout).accept(repository.bundle(root=[root])).root_version == 2


@pytest.mark.parametrize("lost", ["root.json", "timestamp.json", "snapshot.json"])
def test_a_power_cut_in_the_middle_of_a_rotation(
    layout: Layout, repository: Repository, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever write is the last one: the same bundle again comes to its end."""
    repository.versions["timestamp"] = 99
    Trust(layout).accept(repository.bundle())
    root = rotate(repository)
    repository.versions["timestamp"] = 3
    write = durable.write

    def cut(path: str, content: bytes, mode: int = 0o600) -> None:
        if path.endswith("/" + lost):
            raise OSError("power cut")
        write(path, content, mode)

    monkeypatch.setattr(durable, "write", cut)
    with pytest.raises(OSError, match="power cut"):
        Trust(layout).accept(repository.bundle(root=[root]))
    monkeypatch.undo()
    assert Trust(layout).accept(repository.bundle(root=[root])).root_version == 2


def test_each_root_is_kept_before_the_next_is_looked_at(layout: Layout, repository: Repository) -> None:
    roots = [rotate(repository)]
    repository.root_version = 3
    roots.append(repository.root().replace('"version": 3', '"version": 3, "more": 1'))
    assert refusal(layout, repository, root=roots) == "SIGNATURE"
    assert json.loads(kept(layout, "root").read_text())["signed"]["version"] == 2
