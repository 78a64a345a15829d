# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine as one program: the same bytes for the same code, and it runs on what a bare Python has."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import typing as t
import zipfile

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.system import bytecode
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine import zipapp


def fresh() -> zipapp.Program:
    """The program, packed anew."""
    zipapp.program.cache_clear()
    return zipapp.program()


def test_the_digest_is_that_of_the_bytes() -> None:
    made = fresh()
    assert hashlib.sha256(made.content).hexdigest() == made.digest


def copied(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> zipapp.Program:
    """The program from a copy of the sources: other times, other modes, made in another order."""
    for path in sorted(zipapp.SOURCE.rglob("*.py"), reverse=True):
        target = folder / path.relative_to(zipapp.SOURCE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        target.chmod(0o755)
        os.utime(target, (1, 1))
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"x")
    monkeypatch.setattr(zipapp, "SOURCE", folder)
    return fresh()


def test_the_same_code_gives_the_same_bytes_wherever_and_whenever_it_lies(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = fresh()
    later = time.time() + 86400
    monkeypatch.setattr(time, "time", lambda: later)
    assert copied(tmp_path / "copy", monkeypatch) == here


def test_other_code_gives_another_digest(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = fresh()
    copied(tmp_path / "copy", monkeypatch)
    with (tmp_path / "copy" / "main.py").open("a") as handle:
        handle.write("# changed\n")
    assert fresh().digest != here.digest


@pytest.fixture(autouse=True)
def packed_anew() -> t.Iterator[None]:
    """What a test packed must not be what the next one gets."""
    yield
    zipapp.program.cache_clear()


def test_it_holds_the_engine_and_nothing_else() -> None:
    with zipfile.ZipFile(io.BytesIO(fresh().content)) as archive:
        names = archive.namelist()
    assert names[0] == "__main__.py"
    # in an order that no file system decides
    assert names[1:] == sorted(names[1:], key=lambda name: pathlib.PurePosixPath(name).parts)
    assert {"fleet_ota/main.py", "fleet_ota/verbs/__init__.py", "fleet_ota/kinds/snapshots/files.py"} <= set(names)
    assert all(name.endswith(".py") for name in names)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ({"v": 1, "verb": "info"}, {"enrolled": False}),
        ({"v": 1, "verb": "dance"}, {"error": "ENGINE"}),
        ({"v": 99, "verb": "info"}, {"error": "ENGINE"}),
        (["no", "request"], {"error": "ENGINE"}),
        ("not json at all", {"error": "ENGINE"}),
    ],
)
def test_it_runs_isolated_and_answers_with_one_line(
    tmp_path: pathlib.Path, line: t.Any, part: dict[str, t.Any]
) -> None:
    """``-I -S -B``: no environment, no site packages, nothing written beside it."""
    path, root = tmp_path / "engine.pyz", tmp_path / "root"
    path.write_bytes(fresh().content)
    root.mkdir()
    if isinstance(line, dict):
        line = {"root": str(root), "state_dir": "/var/lib/fleet-ota", **line}
    content = (line if isinstance(line, str) else json.dumps(line)) + "\n"
    poison = {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": "/nonexistent", "PATH": os.defpath}
    (tmp_path / "json.py").write_text("raise SystemExit('taken from the environment')\n")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", str(path)],
        input=content.encode(),
        capture_output=True,
        env=poison,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    [answer] = done.stdout.decode().splitlines()
    found = json.loads(answer)
    if "error" in found:
        found = {"error": found["error"]["code"]}
    assert part.items() <= found.items()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["engine.pyz", "json.py", "root"]
    assert list(root.iterdir()) == []


def ask(path: pathlib.Path, root: pathlib.Path) -> tuple[dict[str, t.Any], set[str]]:
    """The engine's answer, and which files its modules came from."""
    line = json.dumps({"v": 1, "verb": "info", "root": str(root)}).encode() + b"\n"
    argv = [sys.executable, "-I", "-S", "-B", "-v", str(path)]
    done = subprocess.run(argv, input=line, capture_output=True, check=True)
    places = re.findall(
        r"^import 'fleet_ota\..*<zipimporter object \"(.*)/fleet_ota/.*\">$", done.stderr.decode(), re.M
    )
    return json.loads(done.stdout), set(places)


SPOILED: dict[str, t.Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "zeroes in the middle": lambda content: content[:1000] + bytes(len(content) - 20000) + content[-19000:],
    "zeroes at the begin": lambda content: bytes(5000) + content[5000:],
    "not a zip": lambda content: b"x" * 100,
}


def test_it_runs_from_its_bytecode(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "engine.pyz"
    path.write_bytes(fresh().content)
    found, places = ask(path, tmp_path)
    assert places == {str(path)}
    bytecode.write(str(path))
    again, places = ask(path, tmp_path)
    assert places == {bytecode.path(str(path))}
    assert again["capabilities"].keys() == found["capabilities"].keys()


@pytest.mark.parametrize("how", SPOILED)
def test_bytecode_that_cannot_be_read_does_no_harm(tmp_path: pathlib.Path, how: str) -> None:
    path = tmp_path / "engine.pyz"
    path.write_bytes(fresh().content)
    bytecode.write(str(path))
    compiled = pathlib.Path(bytecode.path(str(path)))
    compiled.write_bytes(SPOILED[how](compiled.read_bytes()))
    found, places = ask(path, tmp_path)
    assert found["enrolled"] is False
    assert str(path) in places
