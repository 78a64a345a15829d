# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workers, what they get, and who takes over from one that is gone; nobody is called but processes of this machine."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import threading
import types
import typing as t
import zipfile

import pytest
import yaml
from ansible.errors import AnsibleUndefinedVariable
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import JournalError, PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import State
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import slices
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.record import Record
from ansible_collections.fleet.ota.plugins.plugin_utils._workers import dispatch, inventory, parcel, stream
from ansible_collections.fleet.ota.plugins.plugin_utils._workers import worker as workers

pytestmark = pytest.mark.one_core

ROLLOUT = "gateway-2.0-1a2b3c4d"
Result = dict[str, t.Any]


@pytest.fixture
def book(tmp_path: pathlib.Path) -> Journal:
    """The rollout's journal."""
    return Journal.begin(tmp_path / ROLLOUT / journal.NAME, ROLLOUT, {"generation": 1})


# -- workers ------------------------------------------------------------------------------------------------------


def test_the_command_of_a_worker(tmp_path: pathlib.Path) -> None:
    entry = {
        "name": "n",
        "host": "h",
        "user": "u",
        "port": 2222,
        "key": "/k",
        "ssh_args": ["-F", "f"],
        "runner": "/o/r",
    }
    (worker,) = workers.parse([entry], 7)
    *start, script = worker.command(30)
    assert start[:3] == ["ssh", "-F", "f"]
    assert start[-3:] == ["-T", "h", "--"]
    assert [start[start.index(flag) + 1] for flag in ("-p", "-l", "-i")] == ["2222", "u", "/k"]
    assert "BatchMode=yes" in start
    assert 'PATH=/o:"$PATH" /o/r worker --private-data-dir "$folder" --keepalive-seconds 30' in script
    assert worker.forks == 7


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"name": "one"}, "give host for SSH, or command"),
        ({"name": "one", "host": "h", "command": ["c"]}, "give host for SSH, or command"),
        ({"name": "one", "host": "-oProxyCommand=x"}, "do not begin with a dash"),
        ({"name": "one", "command": []}, "its command is empty"),
        ({"name": "one", "command": ["c"], "port": 22}, "port go with host"),
        ({"name": "one", "host": "h", "forks": 0}, "forks 0"),
        ({"name": "../x", "host": "h"}, "name it by letters"),
        ({"name": "controller", "host": "h"}, "name it by letters"),
        ({"name": "two", "host": "h"}, "another one has this name"),
    ],
)
def test_what_no_worker_is(entry: Result, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        workers.parse([{"name": "two", "host": "h"}, entry], 5)


def test_forks_of_all_together() -> None:
    entries: list[Result] = [{"name": "one", "host": "h", "forks": 3}, {"name": "two", "host": "h"}]
    assert workers.together(entries, 5) == 8
    assert workers.together([], 5) == 5


# -- inventory ----------------------------------------------------------------------------------------------------


class HostVars(dict[str, Result]):
    """Stands in for Ansible's; a value that is an exception is one that cannot be worked out."""

    def raw_get(self, name: str) -> Result:
        return {
            key: "{{ raw }}" if isinstance(value, Exception) else value for key, value in super().get(name, {}).items()
        }

    def __getitem__(self, name: str) -> t.Any:
        return Rendered(super().__getitem__(name))


class Rendered(dict[str, t.Any]):
    def __getitem__(self, key: str) -> t.Any:
        value = super().__getitem__(key)
        if isinstance(value, Exception):
            raise value
        return value


def source(hosts: dict[str, Result], files: pathlib.Path | None = None, **play: t.Any) -> inventory.Source:
    found = {"hostvars": HostVars(hosts), "groups": {"line": list(hosts), "all": list(hosts)}, **play}
    return inventory.Source({"inventory_hostname": next(iter(hosts)), **found}, files)


def made(found: inventory.Source, keys: pathlib.Path, **instead: t.Any) -> tuple[Result, str]:
    """The inventory as Ansible would read it, and its text."""
    text = inventory.make(found, ["d1"], keys, instead).decode()
    return yaml.load(text, Loader=Loader)["all"], text


class Loader(yaml.SafeLoader):
    """Shows what Ansible would not work out."""


Loader.add_constructor("!unsafe", lambda made, node: "unsafe " + str(node.value))


def test_a_worker_gets_its_devices_and_what_they_need(tmp_path: pathlib.Path) -> None:
    key = tmp_path / "id"
    key.write_text("private")
    d1 = {
        "word": "a {{ brace }}",
        "plain": [1, True, None, {"x": "y"}],
        "later": AnsibleUndefinedVariable("not yet"),
        "ansible_ssh_private_key_file": str(key),
        "fleet_ota_deadline": 60,
        "fleet_ota_repository": "https://user:password@host",
        "fleet_ota_workers": [{"name": "n"}],
        "fleet_ota_site": "north",
        "hostvars": {},
        "groups": {},
    }
    found = source({"d1": d1, "d2": {"other": "password"}}, fleet_ota_timeout="{{ 60 * minutes }}", minutes=3)
    (hosts, text) = made(found, tmp_path / "keys")
    assert hosts["children"] == {"line": {"hosts": {"d1": None}}}
    assert hosts["hosts"] == {
        "d1": {
            "word": "unsafe a {{ brace }}",
            "plain": [1, True, None, {"x": "y"}],
            "later": "{{ raw }}",
            "ansible_ssh_private_key_file": "{{ playbook_dir | dirname }}/keys/0",
            "fleet_ota_deadline": 60,
            "fleet_ota_site": "north",
            "fleet_ota_timeout": "{{ 60 * minutes }}",
        }
    }
    assert "password" not in text
    assert (tmp_path / "keys" / "0").read_text() == "private"
    assert (tmp_path / "keys" / "0").stat().st_mode & 0o777 == 0o600
    (hosts, _text) = made(found, tmp_path / "none", ansible_ssh_private_key_file="/on/the/worker")
    assert hosts["hosts"]["d1"]["ansible_ssh_private_key_file"] == "/on/the/worker"
    assert not (tmp_path / "none").exists()


#: Has a folder for a slice until it is killed.
HOLDER = """
import pathlib, sys
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import files
place = pathlib.Path(sys.argv[1])
with files.lock(place / "owner"):
    (place / "folder").mkdir()
    print("made", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_run_left_is_cleared_away(tmp_path: pathlib.Path) -> None:
    killed, begun = tmp_path / "fleet-ota-slices.1", tmp_path / "fleet-ota-slices.2"
    worker = tmp_path / "fleet-ota-slice.3"
    for place in (begun, worker):
        place.mkdir()
        (place / "owner").touch()
    (worker / "folder").mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLDER, killed], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stdout.readline() == b"made\n"
        parcel._sweep(tmp_path)
        assert killed.exists()
        run.kill()
        # its process id is in use until somebody asks how it ended
        os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOWAIT)
        parcel._sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == [worker, begun]


def test_hooks_lie_in_the_folder_that_workers_get(tmp_path: pathlib.Path) -> None:
    (tmp_path / "team" / "ota").mkdir(parents=True)
    (tmp_path / "team" / "ota" / "hook.yml").write_text("[]")
    (tmp_path / "outside.yml").write_text("[]")
    for path in ("ota/hook.yml", str(tmp_path / "team" / "ota" / "hook.yml")):
        found = source({"d1": {"fleet_ota_hook_before": path}}, tmp_path / "team").hooks("d1")
        assert found == {"fleet_ota_hook_before": "{{ playbook_dir }}/ota/hook.yml"}
    for path, files in (("../outside.yml", tmp_path / "team"), ("ota/none.yml", tmp_path / "team"), ("x", None)):
        with pytest.raises(PlanError, match="fleet_ota_worker_files"):
            source({"d1": {"fleet_ota_hook_before": path}}, files).hooks("d1")


def test_a_worker_knows_whom_somebody_touched_before(book: Journal, tmp_path: pathlib.Path) -> None:
    """With a login that is wrong there it must not say that nothing was touched."""
    book.pending("d1", 1)
    for name, outcome in (("d2", "lost"), ("d3", "restored")):
        book.outcome(name, outcome)
    own = slices.begin(book, tmp_path / "own" / journal.NAME, "w", 1)
    job = t.cast("parcel.Job", types.SimpleNamespace(book=book, generation=2))
    parcel._put_open(job, own, ["d1", "d2", "d3", "d4"])
    found = {name: Record(str(own.path), name, ROLLOUT, 2).unresolved() for name in ("d1", "d2", "d3", "d4")}
    assert found == {"d1": True, "d2": True, "d3": False, "d4": False}


def tree(top: pathlib.Path) -> dict[str, str]:
    """Every file below ``top`` with its text."""
    return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "link", ["collections", "collections/ansible_collections", "collections/ansible_collections/fleet/ota", "slice.yml"]
)
def test_what_the_team_s_folder_links_to_stays_as_it_is(tmp_path: pathlib.Path, link: str) -> None:
    """An installed collection, for one: this one takes its place in the copy, not in what is linked to."""
    installed, team = tmp_path / "installed", tmp_path / "team"
    for name in ("collections/ansible_collections/fleet/ota/galaxy.yml", "slice.yml", "collections/own/galaxy.yml"):
        (installed / name).parent.mkdir(parents=True, exist_ok=True)
        (installed / name).write_text("installed")
    (team / link).parent.mkdir(parents=True)
    (team / link).symlink_to(installed / link)
    before = tree(installed)
    parcel._put_project(tmp_path / "project", team)
    assert tree(installed) == before
    found = tree(tmp_path / "project")
    assert "installed" not in (found["slice.yml"], found["collections/ansible_collections/fleet/ota/galaxy.yml"])
    assert found.get("collections/own/galaxy.yml") == ("installed" if link == "collections" else None)
    assert not any(path.is_symlink() for path in (tmp_path / "project").rglob("*"))


def test_links_travel_as_what_they_lead_to(tmp_path: pathlib.Path) -> None:
    """Not those that lead nowhere, or round in a circle."""
    team = tmp_path / "team"
    for name in ("team/roles/one.yml", "outside/two.yml"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(name)
    links = {
        "near.yml": "roles/one.yml",
        "env": "../outside",
        "gone": "none",
        "self": ".",
        "up": "..",
        "roles/up": "..",
    }
    for name, led in {**links, "loop": "loop", "../outside/back": "../team"}.items():
        (team / name).symlink_to(led)
    parcel._put_project(tmp_path / "project", team)
    found = {name: text for name, text in tree(tmp_path / "project").items() if text.startswith(("team/", "outside/"))}
    one, two = "team/roles/one.yml", "outside/two.yml"
    assert found == {"roles/one.yml": one, "near.yml": one, "env/two.yml": two}


# -- a turn -------------------------------------------------------------------------------------------------------


class Plant:
    """Workers of whom it is said what becomes of the devices they get: an outcome, or None."""

    def __init__(self, book: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.book = book
        self.given: list[tuple[str, list[str], bool]] = []
        self.outcomes: dict[str, dict[str, str]] = {}
        self.before: t.Callable[[str], None] = lambda worker: None
        monkeypatch.setattr(parcel, "made", self.made)

    @contextlib.contextmanager
    def made(self, _job: t.Any, worker: workers.Worker, devices: list[str], again: bool) -> t.Iterator[str]:
        self.given.append((worker.name, devices, again))
        yield json.dumps(devices)

    def start(
        self, worker: workers.Worker, place: str, adoption: slices.Adoption, _silence: float
    ) -> tuple[str | None, str]:
        self.before(worker.name)
        known = self.outcomes.get(worker.name, {})
        for device in json.loads(place):
            if device in known:
                name = worker.name + device
                own = slices.begin(self.book, self.book.path.parents[1] / name / journal.NAME, worker.name, 1)
                adoption.take([own.outcome(device, known[device])])
        return (None if known else "gone"), ""

    def run(self, *forks: int, devices: t.Sequence[str] = ("d1", "d2", "d3", "d4")) -> list[dispatch.Slice]:
        entries = [{"name": f"w{number}", "command": ["c"], "forks": most} for number, most in enumerate(forks, 1)]
        job = t.cast("parcel.Job", types.SimpleNamespace(book=self.book, generation=1))
        last = workers.here(4)
        return dispatch.Turn(job, workers.parse(entries, 1), last, 60, self.start).run(devices)


@pytest.fixture
def plant(book: Journal, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """See :class:`Plant`."""
    return Plant(book, monkeypatch)


EVERYBODY = dict.fromkeys(("d1", "d2", "d3", "d4"), "updated")


def test_everybody_is_on_record_before_a_slice_begins(plant: Plant) -> None:
    def look(worker: str) -> None:
        known = State.of(plant.book.read()).standings
        mine = next(devices for name, devices, _again in plant.given if name == worker)
        assert {known[name].outcome for name in mine} == {"pending"}

    plant.before = look
    plant.outcomes = {"w1": EVERYBODY, "w2": EVERYBODY}
    assert all(slice_.reason is None for slice_ in plant.run(2, 2))
    assert sorted(plant.given) == [("w1", ["d1", "d2"], False), ("w2", ["d3", "d4"], False)]


def test_the_living_take_over_what_is_open(plant: Plant) -> None:
    plant.outcomes = {"w1": {"d1": "restored"}, "w2": EVERYBODY}
    found = plant.run(2, 2)
    assert ("w2", ["d2"], True) in plant.given
    assert {slice_.worker: slice_.reason for slice_ in found if slice_.open} == {
        "w1": "it ended without an outcome of them"
    }
    known = State.of(plant.book.verify()).standings
    assert {name: standing.outcome for name, standing in known.items()} == {**EVERYBODY, "d1": "restored"}


def test_one_that_is_gone_gets_nothing_more_and_this_machine_is_the_last(plant: Plant) -> None:
    plant.outcomes = {"controller": {"d1": "updated", "d2": "updated", "d3": "updated"}}
    found = plant.run(3, 1)
    assert plant.given[-1][0] == "controller"
    done = [name for worker, devices, again in plant.given if worker == "controller" and again for name in devices]
    assert sorted(done) == ["d1", "d2", "d3", "d4"]
    # and what nobody could do stays open, for the gate to count as lost
    left = [name for slice_ in found if slice_.worker == "controller" for name in slice_.open]
    assert left == ["d4"]
    assert State.of(plant.book.read()).standings["d4"].outcome == "pending"


def test_a_run_that_was_taken_over_gives_out_nothing_more(plant: Plant) -> None:
    plant.outcomes = {"w2": EVERYBODY}
    begun = threading.Event()

    def taken_over(worker: str) -> None:
        if worker == "w2":
            begun.set()
        if worker == "w1":
            assert begun.wait(60)
            plant.book.append("rollout.resumed", data={"generation": 2})

    plant.before = taken_over
    with pytest.raises(JournalError, match="taken over"):
        plant.run(2, 2)
    assert not any(again for _name, _devices, again in plant.given)
    # the slice that was at work came to its end
    assert State.of(plant.book.read()).standings["d3"].outcome == "updated"


# -- what a worker says -------------------------------------------------------------------------------------------


def talk(book: Journal, tmp_path: pathlib.Path, script: str, silence: float = 30) -> tuple[str | None, slices.Adoption]:
    """What is made of a worker that is this shell script."""
    return talk_aloud(book, tmp_path, script, silence)[:2]


def talk_aloud(
    book: Journal, tmp_path: pathlib.Path, script: str, silence: float = 30
) -> tuple[str | None, slices.Adoption, str]:
    """The same, and what is shown on the screen."""
    place = tmp_path / "place"
    (place / "project").mkdir(parents=True)
    worker = workers.Worker("w", ("sh", "-c", script), ("true",), 1, {})
    adoption = slices.Adoption(book, "w", ["d1"])
    made = stream.Stream(worker, place, adoption, silence)
    return made.run(), adoption, made.said


def test_a_worker_that_says_nothing(book: Journal, tmp_path: pathlib.Path) -> None:
    reason, _adoption = talk(book, tmp_path, "exec sleep 60", silence=0.4)
    assert reason == "nothing was heard of it for 0 s"


def test_a_worker_that_cannot_be_reached(book: Journal, tmp_path: pathlib.Path) -> None:
    reason, _adoption = talk(book, tmp_path, "echo 'connect: no route' >&2; exit 255")
    assert reason == "its stream broke off (error): connect: no route"


def test_a_worker_that_stops_in_the_middle_of_a_line(book: Journal, tmp_path: pathlib.Path) -> None:
    own = slices.begin(book, tmp_path / "own" / journal.NAME, "w", 1)
    event = {"event": "runner_on_ok", "counter": 1, "uuid": "u"}
    event["event_data"] = {"res": {"recorded": [own.outcome("d1", "updated")]}}
    said = tmp_path / "said"
    said.write_text(json.dumps({"status": "running"}) + "\n" + json.dumps(event) + '\n{"event": "canary')
    reason, adoption = talk(book, tmp_path, f"cat {said}; exit 1")
    assert adoption.outcomes == {"d1": "updated"}
    # a piece of an event may hold anything
    assert reason is not None and "canary" not in reason


def test_what_a_worker_sends_is_not_written_here(book: Journal, tmp_path: pathlib.Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept")
    kept.chmod(0o600)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("1/stdout", "ERROR! nothing works here")
        entry = zipfile.ZipInfo("../../kept")
        entry.external_attr = 0o100777 << 16
        archive.writestr(entry, "elsewhere")
    content = packed.getvalue()
    said = tmp_path / "said"
    text = base64.b64encode(content).decode()
    said.write_text('{"status": "failed"}\n' + json.dumps({"zipfile": len(content)}) + f'\n{text}{{"eof": true}}\n')
    reason, _adoption, told = talk_aloud(book, tmp_path, f"cat {said}")
    assert reason is None, "it came to its end"
    assert told == "ERROR! nothing works here"
    assert (kept.read_text(), kept.stat().st_mode & 0o777, kept.is_symlink()) == ("kept", 0o600, False)
    assert [path.name for path in (tmp_path / "place" / "artifacts").rglob("*")] == ["job_events"]


def test_a_worker_that_tells_of_others(book: Journal, tmp_path: pathlib.Path) -> None:
    own = slices.begin(book, tmp_path / "own" / journal.NAME, "w", 1)
    event = {"event": "runner_on_ok", "counter": 1, "uuid": "u"}
    event["event_data"] = {"res": {"recorded": [own.outcome("d2", "updated")]}}
    (tmp_path / "said").write_text(json.dumps(event) + "\n")
    reason, adoption = talk(book, tmp_path, f"cat {tmp_path / 'said'}; exec sleep 60")
    assert "not of its slice" in str(reason)
    assert adoption.outcomes == {}
    assert "d2" not in State.of(book.read()).standings


@pytest.mark.parametrize(
    "said", ["[]", '{"zipfile": "canary"}', '{"zipfile": 4}', '{"event": "x", "counter": "/", "uuid": 1}']
)
def test_a_worker_that_talks_nonsense(book: Journal, tmp_path: pathlib.Path, said: str) -> None:
    reason, adoption = talk(book, tmp_path, f"echo '{said}'; echo UEsDBA==; exit 1")
    assert reason is not None and "canary" not in reason
    assert adoption.missing == {"d1"}


def test_a_journal_that_cannot_be_written_ends_the_slice(book: Journal, tmp_path: pathlib.Path) -> None:
    own = slices.begin(book, tmp_path / "own" / journal.NAME, "w", 1)
    event = {"event": "runner_on_ok", "counter": 1, "uuid": "u"}
    event["event_data"] = {"res": {"recorded": [own.outcome("d1", "updated")]}}
    (tmp_path / "said").write_text(json.dumps(event) + "\n")
    away = f"mv {book.path} {book.path}.away; cat {tmp_path / 'said'}; exec sleep 60"
    with pytest.raises(JournalError, match="cannot be"):
        talk(book, tmp_path, away)


def test_this_machine_is_a_worker_by_its_own_python() -> None:
    script = workers.here(3).command(5)[-1]
    assert f"{sys.executable} -m ansible_runner worker" in script
    assert f"PATH={os.path.dirname(sys.executable)}:" in script
