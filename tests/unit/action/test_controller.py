# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's actions: arguments, results, check mode, and errors that name the thing and the next step."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.fleet.ota.plugins.action import gate, journal, plan, release, repository
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.record import Record
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import State

if t.TYPE_CHECKING:
    from .conftest import Act, Result

HOSTS = ["d1", "d2", "d3", "d4"]
INVENTORY: Result = {"ansible_play_hosts_all": HOSTS, "groups": {"all": HOSTS, "pilots": ["d3"]}}


class Folder:
    """One place for everything, driven through the actions."""

    def __init__(self, path: pathlib.Path, act: Act, document: pathlib.Path) -> None:
        self.path, self.act, self.document = path, act, document

    def repository(self, *, check: bool = False, **more: t.Any) -> Result:
        given = {"path": str(self.path / "repo"), "keys_dir": str(self.path / "keys"), "trust_root": self.trust_root}
        stable = [{"name": "stable"}]
        return self.act(
            repository.ActionModule, check=check, **{**given, "channels": stable, "generate_keys": True, **more}
        )

    def release(self, *, check: bool = False, **more: t.Any) -> Result:
        given = {"repository": str(self.path / "repo"), "channel": "stable", "trust_root": self.trust_root}
        if more.get("state") == "fetched":
            given.update(cache=str(self.path / "cache"), release="gateway")
        else:
            given.update({"source": str(self.document), "keys": [str(self.path / "keys")]})  # type: ignore[dict-item]
        return self.act(release.ActionModule, check=check, **{**given, **more})

    def plan(self, **more: t.Any) -> Result:
        given = {"repository": str(self.path / "repo"), "trust_root": self.trust_root, "channel": "stable"}
        given.update(release="gateway", cache=str(self.path / "cache"))
        return self.act(plan.ActionModule, INVENTORY, **{**given, **more})

    def start(self, made: Result, *, check: bool = False) -> Result:
        return self.act(
            journal.ActionModule, check=check, state="started", journal_dir=str(self.path / "journals"), plan=made
        )

    def journal(self, path: str, state: str, *, check: bool = False, **more: t.Any) -> Result:
        return self.act(journal.ActionModule, check=check, state=state, path=path, **more)

    def gate(self, path: str, point: str, *batch: str, check: bool = False, **more: t.Any) -> Result:
        return self.act(
            gate.ActionModule, {"ansible_play_batch": list(batch)}, check=check, journal=path, point=point, **more
        )

    @property
    def trust_root(self) -> str:
        return str(self.path / "root.json")


@pytest.fixture
def empty(tmp_path: pathlib.Path, act: Act, document: pathlib.Path) -> Folder:
    return Folder(tmp_path, act, document)


@pytest.fixture
def folder(empty: Folder) -> Folder:
    """A repository with one release."""
    empty.repository()
    empty.release()
    return empty


def failure(call: t.Callable[[], object]) -> AnsibleActionFail:
    with pytest.raises(AnsibleActionFail) as caught:
        call()
    return caught.value


# -- repository -------------------------------------------------------------------------------------------------


def test_a_repository_with_keys_in_one_task(empty: Folder) -> None:
    result = empty.repository()
    assert result["changed"]
    assert [pathlib.Path(path).stem for path in result["generated"]] == [
        "root",
        "snapshot",
        "stable",
        "targets",
        "timestamp",
    ]
    assert result["trust_root"] == empty.trust_root
    assert pathlib.Path(empty.trust_root).is_file()
    again = empty.repository()
    assert (again["changed"], again["generated"]) == (False, [])
    assert again["diff"]["before"] == again["diff"]["after"]


def test_check_mode_makes_neither_keys_nor_repository(empty: Folder) -> None:
    result = empty.repository(check=True)
    assert result["changed"]
    assert len(result["generated"]) == 5
    assert not (empty.path / "keys").exists()
    assert not (empty.path / "repo").exists()


def test_missing_keys_are_named_unless_they_may_be_made(empty: Folder) -> None:
    error = failure(lambda: empty.repository(generate_keys=False))
    assert "stable.pem" in error.message
    assert "generate_keys" in error.message


