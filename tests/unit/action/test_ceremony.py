# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proposing, signing and showing through the actions: arguments, results, check mode, refusals."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.fleet.ota.plugins.action import proposal, release, repository
from ansible_collections.fleet.ota.plugins.plugin_utils._actions import controller
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring

if t.TYPE_CHECKING:
    from .conftest import Act, Result

PEOPLE = ("anna", "ben", "carla")
ONLINE = ("snapshot", "timestamp")


class Team:
    """A repository whose root, targets and stable channel two of three people sign; each has a folder of keys."""

    def __init__(self, path: pathlib.Path, act: Act, document: pathlib.Path) -> None:
        self.path, self.act, self.document = path, act, document
        (path / "public").mkdir()
        for name in (*PEOPLE, "dora"):
            ring.generate(path / name / f"{name}.pem")
            (path / name / f"{name}.pub").rename(path / "public" / f"{name}.pub")
        for name in ONLINE:
            ring.generate(path / "online" / f"{name}.pem")
            (path / "online" / f"{name}.pub").rename(path / "public" / f"{name}.pub")

    @property
    def trust_root(self) -> str:
        return str(self.path / "root.json")

    def repository(self, who: str, *, check: bool = False, **more: t.Any) -> Result:
        people = {"keys": list(PEOPLE), "threshold": 2}
        given: Result = {
            "path": str(self.path / "repo"),
            "trust_root": self.trust_root,
            "keys_dir": str(self.path / "public"),
            "keys": [str(self.path / who)],
            "roles": {"root": people, "targets": people, "snapshot": {}, "timestamp": {}},
            "channels": [{"name": "stable", **people}],
            "approvals": [{"name": "approvals", "keys": ["dora"]}],
            "propose": True,
        }
        for name in ONLINE:
            given["roles"][name] = {"keys": [name], "threshold": 1}
        return self.act(repository.ActionModule, check=check, **{**given, **more})

    def publish(self, who: str, *, check: bool = False, **more: t.Any) -> Result:
        given = {"repository": str(self.path / "repo"), "trust_root": self.trust_root, "channel": "stable"}
        given.update(source=str(self.document), keys=[str(self.path / who)], propose=True, title="first")  # type: ignore[call-overload]
        return self.act(release.ActionModule, check=check, **{**given, **more})

    def proposal(self, state: str, who: str | None = None, *, check: bool = False, **more: t.Any) -> Result:
        given: Result = {"repository": str(self.path / "repo"), "trust_root": self.trust_root, "state": state}
        if who:
            given["keys"] = [str(self.path / who)]
        return self.act(proposal.ActionModule, check=check, **{**given, **more})

    def make(self) -> None:
        """The making of the repository, in steps."""
        name = self.repository("anna")["proposal"]["id"]
        for who in ("ben", "dora"):
            self.proposal("signed", who, id=name)
        self.proposal("applied", "online", id=name)

    def files(self) -> dict[str, bytes]:
        root = self.path / "repo"
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and path.name != ".lock"
        }


@pytest.fixture
def team(tmp_path: pathlib.Path, act: Act, document: pathlib.Path) -> Team:
    return Team(tmp_path, act, document)


def failure(call: t.Callable[[], object]) -> AnsibleActionFail:
    with pytest.raises(AnsibleActionFail) as caught:
        call()
    return caught.value


def test_a_repository_is_made_by_people_who_never_share_a_key(team: Team) -> None:
    first = team.repository("anna")
    assert (first["changed"], first["proposal"]["state"], first["generated"]) == (True, "open", [])
    assert not pathlib.Path(first["trust_root"]).exists()
    assert not team.repository("anna")["changed"]
    assert team.proposal("signed", "dora", id=first["proposal"]["id"])["proposal"]["state"] == "open"
    signed = team.proposal("signed", "ben", id=first["proposal"]["id"], remark="seen")
    assert (signed["changed"], signed["proposal"]["state"]) == (True, "ready")
    assert not team.proposal("signed", "ben", id=first["proposal"]["id"])["changed"]
    assert any("root gives root to 2 of 3 keys" in line for line in signed["content"])
    applied = team.proposal("applied", "online", id=first["proposal"]["id"])
    assert (applied["changed"], applied["proposal"]["state"]) == (True, "applied")
    assert pathlib.Path(first["trust_root"]).is_file()
    again = team.repository("anna")
    assert (again["changed"], again["proposal"]) == (False, None)


def test_the_last_signer_who_has_the_online_keys_puts_it_in_force(team: Team) -> None:
    team.make()
    name = team.publish("anna")["proposal"]["id"]
    both = [str(team.path / "carla"), str(team.path / "online")]
    dry = team.proposal("signed", id=name, keys=both, check=True)
    assert (dry["changed"], dry["proposal"]["state"]) == (True, "ready")
    waits = team.proposal("signed", id=name, keys=both[:1], apply=False)
    assert waits["proposal"]["state"] == "ready"
    done = team.proposal("signed", id=name, keys=both)
    assert (done["changed"], done["proposal"]["state"]) == (True, "applied")
    assert not team.proposal("signed", id=name, keys=both)["changed"]
    assert not team.publish("anna")["changed"]


