# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every action comes to a repository by its pinned root, and to no other folder."""

from __future__ import annotations

import importlib
import pathlib
import shutil
import typing as t

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.fleet.ota.plugins.plugin_utils._actions.controller import ControllerAction
from ansible_collections.fleet.ota.plugins.plugin_utils._actions.repository import RepositoryAction
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import files, urls

from .test_documentation import NAMES

if t.TYPE_CHECKING:
    from .conftest import Act, Result

#: The tasks that open a repository on this machine, with arguments that would do.
TASKS: list[tuple[str, Result]] = [
    ("repository", {"keys_dir": "keys", "channels": [{"name": "stable"}], "generate_keys": True}),
    ("repository", {"state": "shown"}),
    ("release", {"state": "published", "channel": "stable", "source": "release.yml", "keys": ["keys"]}),
    ("release", {"state": "promoted", "channel": "stable", "release": "gateway/1.0", "keys": ["keys"]}),
    ("release", {"state": "refreshed", "keys": ["keys"]}),
    ("release", {"state": "verified", "channel": "stable", "source": "release.yml"}),
    ("proposal", {"state": "shown"}),
    ("proposal", {"id": "stable-1-0a1b2c3d4e5f6071", "keys": ["keys"]}),
    ("proposal", {"state": "withdrawn", "id": "stable-1-0a1b2c3d4e5f6071"}),
    ("approval", {}),
    ("approval", {"state": "signed", "proposals": [], "keys": ["keys"]}),
    ("policy", {"source": "policy.yml", "keys": ["keys"]}),
]


class Place:
    """A folder with keys, a release, a repository and the file in which its root is pinned."""

    def __init__(self, path: pathlib.Path, act: Act, document: pathlib.Path) -> None:
        self.path, self.act, self.document = path, act, document
        self.repository, self.pin = path / "repo", path / "pins" / "root.json"

    def __call__(self, name: str, *, check: bool = False, **more: t.Any) -> Result:
        module = importlib.import_module(f"ansible_collections.fleet.ota.plugins.action.{name}")
        given = {"path" if name == "repository" else "repository": str(self.repository), "trust_root": str(self.pin)}
        places = {"keys_dir": str(self.path / "keys"), "keys": [str(self.path / "keys")], "source": str(self.document)}
        for key in places.keys() & more.keys():
            more[key] = places[key]
        return self.act(module.ActionModule, check=check, **{**given, **more})

    def refused(self, name: str, **more: t.Any) -> AnsibleActionFail:
        with pytest.raises(AnsibleActionFail) as caught:
            self(name, **more)
        return caught.value

    def make(self) -> None:
        self(*TASKS[0][:1], **TASKS[0][1])

    def tree(self) -> list[str]:
        return sorted(str(path) for path in self.path.rglob("*"))


@pytest.fixture
def place(tmp_path: pathlib.Path, act: Act, document: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path, act, document)


def test_every_action_with_a_repository_of_this_machine_demands_the_root() -> None:
    """And none has an option for it that no variable fills: there is nothing that a playbook could forget."""
    found = set()
    for name in NAMES:
        action = importlib.import_module(f"ansible_collections.fleet.ota.plugins.action.{name}").ActionModule
        option = "path" if name == "repository" else "repository"
        if not issubclass(action, ControllerAction) or option not in action.argument_spec or name == "plan":
            continue
        found.add(name)
        assert issubclass(action, RepositoryAction), name
        assert action.argument_spec["trust_root"]["required"] is True
        assert action.variables["trust_root"] == "fleet_ota_trust_root"
    assert found == {name for name, _more in TASKS}


def test_a_new_repository_is_pinned_and_what_follows_goes_by_it(place: Place) -> None:
    assert place("repository", **TASKS[0][1], check=True)["changed"]
    assert not place.pin.exists()
    place.make()
    assert place.pin.read_bytes() == (place.repository / "metadata" / "1.root.json").read_bytes()
    before = place.pin.read_bytes()
    assert place("release", **TASKS[2][1])["changed"]
    assert not place("repository", **TASKS[0][1])["changed"]
    assert place.pin.read_bytes() == before


@pytest.mark.parametrize(("name", "more"), TASKS)
def test_without_the_root_nothing_is_read(place: Place, name: str, more: Result) -> None:
    place.make()
    assert "fleet_ota_trust_root" in place.refused(name, **{**more, "trust_root": None}).message
    place.pin.unlink()
    error = place.refused(name, **more)
    assert (error.result["code"], "is not there" in error.message) == ("TRUST_ROOT", True)