def test_a_public_key_is_enough_for_who_signs_elsewhere(empty: Folder) -> None:
    empty.repository()
    (empty.path / "keys" / "stable.pem").unlink()
    other = [{"name": "stable"}, {"name": "beta"}]
    assert empty.repository(channels=other)["changed"]
    assert failure(empty.release).result["code"] == "THRESHOLD"


def test_encrypted_keys_take_their_passphrase_from_file_or_environment(
    empty: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = empty.path / "secret"
    secret.write_text("correct horse\n")
    empty.repository(passphrase_file=str(secret))
    assert b"ENCRYPTED" in (empty.path / "keys" / "stable.pem").read_bytes()
    error = failure(empty.release)
    assert "give its passphrase" in error.message
    monkeypatch.setenv("FLEET_OTA_KEY_PASSPHRASE", "correct horse")
    result = empty.release()
    assert result["changed"]
    assert "correct horse" not in json.dumps(result)


# -- release ----------------------------------------------------------------------------------------------------


def test_publishing_shows_what_is_listed_before_and_after(empty: Folder) -> None:
    empty.repository()
    result = empty.release()
    assert result["changed"]
    assert (result["release"]["name"], result["release"]["counter"]) == ("gateway", 1)
    assert (result["diff"]["before"], result["diff"]["after"]) == ("", result["releases"][0] + "\n")
    assert not empty.release()["changed"]


def test_publishing_in_check_mode_says_the_same_and_does_nothing(empty: Folder) -> None:
    empty.repository()
    dry = empty.release(check=True)
    assert dry == empty.release()


def test_every_mistake_in_a_document_is_in_the_result(folder: Folder) -> None:
    folder.document.write_text("format: 1\nname: '-'\nversion: 2.0\ncounter: 0\npayloads: []\n")
    error = failure(folder.release)
    assert error.result["code"] == "RELEASE"
    assert len(error.result["problems"]) >= 4


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"source": None}, "source"),
        ({"channel": None}, "channel"),
        ({"keys": None}, "keys"),
        ({"state": "promoted", "release": "gateway"}, "names no version"),
        ({"state": "promoted"}, "release"),
        ({"state": "burned"}, "must be one of"),
        ({"repository": "http://127.0.0.1:9/"}, "over HTTP"),
        ({"colour": "red"}, "Unsupported"),
    ],
)
def test_wrong_arguments_of_release(folder: Folder, more: Result, part: str) -> None:
    assert part in failure(lambda: folder.release(**more)).message


def test_fetching_gives_a_bundle_for_other_tasks(folder: Folder) -> None:
    result = folder.release(state="fetched")
    assert Bundle.load(pathlib.Path(result["bundle"])).identity == result["release"]
    assert result["document"]["name"] == "gateway"
    assert not folder.release(state="fetched")["changed"]


def test_an_untrusted_repository_is_refused_with_its_code(folder: Folder, tmp_path: pathlib.Path) -> None:
    (tmp_path / "root.json").write_text("{}")
    error = failure(lambda: folder.release(state="fetched", trust_root=str(tmp_path / "root.json")))
    assert error.result["code"] == "METADATA"
    error = failure(lambda: folder.release(state="fetched", trust_root=str(tmp_path / "none.json")))
    assert error.result["code"] == "TRUST_ROOT"


# -- plan -------------------------------------------------------------------------------------------------------


def test_a_plan_takes_the_hosts_of_the_play(folder: Folder) -> None:
    result = folder.plan(waves=[{"group": "pilots", "name": "canary"}, {"percent": 100}])
    assert not result["changed"]
    assert result["order"] == ["d3", "d1", "d2", "d4"]
    assert result["serial"] == [1, 3]
    assert result["plan"]["targets"] == 4
    assert Bundle.load(pathlib.Path(result["bundle"])).digest == result["plan"]["release"]["digest"]
    assert "wave 1 canary: 1 device: d3" in result["summary_lines"]


def test_a_plan_from_a_prepared_bundle_is_the_same(folder: Folder, act: Act) -> None:
    first = folder.plan()
    second = act(plan.ActionModule, INVENTORY, bundle=first["bundle"])
    assert second["plan"] == first["plan"]


def test_a_plan_for_named_hosts(folder: Folder) -> None:
    assert folder.plan(hosts=["d4", "d2"])["order"] == ["d4", "d2"]
    assert "no device is targeted" in failure(lambda: folder.plan(hosts=[])).message