def test_the_diff_is_what_a_signature_covers(team: Team) -> None:
    team.make()
    name = team.publish("anna")["proposal"]["id"]
    result = team.proposal("signed", "ben", id=name, check=True)
    new = set(result["diff"]["after"].splitlines()) - set(result["diff"]["before"].splitlines())
    assert any("stable lists stable/gateway/1.0.json" in line for line in new)


def test_check_mode_changes_nothing(team: Team) -> None:
    dry = team.repository("anna", check=True)
    assert (dry["changed"], dry["proposal"]["state"]) == (True, "open")
    assert not (team.path / "repo").exists()
    team.make()
    before = team.files()
    assert team.publish("anna", check=True)["proposal"]["state"] == "open"
    assert team.files() == before
    name = team.publish("anna")["proposal"]["id"]
    before = team.files()
    assert team.proposal("signed", "ben", id=name, check=True)["changed"]
    assert team.proposal("denied", id=name, remark="no", check=True)["changed"]
    assert team.proposal("withdrawn", id=name, check=True)["changed"]
    team.proposal("shown")
    assert team.files() == before


def test_denying_wants_a_reason_that_others_can_read(team: Team) -> None:
    team.make()
    name = team.publish("anna")["proposal"]["id"]
    assert "say in remark why" in failure(lambda: team.proposal("denied", id=name)).message
    assert team.proposal("denied", id=name, remark="too soon", by="carla")["proposal"]["state"] == "denied"
    assert not team.proposal("denied", id=name, remark="again")["changed"]
    error = failure(lambda: team.proposal("signed", "ben", id=name))
    assert "too soon" in error.message
    assert error.result["code"] == "PROPOSAL"
    assert error.result["proposal"]["id"] == name


def test_what_waits_is_shown(team: Team) -> None:
    team.make()
    name = team.publish("anna")["proposal"]["id"]
    shown = team.proposal("shown")
    assert [(entry["id"][:4], entry["state"]) for entry in shown["proposals"]] == [
        ("root", "applied"),
        ("stab", "open"),
    ]
    assert list(shown["content"]) == [name]
    assert any("1.0.json" in line for line in shown["content"][name])
    status = team.act(repository.ActionModule, path=str(team.path / "repo"), trust_root=team.trust_root, state="shown")
    assert not status["changed"]
    assert [role["threshold"] for role in status["repository"]["roles"] if role["name"] == "stable"] == [2]
    assert any(name in line for line in status["lines"])
    json.dumps(status)


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"id": None}, "id"),
        ({"keys": None}, "keys"),
        ({"id": "../x"}, "is not the id of a proposal"),
        ({"state": "burned"}, "must be one of"),
        ({"force": True}, "Unsupported"),
    ],
)
def test_wrong_arguments(team: Team, more: Result, part: str) -> None:
    given = {"state": "signed", "id": "stable-1-" + "0" * 16, "keys": [str(team.path / "anna")], **more}
    assert part in failure(lambda: team.proposal(given.pop("state"), **given)).message


def test_an_unknown_kind_of_key_is_refused(team: Team) -> None:
    error = failure(lambda: team.repository("anna", keys=["vault:x"]))
    assert "keys are named by a path or by" in error.message
    assert not (team.path / "repo").exists()


@pytest.mark.parametrize("way", ["file", "environment"])
def test_the_pin_of_a_token_comes_from_file_or_environment(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    arguments: Result = {"passphrase_file": None, "pin_file": None}
    if way == "file":
        (tmp_path / "pin").write_text("734652\n")
        arguments["pin_file"] = str(tmp_path / "pin")
    else:
        monkeypatch.setenv("FLEET_OTA_KEY_PIN", "734652")
    assert controller.pin(arguments) == b"734652"
    assert controller.passphrase(arguments) is None


def test_a_proposal_needs_time(team: Team) -> None:
    assert "proposal_days" in failure(lambda: team.repository("anna", proposal_days=0)).message
    assert team.repository("anna", proposal_days=3)["proposal"]["state"] == "open"


def test_a_pinned_root_is_asked_before_anything_is_signed(team: Team, tmp_path: pathlib.Path) -> None:
    team.make()
    name = team.publish("anna")["proposal"]["id"]
    other = tmp_path / "other.json"
    other.write_text("{}")
    error = failure(lambda: team.proposal("signed", "ben", id=name, trust_root=str(other)))
    assert error.result["code"] == "TRUST_ROOT"
    assert team.proposal("signed", "ben", id=name)["changed"]


def test_a_folder_of_public_keys_may_hold_openssh_ones(team: Team) -> None:
    """`anna.pub` as `ssh-keygen` writes it; she signs with the same key as PEM here."""
    from cryptography.hazmat.primitives import serialization

    path = team.path / "public" / "anna.pub"
    key = serialization.load_pem_public_key(path.read_bytes())
    openssh = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.write_bytes(openssh + b" anna@desk\n")
    assert team.repository("anna")["proposal"]["roles"][0]["signed"][0].startswith("anna ")