@pytest.mark.parametrize(("name", "more"), TASKS)
@pytest.mark.parametrize("empty", [True, False])
def test_a_folder_without_the_pinned_repository_is_never_filled(
    place: Place, name: str, more: Result, empty: bool
) -> None:
    """Not mounted, or a misspelt path."""
    place.make()
    shutil.rmtree(place.repository)
    if empty:
        place.repository.mkdir()
    before = place.tree()
    error = place.refused(name, **more)
    assert (error.result["code"], "holds no repository" in error.message) == ("TRUST_ROOT", True)
    assert place.tree() == before


@pytest.mark.parametrize(("name", "more"), TASKS)
def test_another_repository_is_refused(place: Place, name: str, more: Result) -> None:
    place.make()
    mine = place.pin.read_bytes()
    shutil.rmtree(place.repository)
    shutil.rmtree(place.path / "keys")
    place.pin.unlink()
    place.make()
    place.pin.write_bytes(mine)
    if name in ("policy", "release") and "source" in more:
        (place.path / "policy.yml").write_text("format: 1\nrules: [{name: all, approvals: {}}]\n")
        place.document = place.path / "policy.yml" if name == "policy" else place.document
    error = place.refused(name, **more)
    assert error.result["code"] in ("TRUST_ROOT", "THRESHOLD")
    assert "cannot be trusted" in error.message


@pytest.mark.parametrize(("name", "more"), TASKS)
@pytest.mark.parametrize(
    "address",
    [
        "https://bob:s3cretpw@ota.example.org/repo",
        "HTTPS://bob:s3cretpw@ota.example.org/repo",
        "https:/bob:s3cretpw@ota.example.org/repo",
        "s3://bob:s3cretpw@bucket/repo",
        "bob:s3cretpw@ota.example.org:/srv/repo",
        "nfs-1:/srv/repo",
    ],
)
def test_an_address_is_no_directory_and_its_password_is_not_told(
    place: Place, name: str, more: Result, address: str
) -> None:
    given = {"path" if name == "repository" else "repository": address}
    before = place.tree()
    error = place.refused(name, **more, **given)
    assert "is no directory of this machine" in error.message
    assert "s3cretpw" not in error.message
    assert place.tree() == before


def test_a_root_within_the_repository_pins_nothing_and_that_is_said(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("ansible.utils.display.Display.warning", lambda self, text, **_more: said.append(text))
    place.pin = place.repository / "metadata" / "1.root.json"
    place.make()
    assert "lies in the repository" in said[0]
    place.pin = place.repository / "metadata" / "pin.json"
    assert "is not there" in place.refused("repository", state="shown").message


@pytest.mark.parametrize("number", range(4))
def test_a_making_that_was_cut_short_is_just_done_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Also between the pin and the repository."""

    class Crash(BaseException):
        pass

    real, count = files.sync_directory, 0

    def sync(path: pathlib.Path) -> None:
        nonlocal count
        real(path)
        count += path in (place.repository / "metadata.new", place.repository, place.pin.parent)
        if count > number * 2:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync_directory", sync)
        with pytest.raises(Crash):
            place.make()
    place.make()
    assert place.pin.read_bytes() == (place.repository / "metadata" / "1.root.json").read_bytes()
    assert place("release", **TASKS[2][1])["changed"]


def test_half_of_a_repository_is_finished_only_if_it_is_the_pinned_one(place: Place) -> None:
    place.make()
    (place.repository / "metadata").rename(place.repository / "metadata.new")
    (place.repository / "metadata.new" / "timestamp.json").write_text("{}")
    assert "timestamp" in place.refused("repository", **TASKS[0][1]).message
    (place.repository / "metadata").rename(place.repository / "metadata.new")
    (place.repository / "metadata.new" / "1.root.json").write_text("{}")
    assert place.refused("repository", **TASKS[0][1]).result["code"] == "TRUST_ROOT"


@pytest.mark.parametrize("path", ["/srv/ota@home/repo", "repo", "./a:b", "~/repo", "../x", "/srv/a:/b"])
def test_a_directory_is_no_address(path: str) -> None:
    assert not urls.is_address(path)
    assert urls.shown(path) == path
