# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a sealed device answers: each verb, each key, whatever the request says about itself."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device import verbs
from ansible_collections.fleet.ota.plugins.module_utils._device.admission import requests
from ansible_collections.fleet.ota.plugins.module_utils._device.base import protocol
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.enrolment import sealed
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.transfer import inbox
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine import zipapp

from ..conftest import Device, Publisher

DIGEST = "a" * 64
MIRROR = "https://mirror.example/ota"
URL = "%s/targets/payloads/%s" % (MIRROR, DIGEST)
LAYOUT = Layout()
LEAST = sealed.Settings(login="ota")
MOST = sealed.Settings(
    login="ota", rollback=True, retry_rejected=True, protect=("/etc/app",), mirrors=(MIRROR + "/",), inbox_bytes=1000
)
FILE = {"sha256": DIGEST, "length": 1}
PIECE = {"sha256": DIGEST, "length": 2, "offset": 0, "size": 2}


def admit(verb: t.Any, settings: sealed.Settings = LEAST, **keys: t.Any) -> dict[str, t.Any]:
    return t.cast(
        "dict[str, t.Any]", requests.admit(LAYOUT, settings, {"v": 1, "verb": verb, **keys}, protocol.VERSION)
    )


def refusal(verb: t.Any, settings: sealed.Settings = LEAST, **keys: t.Any) -> OtaError:
    with pytest.raises(OtaError) as caught:
        admit(verb, settings, **keys)
    return caught.value


# -- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "allowed"),
    [
        ("info", True),
        ("verify", True),
        ("stage", True),
        ("apply", True),
        ("status", True),
        ("confirm", True),
        ("restore", True),
        ("health", True),
        ("snapshot", True),
        ("enroll", False),
        ("install", False),
        ("rollback", False),
        ("worker", False),
        ("", False),
        (None, False),
        (["apply"], False),
    ],
)
def test_verbs(verb: t.Any, allowed: bool) -> None:
    if allowed:
        assert admit(verb)["verb"] == verb
    else:
        assert refusal(verb).code == "SEALED"


def test_every_verb_is_in_the_table_or_refused_on_purpose() -> None:
    assert set(verbs.VERBS) - set(requests.TABLE) == {"enroll", "install"}
    assert set(requests.TABLE) - set(verbs.VERBS) == set()


GOOD = [
    ("verify", {"bundle": {}}),
    ("stage", {"files": [FILE], "put": PIECE, "check": True}),
    ("apply", {"bundle": {}, "rollout": "r", "generation": 3, "deadline": 600, "guard": "auto", "snapshot": "files"}),
    ("apply", {"guard": "systemd", "protect": [], "retry_rejected": False, "checkpoint": {"size": 1}, "wait": 20}),
    ("apply", {"witnessed": {"size": 1}}),
    ("apply", {"expected": {"instance": "i", "sequence": 7}}),
    ("apply", {"interlocks": [{"name": "p", "type": "power", "min_percent": 50}]}),
    ("apply", {"interlocks": []}),
    ("confirm", {"rollout": "r", "transaction": "t", "check": False}),
    ("restore", {"rollout": "r", "code": "TEAM_CHECK", "message": "the line stands", "wait": 0.5}),
    ("status", {"wait": 1}),
    ("snapshot", {"action": "list"}),
]
BAD = [
    ("verify", {"bundle": "text"}),
    ("verify", {"retry_rejected": True}),
    ("stage", {"files": [{**FILE, "sha256": "../../etc/passwd"}]}),
    ("stage", {"files": [{**FILE, "sha256": DIGEST + "\n"}]}),
    ("stage", {"files": [{"sha256": DIGEST}]}),
    ("stage", {"files": "x"}),
    ("stage", {"put": {**PIECE, "sha256": "../lock"}}),
    ("stage", {"put": {**PIECE, "offset": -1}}),
    ("stage", {"put": {**PIECE, "size": True}}),
    ("stage", {"put": {**PIECE, "length": "2"}}),
    ("stage", {"pull": {DIGEST: [URL]}}),
    ("apply", {"guard": "none"}),
    ("apply", {"guard": "process"}),
    ("apply", {"snapshot": "none"}),
    ("apply", {"deadline": 86401}),
    ("apply", {"deadline": 4}),
    ("apply", {"deadline": "600"}),
    ("apply", {"protect": ["/var/log"]}),
    ("apply", {"protect": "/etc"}),
    ("apply", {"retry_rejected": True}),
    ("apply", {"pull": {DIGEST: [URL]}}),
    ("apply", {"checkpoint": {"text": "x" * 5000}}),
    ("apply", {"witnessed": {"text": "x" * 5000}}),
    ("apply", {"expected": {"instance": "i", "sequence": -1}}),
    ("apply", {"expected": 7}),
    ("apply", {"interlocks": [{"name": "p", "type": "power", "min_percent": 500}]}),
    ("apply", {"interlocks": [{"name": "p", "type": "command", "argv": ["reboot"]}]}),
    ("apply", {"interlocks": [{"name": "p", "type": "file", "path": "/root/.ssh"}]}),
    ("apply", {"interlocks": [{"name": "p", "type": "http", "url": "http://inside/"}]}),
    ("apply", {"interlocks": "all"}),
    ("apply", {"generation": -1}),
    ("apply", {"rollout": "x" * 300}),
    ("apply", {"wait": "long"}),
    ("health", {"checks": [{"name": "x", "type": "command", "command": ["touch", "/x"]}]}),
    ("health", {"baseline": {"x": 1}}),
    ("snapshot", {"action": "create", "name": "x", "paths": ["/"]}),
    ("snapshot", {"action": "restore", "name": "x"}),
    ("snapshot", {"action": "remove", "name": "x"}),
    ("status", {"root": "/tmp/mine"}),
    ("status", {"state_dir": "/tmp/mine"}),
    ("status", {"state_dir": "/var/lib/fleet-ota/../../../tmp"}),
    ("status", {"v": 2}),
]


