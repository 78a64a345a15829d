# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Payload bytes: staged in pieces or pulled, and refused when they are not what was signed."""

from __future__ import annotations

import functools
import http.server
import io
import tarfile
import threading
import typing as t
from pathlib import Path

import pytest

from ..conftest import Device, Publisher

pytestmark = pytest.mark.one_python


def test_pieces_resume_where_they_ended(device: Device, publisher: Publisher) -> None:
    publisher.release(1)
    ((digest, path),) = publisher.files.items()
    content = path.read_bytes()
    piece = {"sha256": digest, "length": len(content), "offset": 0, "size": 10}
    assert device.call("stage", content[:10], put=piece)["missing"][0]["offset"] == 10
    wrong = device.call("stage", content, put={**piece, "offset": 0, "size": len(content)})
    assert wrong["error"]["code"] == "FETCH" and wrong["error"]["detail"] == {"offset": 10}
    cut = device.call("stage", content[10:15], put={**piece, "offset": 10, "size": len(content) - 10})
    assert cut["error"]["code"] == "FETCH"
    files = [{"sha256": digest, "length": len(content)}]
    assert device.call("stage", files=files)["missing"][0]["offset"] == 15
    rest = {**piece, "offset": 15, "size": len(content) - 15}
    assert device.call("stage", content[15:], put=rest)["missing"] == []


def test_a_changed_byte_does_not_arrive(device: Device, publisher: Publisher) -> None:
    publisher.release(1)
    ((digest, path),) = publisher.files.items()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    piece = {"sha256": digest, "length": len(content), "offset": 0, "size": len(content)}
    assert device.call("stage", bytes(content), put=piece)["error"]["code"] == "HASH_MISMATCH"


def test_a_byte_changed_after_staging_is_refused(device: Device, publisher: Publisher) -> None:
    publisher.release(1)
    device.stage(publisher.files)
    path = next((device.state / "inbox").iterdir())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    before = device.tree()
    reply = device.call("apply", bundle=publisher.repository.bundle(), wait=20)
    assert (reply["outcome"], reply["code"]) == ("refused", "HASH_MISMATCH"), reply
    assert device.tree() == before


@pytest.fixture()
def mirror(tmp_path: Path) -> t.Iterator[str]:
    """A web server of a folder, without byte ranges."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "http://127.0.0.1:%d" % server.server_port
        server.shutdown()


def test_pulling_resumes_and_ends_in_an_update(
    device: Device, publisher: Publisher, mirror: str, tmp_path: Path
) -> None:
    publisher.release(1)
    ((digest, path),) = publisher.files.items()
    (tmp_path / "mirror" / digest).write_bytes(path.read_bytes())
    (device.state / "inbox" / (digest + ".part")).write_bytes(path.read_bytes()[:7])
    urls = ["%s/nothing" % mirror, "%s/%s" % (mirror, digest)]
    reply = device.call("apply", bundle=publisher.repository.bundle(), pull={digest: urls}, wait=20)
    assert reply["state"] == "unconfirmed", reply


@pytest.mark.parametrize("lie", ["other", "short", "gone"])
def test_a_mirror_that_lies_costs_nothing(
    device: Device, publisher: Publisher, mirror: str, tmp_path: Path, lie: str
) -> None:
    publisher.release(1)
    ((digest, path),) = publisher.files.items()
    content = path.read_bytes()
    found = {"other": bytes(len(content)), "short": content[:-3]}.get(lie)
    if found is not None:
        (tmp_path / "mirror" / digest).write_bytes(found)
    urls = {digest: ["%s/%s" % (mirror, digest)]}
    reply = device.call("apply", bundle=publisher.repository.bundle(), pull=urls, wait=20)
    assert (reply["outcome"], reply["code"]) == ("deferred", "FETCH"), reply
    assert not (device.root / "opt").exists()


def test_a_member_that_is_not_listed_is_refused(device: Device, publisher: Publisher, tmp_path: Path) -> None:
    document = publisher.release(1)
    archive = tmp_path / "app-1.tar.gz"
    with tarfile.open(str(archive), "w:gz") as handle:
        for name in ("bin/app", "etc/default", "bin/extra"):
            info = tarfile.TarInfo(name)
            handle.addfile(info, io.BytesIO())
    from ansible_collections.fleet.ota.plugins.module_utils._device.system.files import hashing

    entry = document["payloads"][0]["files"][0]
    entry.update(length=archive.stat().st_size, sha256=hashing.of_file(archive))
    publisher.repository.publish(document)
    device.stage({entry["sha256"]: archive})
    reply = device.call("apply", bundle=publisher.repository.bundle(), wait=20)
    assert (reply["outcome"], reply["code"]) == ("refused", "UNLISTED_FILE"), reply


def test_no_space_defers_and_keeps_what_was_staged(device: Device, publisher: Publisher) -> None:
    publisher.release(1, requires={"free_space": 1 << 60})
    device.stage(publisher.files)
    reply = device.call("apply", bundle=publisher.repository.bundle(), wait=20)
    assert (reply["outcome"], reply["code"]) == ("deferred", "NO_SPACE"), reply
    files = [{"sha256": digest, "length": path.stat().st_size} for digest, path in publisher.files.items()]
    assert device.call("stage", files=files)["missing"] == []


def test_packages_need_a_whole_machine(device: Device, publisher: Publisher) -> None:
    document = publisher.release(1)
    entry = dict(document["payloads"][0]["files"][0], package="app", version="1", architecture="all", installed_size=1)
    document["payloads"] = [{"name": "app", "type": "deb", "files": [entry]}]
    publisher.repository.publish(document)
    reply = device.call("apply", bundle=publisher.repository.bundle(), wait=20)  # before any byte travels
    assert (reply["outcome"], reply["error"]["code"]) == ("refused", "UNSUPPORTED"), reply
