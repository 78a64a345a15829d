# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calling the engine over Ansible's connection: real commands and a real engine, a stand-in for the connection."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import typing as t

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible_collections.fleet.ota.plugins.module_utils._device.system import bytecode
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine import connection
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine.zipapp import program
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.errors import DeviceLost, DeviceRefusal

from .connection import STATE, Connection, Place, answer, refusal

# -- the engine gets there -----------------------------------------------------------------------------------------


def test_the_engine_is_sent_once_and_lies_under_its_digest(place: Place) -> None:
    assert place.device.call("info")["enrolled"] is False
    assert len(place.action.commands) == 3  # asked, sent, asked again
    assert place.engine.read_bytes() == program().content
    assert place.engine.stat().st_mode & 0o777 == 0o600
    assert place.engine.parent.stat().st_mode & 0o777 == 0o700
    assert place.device.call("info")["enrolled"] is False
    assert len(place.action.commands) == 4
    compiled = pathlib.Path(bytecode.path(str(place.engine)))
    assert {*place.engine.parent.iterdir()} == {place.engine, compiled}
    assert compiled.stat().st_mode & 0o777 == 0o600


def test_a_call_is_one_line_of_json_and_what_follows(place: Place) -> None:
    place.action.answers = [answer(stdout='{"ok": 1}')]
    assert place.device.call("stage", b"\x00bytes\n", put={"size": 7}) == {"ok": 1}
    line, _feed, data = (place.action.contents[0] or b"").partition(b"\n")
    assert json.loads(line) == {
        "v": 1,
        "verb": "stage",
        "root": str(place.root),
        "state_dir": STATE,
        "put": {"size": 7},
    }
    assert data == b"\x00bytes\n"
    assert "exec $P -I -S -B " in place.action.commands[0]


def test_an_engine_that_does_not_arrive_whole_is_not_used(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = program()._replace(content=program().content[:-100])
    monkeypatch.setattr(connection, "program", lambda: cut)
    error = refusal(place)
    assert (error.code, error.outcome) == ("ENGINE", "timed_out")
    assert "did not arrive whole" in error.message
    assert list(place.engine.parent.iterdir()) == []


def test_a_device_that_loses_its_engine_at_once_is_asked_only_twice(place: Place) -> None:
    place.action.answers = [answer(97), answer(0), answer(97)]
    assert "no answer (exit code 97)" in refusal(place).message


# -- odd logins ----------------------------------------------------------------------------------------------------


def test_every_command_means_the_same_to_every_login_shell(place: Place) -> None:
    """Ansible runs ``/bin/sh -c 'COMMAND'``; csh ends it at a line feed and expands ``!``, fish reads backslashes."""
    place.device.call("info")
    for command in place.action.commands:
        assert not re.search(r"[\n\\]|![^= ]", command), command


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (1, "This account is currently not available."),
        (127, "rbash: line 1: /bin/sh: restricted: cannot specify `/' in command names"),
        (1, "-rbash: /bin/sh: restricted"),
    ],
)
def test_a_login_that_runs_nothing_is_told_as_that(place: Place, code: int, said: str) -> None:
    place.action.answers = [answer(code, stderr=said)]
    error = refusal(place)
    assert (error.code, error.outcome) == ("LOGIN", "deferred")
    assert said in error.message and "usermod --shell" in error.message


# -- no Python -----------------------------------------------------------------------------------------------------


def test_a_device_without_the_python_that_was_named(tmp_path: pathlib.Path) -> None:
    place = Place(tmp_path, Connection(), python="/opt/no such/python3")
    error = refusal(place)
    assert (error.code, error.outcome) == ("NO_PYTHON", "refused")
    assert "/opt/no such/python3 was not found" in error.message
    assert len(place.action.commands) == 1
    assert list(place.root.iterdir()) == []


def test_a_device_without_any_python(tmp_path: pathlib.Path) -> None:
    place = Place(tmp_path, Connection(), python=None)
    place.action.answers = [answer(98)]
    error = refusal(place)
    assert (error.code, error.message.split()[0]) == ("NO_PYTHON", "python3")
    assert "command -v /usr/bin/python3 || command -v python3" in place.action.commands[0]


def test_python_that_goes_away_while_the_engine_is_sent(place: Place) -> None:
    place.action.answers = [answer(97), answer(98)]
    assert refusal(place).code == "NO_PYTHON"


@pytest.mark.parametrize(("user", "is_told"), [("1000", True), ("0", False)])
def test_a_login_without_rights_is_told_of_become(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, user: str, is_told: bool
) -> None:
    programs = {"id": f"echo {user}", "mkdir": "echo 'mkdir: permis refuse' >&2; exit 1"}
    for name, line in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    error = refusal(place)
    assert error.code == "ENGINE" and "permis refuse" in error.message
    assert ("run with --become" in error.message) is is_told