def test_names_that_are_patterns_to_ansible_are_refused(folder: Folder) -> None:
    """A play on them touches nobody, or others, and says that all is well."""
    odd = ["edge gw 7", "north,south", "a:b", "gw[1]", "{{ x }}", "{% x %}", "gw*", "gw?", "~gw", "!gw", "&gw"]
    error = failure(lambda: folder.plan(hosts=["d1", *odd]))
    assert error.result["code"] == "PLAN"
    assert len(error.result["problems"]) == len(odd)
    assert "the name 'edge gw 7' for a pattern; rename it in the inventory, where ansible_host" in error.message
    usual = ["d1", "gw-7.example", "192.0.2.7", "2001:db8::7", "gw_7", "Gerät-7", "gw@7"]
    assert folder.plan(hosts=usual)["order"] == usual


def test_every_mistake_in_waves_is_in_the_result(folder: Folder) -> None:
    error = failure(lambda: folder.plan(waves=[{"group": "nowhere"}, {"percent": 0}], limits={"max_fail": 1}))
    assert error.result["code"] == "PLAN"
    assert len(error.result["problems"]) == 3


def test_a_plan_needs_a_release(act: Act) -> None:
    assert "one of the following is required" in failure(lambda: act(plan.ActionModule, INVENTORY)).message


def test_the_difference_to_the_stored_plan_is_shown(folder: Folder) -> None:
    journals = str(folder.path / "journals")
    first = folder.plan(journal_dir=journals)
    assert first["diff"]["before"] == ""
    folder.start(first["plan"])
    same = folder.plan(journal_dir=journals)
    assert (first["changed"], same["changed"]) == (True, False)
    assert same["diff"]["before"] == same["diff"]["after"]
    moved = folder.plan(journal_dir=journals, waves=[{"hosts": ["d4"]}, {"percent": 100}])
    assert "wave-1: d1" in moved["diff"]["before"]
    assert "wave-1: d4" in moved["diff"]["after"]


# -- journal and gate -------------------------------------------------------------------------------------------


def test_a_rollout_through_its_actions(folder: Folder) -> None:
    made = folder.plan()["plan"]
    started = folder.start(made)
    assert (started["resumed"], started["generation"], started["checkpoint"]["size"]) == (False, 1, 1)
    path = started["path"]
    before = folder.gate(path, "before", "d1")
    assert (before["decision"], before["stop"], before["wave_name"], before["hosts"]) == (
        "promote",
        False,
        "wave-1",
        ["d1"],
    )
    folder.journal(path, "recorded", event="device.pending", device="d1")
    recorded = folder.journal(path, "recorded", device="d1", outcome="restored", code="HEALTH", message="no answer")
    assert recorded["record"]["outcome"] == "restored"
    after = folder.gate(path, "after", "d1")
    assert (after["decision"], after["stop"], after["counts"]["restored"]) == ("halt", True, 1)
    assert after["failures"] == [
        {"device": "d1", "outcome": "restored", "code": "HEALTH", "message": "no answer", "healthy": True}
    ]
    end = folder.journal(path, "concluded")
    assert (end["result"], end["as_planned"], end["not_as_planned"]) == ("halted", False, HOSTS)
    assert end["convicted"] == ["d1"]
    assert end["summary_lines"][1] == "d1 (wave-1): restored, HEALTH: no answer"
    assert end["summary_lines"][2] == "d2 (wave-2): untouched"
    stats = end["ansible_stats"]
    assert (stats["aggregate"], stats["per_host"]) == (True, False)
    assert stats["data"]["fleet_ota"]["result"] == "halted"
    again = folder.start(made)
    assert (again["resumed"], again["generation"]) == (True, 2)
    json.dumps([started, before, recorded, after, end, again])


def test_a_run_until_a_wave_that_was_promoted_is_not_failed_by_who_waits(folder: Folder) -> None:
    made = folder.plan(waves=[{"hosts": ["d1", "d2"]}, {"percent": 100}])["plan"]
    path = folder.start(made)["path"]
    folder.gate(path, "before", "d1", "d2")
    folder.journal(path, "recorded", device="d1", outcome="updated")
    folder.journal(path, "recorded", device="d2", outcome="deferred", code="HOLD", message="the press is running")
    assert folder.gate(path, "after", "d1", "d2")["decision"] == "promote"
    assert folder.journal(path, "concluded", until_wave="wave-1")["convicted"] == []
    assert folder.journal(path, "read")["convicted"] == ["d2"]