@pytest.mark.parametrize(("verb", "keys"), GOOD)
def test_allowed(verb: str, keys: dict[str, t.Any]) -> None:
    assert admit(verb, **keys) == {"v": 1, "verb": verb, **keys}


@pytest.mark.parametrize(("verb", "keys"), BAD)
def test_refused(verb: str, keys: dict[str, t.Any]) -> None:
    error = refusal(verb, **keys)
    assert (error.code, error.outcome) == ("SEALED", "refused")


ALLOWED_BY_SETTINGS = [
    ("rollback", {"name": "app", "deadline": 60}),
    ("apply", {"retry_rejected": True}),
    ("apply", {"protect": ["/etc/app"]}),
    ("apply", {"pull": {DIGEST: [URL]}}),
    ("stage", {"pull": {DIGEST: [URL, URL]}}),
]


@pytest.mark.parametrize(("verb", "keys"), ALLOWED_BY_SETTINGS)
def test_allowed_by_settings(verb: str, keys: dict[str, t.Any]) -> None:
    assert admit(verb, MOST, **keys) == {"v": 1, "verb": verb, **keys}
    assert refusal(verb, LEAST, **keys).code == "SEALED"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/shadow",
        "http://127.0.0.1:8080/",
        URL + "?x",
        URL + "/../x",
        URL.replace("https", "http"),
        URL.replace("mirror.example", "mirror.example@127.0.0.1"),
        URL[:-1] + "b",
        URL + "\n",
    ],
)
def test_only_what_a_known_mirror_has_for_the_digest_is_pulled(url: str) -> None:
    assert refusal("apply", MOST, pull={DIGEST: [url]}).code == "SEALED"
    assert refusal("stage", MOST, pull={DIGEST: [URL, url]}).code == "SEALED"


def test_settings_never_allow_to_lose_what_others_changed() -> None:
    assert refusal("rollback", MOST, overwrite=True).code == "SEALED"


def test_keys_that_this_engine_does_not_know_never_reach_it() -> None:
    assert admit("status", require_approval=False, login="x", own=True) == {"v": 1, "verb": "status"}


def test_the_way_back_stays_open_whatever_is_said_about_it() -> None:
    found = admit("restore", code="INTERRUPTED", message="x" * 9000)
    assert (found["code"], len(found["message"])) == ("REQUESTED", 2000)