# -- answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (answer(1, stderr="Traceback\nMemoryError: no memory\n"), "(exit code 1): Traceback | MemoryError: no memory"),
        (answer(0, stdout="Welcome to device 7!\n"), "(exit code 0): Welcome to device 7!"),
        (answer(0, stdout='["a list"]\n'), '["a list"]'),
        (answer(0, stdout='{"torn": '), '{"torn":'),
        (answer(0), "(exit code 0)"),
    ],
)
def test_an_answer_that_is_none_is_an_error_of_the_engine(place: Place, result: dict[str, t.Any], told: str) -> None:
    place.action.answers = [result]
    error = refusal(place)
    assert (error.code, error.outcome) == ("ENGINE", "timed_out")
    assert "the engine gave no answer" in error.message
    assert told in error.message
    assert place.device.answered


def test_what_a_login_shell_prints_before_the_answer_does_not_matter(place: Place) -> None:
    place.action.answers = [answer(0, stdout='Welcome!\n{"enrolled": true}\n')]
    assert place.device.call("info") == {"enrolled": True}


def test_an_error_of_the_engine_keeps_its_code_outcome_and_detail(place: Place) -> None:
    reply = {
        "error": {"code": "BUSY", "message": "a transaction is open", "detail": {"id": "x"}},
        "outcome": "deferred",
    }
    place.action.answers = [answer(0, stdout=json.dumps(reply))]
    error = refusal(place)
    assert (error.code, error.outcome, error.message, error.detail) == (
        "BUSY",
        "deferred",
        "a transaction is open",
        {"id": "x"},
    )


@pytest.mark.parametrize("rc", [-9, 137, 143])
def test_a_killed_engine_is_as_good_as_a_lost_link(place: Place, rc: int) -> None:
    place.action.answers = [answer(rc)]
    with pytest.raises(DeviceLost, match="killed"):
        place.device.call("apply")


@pytest.mark.parametrize("error", [AnsibleConnectionFailure("no route to host"), BrokenPipeError("no route to host")])
def test_a_lost_link_is_lost_and_no_answer(place: Place, error: Exception) -> None:
    place.action.answers = [error]
    with pytest.raises(DeviceLost, match="no route to host"):
        place.device.call("info")
    assert not place.device.answered


SECRET = "correct horse"


def without_password(place: Place) -> None:
    """Whoever logs in may not become root; the text is as bad as a connection's can be."""
    place.connection.options["password"] = SECRET
    place.connection.become = Connection(become_pass=f"{SECRET} staple")
    place.action.answers.append(AnsibleError(f"Incorrect sudo\npassword {SECRET} staple of {SECRET}"))


def test_a_login_that_is_wrong_is_a_refusal_that_tells_no_password(place: Place) -> None:
    without_password(place)
    error = refusal(place)
    assert (error.code, error.outcome) == ("LOGIN", "deferred")
    assert error.message.startswith("Incorrect sudo password ******** of ********; give the right login")
    assert not place.device.answered


def test_a_login_that_stops_working_may_have_left_something_at_work(place: Place) -> None:
    place.action.answers = [answer(stdout="{}")]
    place.device.call("apply")
    without_password(place)
    error = refusal(place, "status")
    assert (error.code, error.outcome) == ("LOGIN", "timed_out")