def test_the_rollouts_of_a_directory_are_listed_the_newest_first(folder: Folder) -> None:
    made = folder.plan(waves=[{"percent": 100}])["plan"]
    path = folder.start(made)["path"]
    folder.gate(path, "before", *HOSTS)
    for name in HOSTS:
        folder.journal(path, "recorded", device=name, outcome="updated")
    directory = str(pathlib.Path(path).parent.parent)
    listed = folder.journal("unused", "listed", journal_dir=directory)
    (row,) = listed["rollouts"]
    assert (row["rollout"], row["release"]["channel"], row["back_from"]) == (made["rollout"], "stable", None)
    assert row["counts"]["updated"] == len(HOSTS)
    assert listed["summary_lines"][0].startswith(f"{made['rollout']}: gateway 1.0 (stable), ")
    ruined = pathlib.Path(directory, "ruined-1-00000000", "journal.jsonl")
    ruined.parent.mkdir()
    ruined.write_text("no JSON\n")
    assert len(folder.journal("unused", "listed", journal_dir=directory)["summary_lines"]) == 2
    assert folder.journal("unused", "listed", journal_dir=directory + "-none")["summary_lines"] == [
        "there are no rollouts"
    ]


def test_a_wave_in_which_something_is_updated_is_watched_however_old_the_rollout_is(folder: Folder) -> None:
    made = folder.plan(waves=[{"hosts": ["d1"]}, {"percent": 100}])["plan"]
    path = folder.start(made)["path"]
    assert folder.gate(path, "before", "d1", watching=False)["watching"] is True
    folder.journal(path, "recorded", device="d1", outcome="updated")
    assert folder.gate(path, "before", "d1", watching=False)["watching"] is False
    assert folder.gate(path, "before", "d1")["watching"] is True


def test_check_mode_records_nothing(folder: Folder) -> None:
    made = folder.plan()["plan"]
    dry = folder.start(made, check=True)
    assert (dry["generation"], dry["checkpoint"]) == (1, None)
    assert not (folder.path / "journals").exists()
    assert not folder.gate(dry["path"], "before", "d1", check=True)["stop"]
    assert folder.journal(dry["path"], "concluded", check=True)["changed"]
    path = folder.start(made)["path"]
    content = pathlib.Path(path).read_bytes()
    folder.journal(path, "recorded", device="d1", outcome="updated", check=True)
    assert not folder.gate(path, "after", "d1", check=True)["stop"]
    folder.journal(path, "concluded", check=True)
    assert folder.start(made, check=True)["generation"] == 2
    assert pathlib.Path(path).read_bytes() == content


def test_a_gate_without_journal_fails(folder: Folder) -> None:
    error = failure(lambda: folder.gate(str(folder.path / "none.jsonl"), "after", "d1"))
    assert error.result["code"] == "JOURNAL"


def test_a_gate_refuses_a_batch_that_is_not_a_wave(folder: Folder) -> None:
    path = folder.start(folder.plan()["plan"])["path"]
    assert "several waves" in failure(lambda: folder.gate(path, "before", "d1", "d2")).message
    assert "not in the plan" in failure(lambda: folder.gate(path, "before", "stranger")).message
    for wave in (-1, 3):
        assert "is not in the plan" in failure(lambda wave=wave: folder.gate(path, "before", wave=wave)).message  # type: ignore[misc]
    assert folder.gate(path, "before", wave=1)["wave"] == 1


@pytest.mark.parametrize(
    "args",
    [
        {"state": "started"},
        {"state": "recorded", "path": "x"},
        {"state": "recorded", "path": "x", "device": "d", "outcome": "fine"},
        {"state": "concluded"},
        {"state": "finished", "path": "x"},
    ],
)
def test_wrong_arguments_of_journal(act: Act, args: Result) -> None:
    failure(lambda: act(journal.ActionModule, **args))