def test_every_key_that_the_engine_reads_was_thought_about() -> None:
    """A new key of a request has to get its rule, or be named here as one that sealed devices never hear."""
    read = set()
    for path in zipapp.SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
                found = (node.func.value, node.args[0])
            elif isinstance(node, ast.Subscript):
                inner: t.Any = node.slice
                found = (node.value, inner.value if type(inner).__name__ == "Index" else inner)  # until Python 3.8
            if found and isinstance(found[0], ast.Name) and found[0].id == "request":
                if isinstance(found[1], ast.Constant):
                    read.add(found[1].value)
    never = {"identity", "trust_root", "tls", "sealed", "name", "paths", "kind", "v", "verb", "root", "state_dir"}
    assert read - never - {key for rules in requests.TABLE.values() for key in rules} == set()
    assert {"bundle", "pull", "guard"} <= read, "nothing was read; this test would always pass"


# -- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"login": "root; x"},
        {"login": "ota\n"},
        {"login": "ota", "rollback": "yes"},
        {"login": "ota", "protect": ["/"]},
        {"login": "ota", "protect": "/etc"},
        {"login": "ota", "mirrors": ["file:///"]},
        {"login": "ota", "inbox_bytes": 0},
        {"login": "ota", "other": 1},
        [],
    ],
)
def test_settings_with_mistakes(value: t.Any) -> None:
    with pytest.raises(OtaError) as caught:
        sealed.parse(value)
    assert caught.value.code == "SEALED"