def test_a_dead_connection_can_be_dropped_whatever_it_says(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.device.forget_connection()
    assert place.connection.resets == 1

    def reset() -> None:
        raise AnsibleConnectionFailure("cannot be reset")

    monkeypatch.setattr(place.connection, "reset", reset)
    place.device.forget_connection()


# -- a connection without standard input ---------------------------------------------------------------------------


def test_without_pipelining_the_request_goes_through_a_file(tmp_path: pathlib.Path) -> None:
    place = Place(tmp_path, Connection(pipelining=False))
    assert place.device.call("info")["enrolled"] is False
    assert place.engine.read_bytes() == program().content
    assert place.action.contents == [None] * 3
    digest = hashlib.sha256(b"payload").hexdigest()
    place.device.call("stage", b"payload", put={"sha256": digest, "length": 7, "offset": 0, "size": 7})
    assert (place.inbox / digest).read_bytes() == b"payload"
    assert place.folders == []


def test_without_pipelining_nothing_stays_of_a_call_that_was_cut(tmp_path: pathlib.Path) -> None:
    """A request may hold the private key of the device."""
    place = Place(tmp_path, Connection(pipelining=False))
    place.action.answers = [AnsibleConnectionFailure("cut")]
    with pytest.raises(DeviceLost):
        place.device.call("info")
    assert len(place.folders) == 1
    place.device.call("info")
    assert place.folders == []


def test_without_pipelining_a_missing_python_is_told_too(tmp_path: pathlib.Path) -> None:
    place = Place(tmp_path, Connection(pipelining=False), python="/nonexistent/python3")
    assert refusal(place).code == "NO_PYTHON"


# -- payloads ------------------------------------------------------------------------------------------------------


class Payload(t.NamedTuple):
    path: pathlib.Path
    sha256: str
    length: int


def payload(folder: pathlib.Path, content: bytes) -> Payload:
    path = folder / "payload"
    path.write_bytes(content)
    return Payload(path, hashlib.sha256(content).hexdigest(), len(content))


@pytest.mark.parametrize("length", [0, 1, 10, 20, 25])
def test_a_payload_is_pushed_in_pieces(
    place: Place, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(connection, "PIECE", 10)
    file = payload(tmp_path, bytes(range(length)))
    place.device.push(file.sha256, file.length, 0, file.path)
    assert (place.inbox / file.sha256).read_bytes() == file.path.read_bytes()
    puts = [(content or b"").count(b'"put"') for content in place.action.contents]
    assert sum(puts) - 1 == max(1, -(-length // 10))  # the first is asked for once more, after the engine was sent


@pytest.mark.parametrize("offset", [3, 10, 12, 25])
def test_a_push_goes_on_from_what_is_there(
    place: Place, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    """Also from a file that arrived whole and was not taken over before the power went."""
    monkeypatch.setattr(connection, "PIECE", 10)
    file = payload(tmp_path, bytes(range(25)))
    place.device.call("stage")
    part = place.inbox / f"{file.sha256}.part"
    part.write_bytes(file.path.read_bytes()[:offset])
    [missing] = place.device.call("stage", files=[{"sha256": file.sha256, "length": file.length}])["missing"]
    assert missing["offset"] == offset
    place.device.push(file.sha256, file.length, missing["offset"], file.path)
    assert (place.inbox / file.sha256).read_bytes() == file.path.read_bytes()
    sent = sum(
        len((content or b"").partition(b"\n")[2]) for content in place.action.contents if b'"put"' in (content or b"")
    )
    assert sent == 25 - offset


@pytest.mark.parametrize("offset", [3, 25])
def test_a_push_starts_anew_when_what_is_there_has_other_bytes(
    place: Place, tmp_path: pathlib.Path, offset: int
) -> None:
    """A power cut can leave a part in its length, but with zeroes in the place of what was not on the disk yet."""
    file = payload(tmp_path, bytes(range(25)))
    place.device.call("stage")
    (place.inbox / f"{file.sha256}.part").write_bytes(bytes(offset))
    place.device.push(file.sha256, file.length, offset, file.path)
    assert (place.inbox / file.sha256).read_bytes() == file.path.read_bytes()


def test_a_push_of_other_bytes_is_not_repeated(place: Place, tmp_path: pathlib.Path) -> None:
    file = payload(tmp_path, bytes(range(25)))
    other = tmp_path / "other"
    other.write_bytes(bytes(25))
    for offset in (0, 3):
        (place.inbox / f"{file.sha256}.part").parent.mkdir(parents=True, exist_ok=True)
        (place.inbox / f"{file.sha256}.part").write_bytes(bytes(offset))
        with pytest.raises(DeviceRefusal) as caught:
            place.device.push(file.sha256, file.length, offset, other)
        assert caught.value.code == "HASH_MISMATCH"
        assert not (place.inbox / file.sha256).exists()


def test_a_push_that_is_cut_is_lost_and_resumes(
    place: Place, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PIECE", 10)
    file = payload(tmp_path, bytes(range(25)))
    place.device.call("stage")
    run = place.action._low_level_execute_command

    def cut(command: str, in_data: bytes | None = None) -> dict[str, t.Any]:
        if b'"offset": 10' in (in_data or b""):
            raise AnsibleConnectionFailure("cut")
        return run(command, in_data)

    monkeypatch.setattr(place.action, "_low_level_execute_command", cut)
    with pytest.raises(DeviceLost):
        place.device.push(file.sha256, file.length, 0, file.path)
    monkeypatch.undo()
    [missing] = place.device.call("stage", files=[{"sha256": file.sha256, "length": file.length}])["missing"]
    assert missing["offset"] == 10
    place.device.push(file.sha256, file.length, 10, file.path)
    assert (place.inbox / file.sha256).read_bytes() == file.path.read_bytes()