def test_whoever_waits_for_a_penalty_takes_no_room_from_others(folder: Folder) -> None:
    made = folder.plan(
        waves=[{"hosts": ["d1"]}, {"percent": 100}], limits={"max_failures": 9}, budget=[{"max_unavailable": 2}]
    )["plan"]
    assert [wave["turns"] for wave in made["waves"]] == [[1], [2, 1]]
    path = folder.start(made)["path"]
    Journal(path).outcome("d1", "updated")
    Journal(path).outcome("d2", "restored")
    Journal(path).outcome("d4", "lost")
    folder.start(made)
    given = {"journal": path, "point": "turn", "wave": 1, "turn": 0}
    found = folder.act(gate.ActionModule, {"hostvars": {}, "ansible_play_batch": []}, **given)
    assert found["go"] == ["d3"]
    assert [(one["device"], one["code"]) for one in found["deferred"]] == [("d2", "PENALTY")]


def test_gates_and_the_conclusion_go_over_the_journal_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    made = folder.plan(waves=[{"hosts": ["d1"]}, {"percent": 100}], conditions={"on_halt": "roll_back_wave"})["plan"]
    path = folder.start(made)["path"]
    book = Journal(path)
    book.outcome("d1", "updated", transaction="t")
    for _look in range(50):
        book.seen("d1", healthy=True)
    passes: list[int] = []
    folds: list[int] = []
    read, feed = Journal.read, State.feed

    def counted_read(self: Journal) -> list[Record]:
        records = read(self)
        passes.append(len(records))
        return records

    def counted_feed(self: State, record: Record) -> object:
        folds.append(record["seq"])
        return feed(self, record)

    monkeypatch.setattr(Journal, "read", counted_read)
    monkeypatch.setattr(State, "feed", counted_feed)
    steps = [
        lambda: folder.gate(path, "before", "d1", wave=0),
        lambda: folder.act(gate.ActionModule, {"hostvars": {}}, journal=path, point="turn", wave=1, turn=0),
        lambda: folder.act(gate.ActionModule, {"hostvars": {}}, journal=path, point="after", wave=0),
        lambda: folder.journal(path, "concluded"),
    ]
    for step in steps:
        size = int(book.last()["seq"]) + 1
        passes.clear()
        folds.clear()
        step()
        assert passes == [size]
        # the conclusion takes in its own record too
        assert folds[:size] == list(range(size)) and len(folds) <= size + 1


def test_a_plan_that_leaves_nobody_is_explained_and_not_started(folder: Folder) -> None:
    made = folder.plan(waves=[{"group": "pilots"}], hosts=["d1", "d2"])
    assert made["explain"][0] == {"host": "d1", "wave": None, "turn": None, "reason": "in no wave"}
    for check in (False, True):
        error = failure(lambda check=check: folder.start(made["plan"], check=check))  # type: ignore[misc]
        assert error.result["code"] == "PLAN"
        assert "no device is left to update" in error.message
        assert "2 devices: d1, d2 (in no wave)" in error.message
    assert not (folder.path / "journals").exists()


def test_a_penalty_that_cannot_be_is_refused_before_anything_is_recorded(folder: Folder) -> None:
    given = {"state": "started", "journal_dir": str(folder.path / "journals"), "plan": folder.plan()["plan"]}
    error = failure(lambda: folder.act(journal.ActionModule, **given, penalty={"first": "3600"}))
    assert "penalty.first: must be a number" in error.message
    assert not (folder.path / "journals").exists()
    assert folder.act(journal.ActionModule, **given, penalty={"first": 60})["changed"]


def test_a_plan_that_was_changed_is_not_started(folder: Folder) -> None:
    made = folder.plan()["plan"]
    made["limits"]["max_failures"] = 99
    assert failure(lambda: folder.start(made)).result["code"] == "PLAN"


@pytest.mark.parametrize("more", [{"plan_digest": "0" * 64}, {"until_wave": "nowhere"}, {"wave": "nowhere"}])
def test_a_plan_that_is_not_the_one_that_is_meant_is_not_started(folder: Folder, more: Result) -> None:
    made = folder.plan()["plan"]
    given = {"state": "started", "journal_dir": str(folder.path / "journals"), "plan": made}
    error = failure(lambda: folder.act(journal.ActionModule, **given, **more))
    assert "export it again" in str(error) or "has no wave 'nowhere'" in str(error)
    assert not (folder.path / "journals").exists()
    meant = {"plan_digest": made["digest"], "until_wave": made["waves"][0]["name"]}
    assert folder.act(journal.ActionModule, **given, **meant)["changed"]