def test_damaged_settings_are_not_taken_as_none(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    layout.prepare()
    assert sealed.load(layout) is None
    for damage in ("", "{", "[]", "null, "):
        Path(sealed.path(layout)).write_text(damage)
        with pytest.raises(OtaError):
            sealed.load(layout)


# -- the program -----------------------------------------------------------------------------------------------------


class Sealed:
    """A sealed device that is a directory, asked through what the sealed program starts."""

    def __init__(self, device: Device, **settings: t.Any) -> None:
        self.device = device
        document = {"format": 1, "login": "ota", "require_approval": False, **settings}
        (device.state / "sealed.json").write_text(json.dumps(document))

    def start(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-I", "-S", "-B", str(self.device.program)]
        argv += ["sealed", str(self.device.root), "/var/lib/fleet-ota"]
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe)

    def raw(self, content: bytes) -> dict[str, t.Any]:
        out, err = self.start().communicate(content)
        assert out, err
        reply: dict[str, t.Any] = json.loads(out)
        return {**reply.get("error", {}), **reply}

    def call(self, verb: str, data: bytes = b"", **request: t.Any) -> dict[str, t.Any]:
        return self.raw(json.dumps({"v": 1, "verb": verb, **request}).encode() + b"\n" + data)


@pytest.fixture()
def box(device: Device) -> Sealed:
    """A sealed device."""
    return Sealed(device)


def test_an_update_and_no_way_back_from_it(box: Sealed, publisher: Publisher) -> None:
    for version in (1, 2):
        publisher.release(version)
        for digest, path in publisher.files.items():
            content = path.read_bytes()
            piece = {"sha256": digest, "length": len(content), "offset": 0, "size": len(content)}
            assert box.call("stage", content, put=piece)["missing"] == []
        reply = box.call("apply", bundle=publisher.repository.bundle(), wait=20)
        assert reply["state"] == "unconfirmed", reply
        assert box.call("confirm", transaction=reply["transaction"])["outcome"] == "updated"
    assert box.call("rollback", name="app")["code"] == "SEALED"
    assert box.device.call("rollback", wait=20)["state"] == "unconfirmed"  # with admin rights
    assert box.call("info")["sealed"]["login"] == "ota"


def test_without_settings_it_answers_nobody(box: Sealed) -> None:
    (box.device.state / "sealed.json").unlink()
    assert box.call("info")["code"] == "SEALED"


@pytest.mark.parametrize("line", [b"", b"\n", b"{", b"[]\n", b"null\n", b'"x"\n', b"\xff\xfe\n", b"[" * 100000 + b"\n"])
def test_malformed_requests_get_an_answer(box: Sealed, line: bytes) -> None:
    before = box.device.tree()
    assert box.raw(line)["code"] in ("ENGINE", "SEALED")
    assert box.device.tree() == before


def test_a_request_that_never_ends_is_cut(box: Sealed) -> None:
    process = box.start()
    assert process.stdin
    block = b"x" * (1 << 20)
    with pytest.raises(BrokenPipeError):
        for _count in range(100):
            process.stdin.write(block)
    assert b"bytes" in (process.stdout.read() if process.stdout else b"")
    process.kill()
    process.wait()


# -- the inbox -------------------------------------------------------------------------------------------------------


def piece(number: int, size: int) -> dict[str, t.Any]:
    return {"sha256": "%064x" % number, "length": size + 1, "offset": 0, "size": size}  # never complete


def test_the_inbox_has_a_limit_and_what_is_stale_makes_room(device: Device) -> None:
    box = Sealed(device, inbox_bytes=10000)
    assert box.call("stage", bytes(6000), put=piece(1, 6000)).get("code") is None
    full = box.call("stage", bytes(6000), put=piece(2, 6000))
    assert (full["code"], full["outcome"]) == ("NO_SPACE", "deferred")
    assert box.call("stage", bytes(20000), put=piece(3, 20000))["code"] == "NO_SPACE"
    old = time.time() - 4000
    os.utime(str(device.state / "inbox" / ("%064x.part" % 1)), (old, old))
    assert box.call("stage", bytes(6000), put=piece(2, 6000)).get("code") is None
    assert [path.name for path in (device.state / "inbox").iterdir() if path.stat().st_size] == ["%064x.part" % 2]


def test_the_inbox_holds_so_many_files(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(str(device.root))
    Sealed(device)
    monkeypatch.setattr(inbox, "_MOST_FILES", 3)
    for number in range(3):
        inbox.room(layout, "%064x" % number, 0)
        (device.state / "inbox" / ("%064x.part" % number)).touch()
    (device.state / "inbox" / "one-more").touch()
    with pytest.raises(OtaError) as caught:
        inbox.room(layout, "%064x" % 9, 0)
    assert caught.value.code == "NO_SPACE"


def test_a_piece_that_has_no_room_leaves_no_file(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(str(device.root))
    Sealed(device)
    monkeypatch.setattr(inbox, "_MOST_FILES", 2)
    for number in range(2):
        with inbox.own(layout, "%064x" % number):
            pass
    with pytest.raises(OtaError) as caught, inbox.own(layout, "%064x" % 9):
        pass
    assert caught.value.code == "NO_SPACE"
    assert len(list((device.state / "inbox").iterdir())) == 2


def test_the_limits_hold_against_sessions_in_parallel(device: Device) -> None:
    """Five sessions send one payload: each goes on with what the one before has, which is emptied."""
    layout = Layout(str(device.root))
    Sealed(device, inbox_bytes=100_000)
    digest = "%064x" % 1
    with contextlib.ExitStack() as sessions:
        handles: list[inbox.Handle] = []
        for _session in range(5):
            handle = sessions.enter_context(inbox.own(layout, digest))
            if handles:
                with pytest.raises(OtaError) as caught:
                    handles[-1].write(b"late")
                assert caught.value.code == "FETCH"
            handle.seek(0, os.SEEK_END)
            with contextlib.suppress(OtaError):
                while handle.write(bytes(10_000)):
                    pass
            handles.append(handle)
            held = sum(os.fstat(one.fileno()).st_blocks * 512 for one in handles)
            assert held <= 100_000 + 4096 * len(handles)
        assert os.fstat(handles[-1].fileno()).st_size == 100_000, "and the last one can use all of it"


def test_bytes_cannot_be_added_after_they_were_checked(box: Sealed, publisher: Publisher) -> None:
    """One session keeps the file open that another one completes."""
    publisher.release(1)
    ((digest, path),) = publisher.files.items()
    content = path.read_bytes()
    whole = {"sha256": digest, "length": len(content), "offset": 0, "size": len(content)}
    waiting = box.start()
    assert waiting.stdin
    waiting.stdin.write(json.dumps({"v": 1, "verb": "stage", "put": whole}).encode() + b"\n")
    waiting.stdin.flush()
    part = device_part(box, digest)
    end = time.monotonic() + 20
    while not part.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert box.call("stage", content, put=whole)["missing"] == []
    out, _err = waiting.communicate(b"evil" + bytes(len(content) - 4))  # goes on writing now
    assert json.loads(out)["error"]["code"] in ("FETCH", "HASH_MISMATCH")
    assert (part.parent / digest).read_bytes() == content
    reply = box.call("apply", bundle=publisher.repository.bundle(), wait=20)
    assert reply["state"] == "unconfirmed", reply


def device_part(box: Sealed, digest: str) -> Path:
    return box.device.state / "inbox" / (digest + ".part")
