# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives that are not what the signed document lists, though their own digest may be; and very large files."""

from __future__ import annotations

import io
import os
import tarfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import release
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds import payloads
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.transfer import staging

FILES = {"bin/app": b"the program", "etc/conf": b"settings", "last": b"the end"}
Member = t.Tuple[str, bytes, bytes]


def pack(path: Path, members: t.Iterable[Member]) -> None:
    """A tar file of (name, content, type)."""
    with tarfile.open(str(path), "w") as archive:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.mode = len(content), kind, 0o644
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname, info.size, content = content.decode(), 0, b""
            archive.addfile(info, io.BytesIO(content))


def plain(files: t.Mapping[str, bytes]) -> list[Member]:
    """Regular files."""
    return [(name, content, tarfile.REGTYPE) for name, content in files.items()]


class Setting:
    """A device, and a release whose document was made from an honest archive."""

    def __init__(self, folder: Path) -> None:
        self.archive = folder / "app.tar"
        pack(self.archive, plain(FILES))
        payload = {"name": "app", "type": "archive", "source": "app.tar", "destination": "/opt/app"}
        author = {"format": 1, "name": "app", "version": "1", "counter": 1, "payloads": [payload]}
        self.document, _files = release.describe(author, folder)
        self.layout = Layout(str(folder / "device"))
        self.layout.prepare()

    def bring(self) -> Path:
        """Install what lies in the archive now; the directory that was made of it."""
        (installer,) = payloads.create(self.layout, self.document, lambda text: None)
        installer.files = {self.document["payloads"][0]["files"][0]["sha256"]: str(self.archive)}
        installer.require_installable()
        installer.install()
        return Path(self.layout.real("/opt/app/current"))

    def refusal(self) -> str:
        """The code with which it is refused; what runs is not touched then."""
        with pytest.raises(OtaError) as caught:
            self.bring()
        assert not os.path.lexists(self.layout.real("/opt/app/current"))
        return caught.value.code


@pytest.fixture()
def setting(tmp_path: Path) -> Setting:
    """An honest archive, for now."""
    return Setting(tmp_path)


def test_the_honest_one(setting: Setting) -> None:
    current = setting.bring()
    assert {name: (current / name).read_bytes() for name in FILES} == FILES


@pytest.mark.parametrize("position", [0, 1, 3])
@pytest.mark.parametrize(
    "extra",
    [
        ("extra", b"x", tarfile.REGTYPE),
        ("extra/", b"", tarfile.DIRTYPE),
        ("extra", b"bin/app", tarfile.SYMTYPE),
        ("extra", b"bin/app", tarfile.LNKTYPE),
        ("extra", b"", tarfile.FIFOTYPE),
        ("extra", b"", tarfile.CHRTYPE),
        ("../extra", b"x", tarfile.REGTYPE),
        ("/extra", b"x", tarfile.REGTYPE),
        ("bin/app", b"the program", tarfile.REGTYPE),
        ("bin/../bin/app", b"another", tarfile.REGTYPE),
        ("bin//./extra", b"x", tarfile.REGTYPE),
    ],
)
def test_what_is_not_listed(setting: Setting, extra: Member, position: int) -> None:
    """First, in the middle, last; also what is listed, but stands there twice."""
    members = plain(FILES)
    members.insert(position, extra)
    pack(setting.archive, members)
    assert setting.refusal() == "UNLISTED_FILE"


@pytest.mark.parametrize("name", FILES)
def test_one_byte_of_each_member(setting: Setting, name: str) -> None:
    content = FILES[name]
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        pack(setting.archive, plain({**FILES, name: bytes(changed)}))
        assert setting.refusal() == "HASH_MISMATCH"
    for other in (content + b" ", content[:-1], b""):
        pack(setting.archive, plain({**FILES, name: other}))
        assert setting.refusal() == "HASH_MISMATCH"


@pytest.mark.parametrize("name", FILES)
def test_a_member_that_is_missing(setting: Setting, name: str) -> None:
    pack(setting.archive, plain({key: value for key, value in FILES.items() if key != name}))
    assert setting.refusal() == "RELEASE"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_member_of_another_kind(setting: Setting, tmp_path: Path, kind: bytes) -> None:
    """A link in the place of a file must not be followed out of the directory, nor to a file of the same content."""
    (tmp_path / "secret").write_bytes(FILES["etc/conf"])
    links = {tarfile.LNKTYPE: b"bin/app", tarfile.SYMTYPE: str(tmp_path / "secret").encode()}
    where = links.get(kind, b"")
    members = [(name, where, kind) if name == "etc/conf" else (name, content, k) for name, content, k in plain(FILES)]
    pack(setting.archive, members)
    assert setting.refusal() in ("UNLISTED_FILE", "HASH_MISMATCH", "INSTALL")


@pytest.mark.parametrize("content", [b"", b"not a tar file", b"\0" * 1024])
def test_no_archive_at_all(setting: Setting, content: bytes) -> None:
    setting.archive.write_bytes(content)
    assert setting.refusal() == "RELEASE"


@pytest.mark.long
@pytest.mark.needs("tuf")  # one Python is enough for 4 GiB
def test_bytes_past_two_and_four_gigabytes_count(tmp_path: Path) -> None:
    """CVE-2026-34155: an overflow made RAUC sign the first bytes only. The digest is that of sha256sum."""
    digest = "2b511ed32f3902daf50696e683defa9be21e9f0f46282146f0429e190e2bc62c"
    length = 4402341478
    layout = Layout(str(tmp_path))
    layout.prepare()
    with open(layout.file("inbox", digest), "wb") as handle:
        handle.truncate(length)
        for position in (2**31 + 9, 2**32 + 9, length - 1):
            handle.seek(position)
            handle.write(b"\1")
    entry: payloads.File = {"name": "big", "sha256": digest, "length": length}
    assert list(staging.take(layout, layout.file("transactions", "t"), [entry])) == [digest]
