# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing: whole or not at all, and never more than was promised."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import files, libraries
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import ControlError

CONTENT = b"content"


def copy(path: pathlib.Path, chunks: t.Iterable[bytes]) -> None:
    files.copy_hashed(chunks, path, sha256=hashlib.sha256(CONTENT).hexdigest(), length=len(CONTENT))


def test_what_was_promised_is_kept(tmp_path: pathlib.Path) -> None:
    copy(tmp_path / "a", [CONTENT[:3], CONTENT[3:]])
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("chunks", "code"),
    [
        ([b"CONTENT"], "HASH_MISMATCH"),
        ([b"conten"], "LENGTH_MISMATCH"),
        ([CONTENT, b"!"], "LENGTH_MISMATCH"),
        ([], "LENGTH_MISMATCH"),
    ],
)
def test_anything_else_leaves_the_old_file(tmp_path: pathlib.Path, chunks: list[bytes], code: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(ControlError) as caught:
        copy(path, chunks)
    assert caught.value.code == code
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_endless_source_is_not_read_to_its_end(tmp_path: pathlib.Path) -> None:
    counted = itertools.count()
    with pytest.raises(ControlError):
        copy(tmp_path / "a", (b"x" for _number in counted))
    assert next(counted) == len(CONTENT) + 1


def test_a_write_that_fails_leaves_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        files.write(path, b"new")
    with pytest.raises(OSError, match="No space"):
        files.write_new(tmp_path / "b", b"new", 0o600)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_and_directory_are_synced(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def noting(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", noting)
    files.write(tmp_path / "a", b"x")
    assert len(synced) == 2
    assert synced[0].startswith(str(tmp_path / ".new-"))
    assert synced[1] == str(tmp_path)


def test_a_lock_is_held_and_let_go(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new" / "lock"

    def taken() -> bool:
        with path.open() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    with files.lock(path):
        assert taken()
    assert not taken()


def test_one_value_has_one_form() -> None:
    assert files.canonical({"b": "\u00e4", "a": [1, None]}) == b'{"a":[1,null],"b":"\\u00e4"}'
    with pytest.raises(ValueError, match="JSON"):
        files.canonical(float("nan"))


def test_a_missing_library_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries.require()
    monkeypatch.setattr(libraries, "NEEDED", {"tuf": (99, 1), "no-such-thing": (2,)})
    with pytest.raises(ControlError, match=r"tuf>=99\.1 is needed.*no-such-thing>=2 is missing.*pip install"):
        libraries.require()


@pytest.fixture(params=[0o022, 0o077], ids=["umask 022", "umask 077"])
def umask(request: pytest.FixtureRequest) -> t.Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: pathlib.Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): oct(path.stat().st_mode & 0o7777) for path in folder.rglob("*")}


def test_what_a_web_server_reads_it_may_reach(tmp_path: pathlib.Path, umask: int) -> None:
    files.make_directory(tmp_path / "repository" / "metadata")
    files.write(tmp_path / "repository" / "metadata" / "root.json", CONTENT)
    assert modes(tmp_path) == {
        "repository": "0o755",
        "repository/metadata": "0o755",
        "repository/metadata/root.json": "0o644",
    }


def test_a_group_that_shares_a_directory_shares_what_is_made_in_it(tmp_path: pathlib.Path, umask: int) -> None:
    tmp_path.chmod(0o2770)
    files.make_directory(tmp_path / "journal", 0o700)
    files.write_new(tmp_path / "journal" / "a", CONTENT, 0o600)
    files.write(tmp_path / "journal" / "b", CONTENT, 0o600)
    with files.lock(tmp_path / "journal" / ".lock"):
        pass
    files.make_directory(tmp_path / "keys", 0o700, shared=False)
    files.write_new(tmp_path / "keys" / "key.pem", CONTENT, 0o600, shared=False)
    assert modes(tmp_path) == {
        "journal": "0o2770",
        "journal/a": "0o660",
        "journal/b": "0o660",
        "journal/.lock": "0o660",
        "keys": "0o700",
        "keys/key.pem": "0o600",
    }


def test_where_everybody_may_write_nothing_is_shared(tmp_path: pathlib.Path, umask: int) -> None:
    tmp_path.chmod(0o1777)
    files.make_directory(tmp_path / "journal", 0o700)
    files.write(tmp_path / "journal" / "a", CONTENT, 0o600)
    assert modes(tmp_path) == {"journal": "0o700", "journal/a": "0o600"}


def test_the_next_use_of_a_lock_opens_it_to_the_group(tmp_path: pathlib.Path) -> None:
    tmp_path.chmod(0o775)
    (tmp_path / ".lock").touch(0o600)
    with files.lock(tmp_path / ".lock"):
        pass
    assert modes(tmp_path) == {".lock": "0o660"}
