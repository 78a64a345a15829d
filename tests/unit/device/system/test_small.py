# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small and odd machines: memory for any number of files, other locales, a Python that lacks parts of its library."""

from __future__ import annotations

import functools
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tracemalloc
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base import longlist
from ansible_collections.fleet.ota.plugins.module_utils._device.base import shape as module
from ansible_collections.fleet.ota.plugins.module_utils._device.base.shape import Shape
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import release
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds import payloads, snapshots
from ansible_collections.fleet.ota.plugins.module_utils._device.system.files import tree
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout

from ..conftest import Device, Publisher

FEW, MANY = 100, 400
#: What a file may cost on the way back: its path, in a few lists. All of a manifest is some 700 bytes a file.
BYTES_PER_FILE = 260


def peak(call: t.Callable[[], object]) -> int:
    """The most memory in bytes that ``call`` has at a time."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def taken(top: Path, count: int) -> snapshots.Base:
    """A device whose `/srv` has ``count`` files, and a snapshot of it that is not created yet."""
    for number in range(count):
        folder = top / "srv" / ("folder-%03d" % (number // 20))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("a file with a name of usual length %04d" % number)).write_bytes(b"x")
    layout = Layout(str(top))
    selection = tree.select(layout, (), ("/srv",), ())
    return snapshots.choose(layout, selection, "files")(layout, "one", selection)


def write_all(top: Path) -> None:
    for path in (top / "srv").rglob("a file*"):
        path.write_bytes(b"yy")


STEPS: dict[str, tuple[t.Callable[[snapshots.Base], object], int]] = {
    "estimate": (lambda one: one.estimate(), 48),
    "create": (lambda one: one.create(), 48),
    "prove": (lambda one: one.prove(), 60),
    "record what is there now": (lambda one: one.record_after(), 60),
    "compare": (lambda one: one.remaining(), 60),
    "put everything back": (lambda one: one.restore(), BYTES_PER_FILE),
    "what would go back": (lambda one: one.undo(), BYTES_PER_FILE),
}


def test_a_snapshot_takes_no_memory_for_its_files(tmp_path: Path) -> None:
    few, many = taken(tmp_path / "few", FEW), taken(tmp_path / "many", MANY)
    for step, (call, allowed) in STEPS.items():
        if step.startswith("put"):
            write_all(tmp_path / "few")
            write_all(tmp_path / "many")
        call(few)  # what is imported and compiled at the first time is not counted
        if step.startswith("put"):
            write_all(tmp_path / "few")
        more = peak(lambda call=call: call(many)) - peak(lambda call=call: call(few))  # type: ignore[misc]
        assert more < allowed * (MANY - FEW), "%s: %d bytes for each file" % (step, more // (MANY - FEW))
    assert many.remaining() == []


def published(folder: Path, count: int) -> tuple[bytes, dict[str, t.Any], Path]:
    """A release of an archive of ``count`` files: its document as bytes and as what it says, and the archive."""
    archive = folder / ("%d.tar" % count)
    with tarfile.open(str(archive), "w") as handle:
        for number in random.Random(1).sample(range(count), count):  # no archiver sorts
            info = tarfile.TarInfo("modules/package-%03d/file number %04d.js" % (number // 20, number))
            handle.addfile(info, io.BytesIO())
    payload = {"name": "app", "type": "archive", "source": archive.name, "destination": "/opt/app"}
    author = {"format": 1, "name": "app", "version": "1", "counter": 1, "payloads": [payload]}
    document, _files = release.describe(author, folder)
    return release.canonical(document), t.cast("dict[str, t.Any]", document), archive


def test_a_release_takes_no_memory_for_its_members(tmp_path: Path) -> None:
    def install(content: bytes, archive: Path) -> None:
        document = release.load(longlist.of_bytes(content))
        layout = Layout(str(archive.with_suffix("")))
        [installer] = payloads.create(layout, document, lambda text: None)
        installer.files = {installer.payload["files"][0]["sha256"]: str(archive)}
        installer.require_installable()
        installer.scope()
        installer.needs()
        installer.install()
        installer.prune(["0"])
        assert installer.observe() == "1"

    sizes = []
    for count in (FEW, FEW, MANY):
        content, document, archive = published(tmp_path, count)
        archive.with_suffix("").mkdir(exist_ok=True)
        read = t.cast("dict[str, t.Any]", release.load(longlist.of_bytes(content)))
        assert list(read["payloads"][0]["members"]) == document["payloads"][0]["members"]
        sizes.append(peak(functools.partial(install, content, archive)))
    more = (sizes[2] - sizes[1]) // (MANY - FEW)
    assert more < 110, "%d bytes for each member" % more


def test_long_lists_are_read_as_others_are() -> None:
    numbers = random.Random(2)
    for count in (1, 2, 300, 1500):
        texts = ["ü%d", 'x,"members":[{%d', "%d€\U0001d11e", "\\%d\\\\"]
        members = [{"path": numbers.choice(texts) % n, "n": n, "x": {"members": [{"a": 1}]}} for n in range(count)]
        parts: list[object] = [{"members": members, "z": "\\"}, {"members": []}, {"members": [1]}, {"members": [{}]}]
        value = {"description": ',"members":[{"', "parts": parts}
        content = release.canonical(value)
        read = t.cast("dict[str, t.Any]", longlist.load(longlist.of_bytes(content), "members", dict))
        long = read["parts"][0]["members"]
        assert isinstance(long, longlist.LongList) and list(long) == members
        assert [long[0], long[count // 2], long[count - 1]] == [members[0], members[count // 2], members[-1]]
        read["parts"][0]["members"] = members
        read["parts"][3]["members"] = list(read["parts"][3]["members"])
        assert read == value
        for end in numbers.sample(range(len(content) - 2), 3):
            with pytest.raises(ValueError):
                longlist.load(longlist.of_bytes(content[:end]), "members", dict)


def test_a_key_twice_in_a_member_is_refused() -> None:
    with pytest.raises(release.ReleaseError, match="twice"):
        release.load(longlist.of_bytes(b'{"payloads":[{"members":[{"path":"a","path":"b"}]}]}'))


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 1000])
def test_values_are_counted_and_what_is_in_texts_is_not(cut: int) -> None:
    value = ["[{,", "\\", '"', '\\"[', {'a\\"': ["", {}]}, [[], []]]
    content = json.dumps(value).encode()
    blocks = [content[start : start + cut] for start in range(0, len(content), cut)]
    for most, fits in ((14, True), (13, False)):
        shape, seen = Shape(most), True
        try:
            for block in blocks:
                shape.feed(block)
        except ValueError:
            seen = False
        assert seen is fits


@pytest.mark.parametrize("ascii_only", [True, False])
def test_long_texts_are_what_they_are(monkeypatch: pytest.MonkeyPatch, ascii_only: bool) -> None:
    monkeypatch.setattr(module, "LONG", 50)
    monkeypatch.setattr(module, "_PIECE", 20)
    numbers = random.Random(4)
    for _time in range(200):
        texts = ["".join(numbers.choices('a"\\\nü€\U0001d11e{[,', k=numbers.randint(0, 200))) for _text in range(4)]
        value = {"a": texts[0], "b": [texts[1], {"c": texts[2]}], "d": [1, None], texts[3][:10]: "x"}
        line = json.dumps(value, ensure_ascii=ascii_only).encode()
        shape, cut = Shape(100), numbers.randint(1, 60)
        for start in range(0, len(line), cut):
            shape.feed(line[start : start + cut])
        assert module.loads(bytearray(line), shape.long) == value


# -- the program ---------------------------------------------------------------------------------------------------


def run(program: Path, line: bytes, *options: str, code: str = "", **env: str) -> tuple[dict[str, t.Any], int]:
    """The program's answer, and the most memory that it had, in KiB."""
    start = "import runpy, sys; sys.argv = [%r]; %s; runpy.run_path(sys.argv[0], run_name='__main__')"
    argv = ["-c", start % (str(program), code)] if code else [str(program)]
    process = subprocess.Popen(
        [sys.executable, *options, "-I", "-S", "-B", *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **env},
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(line)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it had enough
    answer = process.stdout.read()
    process.stdout.close()
    _pid, _status, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return json.loads(answer), usage.ru_maxrss


def test_a_request_is_judged_before_it_is_in_memory(program: Path, tmp_path: Path) -> None:
    line = b'{"v":1,"verb":"info","root":"%s","x":[%s]}\n'
    junk = line % (os.fsencode(tmp_path), b",".join([b'{"":0}'] * 2_000_000))
    reply, _memory = run(program, junk)
    assert "more than" in reply["error"]["message"] and "trust_root" not in reply


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="this Python always has UTF-8")
def test_another_locale_does_not_change_names(device: Device, publisher: Publisher) -> None:
    publisher.release(1, content={"bin/app": "app", "etc/grün": "x", "etc/日本": "y"})
    device.stage(publisher.files)
    request = {"v": 1, "verb": "apply", "root": str(device.root), "bundle": publisher.repository.bundle(), "wait": 20}
    reply, _memory = run(device.program, json.dumps(request).encode() + b"\n", "-X", "utf8=0", LC_ALL="C")
    assert reply["state"] == "unconfirmed", reply
    assert sorted(os.listdir(os.fsencode(device.root / "opt/app/current/etc"))) == ["grün".encode(), "日本".encode()]
    device.call("confirm")


@pytest.mark.parametrize("module", ["_ctypes", "_ssl", "_lzma", "_bz2", "sqlite3", "distutils"])
def test_parts_of_python_that_no_update_needs_may_be_missing(program: Path, tmp_path: Path, module: str) -> None:
    line = json.dumps({"v": 1, "verb": "info", "root": str(tmp_path)}).encode() + b"\n"
    reply, _memory = run(program, line, code="sys.modules[%r] = None" % module)
    assert reply["enrolled"] is False


@pytest.mark.parametrize(
    ("module", "named"), [("hashlib", "hashlib"), ("_json", None), ("fcntl", "fcntl"), ("json", "json")]
)
def test_a_part_that_is_needed_is_named(program: Path, tmp_path: Path, module: str, named: str | None) -> None:
    line = json.dumps({"v": 1, "verb": "info", "root": str(tmp_path)}).encode() + b"\n"
    reply, _memory = run(program, line, code="sys.modules[%r] = None" % module)
    if named is None:
        assert reply["enrolled"] is False
        return
    assert (reply["error"]["code"], reply["outcome"]) == ("NO_PYTHON", "refused")
    assert named in reply["error"]["message"] and "libpython3-stdlib" in reply["error"]["message"]
