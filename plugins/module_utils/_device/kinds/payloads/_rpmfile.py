# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Reading the header of an .rpm file (rpm.org, "RPM v4 file format"): a lead, a signature, a header, the payload.

A controller that publishes rpm packages need not have rpm; what a device installs is still read by its own rpm.
"""

from __future__ import annotations

import pathlib
import stat
import struct
import typing as t

_LEAD = 96
_LEAD_MAGIC = b"\xed\xab\xee\xdb"
_MAGIC = b"\x8e\xad\xe8\x01"
_PREAMBLE = struct.Struct(">4s4xII")
_INDEX = struct.Struct(">IIII")
#: No header is larger (rpm's own limits: ``HEADER_TAGS_MAX``, ``HEADER_DATA_MAX``).
_MOST_TAGS = 0x0000FFFF
_MOST_BYTES = 0x0FFFFFFF

_NAME, _VERSION, _RELEASE, _EPOCH, _SIZE, _ARCH = 1000, 1001, 1002, 1003, 1009, 1022
_MODES, _SOURCE, _OBSOLETES, _LONG_SIZE = 1030, 1044, 1090, 5009
_DIR_INDEXES, _BASE_NAMES, _DIR_NAMES = 1116, 1117, 1118
#: The values of a header by their tags: whole numbers or texts, as each tag has them.
Tags = t.Dict[int, t.List[t.Any]]
_INTEGERS = {2: "B", 3: "H", 4: "I", 5: "Q"}
_TEXTS = (6, 8, 9)


class Package(t.NamedTuple):
    """What a package says of itself. ``version`` is ``[EPOCH:]VERSION-RELEASE``, ``size`` is in bytes, installed."""

    name: str
    version: str
    architecture: str
    size: int
    obsoletes: list[str]
    #: Every absolute path it brings, and whether it is a directory.
    files: list[tuple[str, bool]]


def read(path: str | pathlib.Path) -> Package:
    """The package in ``path``; ValueError if it is none, or one of sources."""
    with open(path, "rb") as handle:
        if handle.read(_LEAD)[:4] != _LEAD_MAGIC:
            raise ValueError("%s is not an rpm package" % path)
        try:
            length = _skip(handle)
            handle.seek(-length % 8, 1)  # the signature is padded, the header is not
            tags = _header(handle)
            return _package(tags, str(path))
        except (struct.error, LookupError, UnicodeDecodeError) as error:
            raise ValueError("%s is not a whole rpm package: %s" % (path, error)) from None


def _package(tags: Tags, path: str) -> Package:
    if _SOURCE not in tags:
        raise ValueError("%s is a source package; give the built one" % path)
    version = "%s-%s" % (tags[_VERSION][0], tags[_RELEASE][0])
    if _EPOCH in tags:
        version = "%d:%s" % (tags[_EPOCH][0], version)
    folders = tags.get(_DIR_NAMES, [])
    files = [
        ((folders[index] + name).rstrip("/"), stat.S_ISDIR(mode))
        for index, name, mode in zip(tags.get(_DIR_INDEXES, []), tags.get(_BASE_NAMES, []), tags.get(_MODES, []))
    ]
    return Package(
        name=tags[_NAME][0],
        version=version,
        architecture=tags[_ARCH][0],
        size=int((tags.get(_LONG_SIZE) or tags.get(_SIZE) or [0])[0]),
        obsoletes=list(tags.get(_OBSOLETES, [])),
        files=files,
    )


def _preamble(handle: t.IO[bytes]) -> tuple[int, int]:
    magic, count, size = _PREAMBLE.unpack(handle.read(_PREAMBLE.size))
    if magic != _MAGIC or count > _MOST_TAGS or size > _MOST_BYTES:
        raise LookupError("its header is damaged")
    return count, size


def _skip(handle: t.IO[bytes]) -> int:
    """Pass over one header; its length."""
    count, size = _preamble(handle)
    handle.seek(count * _INDEX.size + size, 1)
    return _PREAMBLE.size + count * _INDEX.size + size


def _header(handle: t.IO[bytes]) -> Tags:
    count, size = _preamble(handle)
    index = handle.read(count * _INDEX.size)
    store = handle.read(size)
    if len(store) != size:
        raise LookupError("it ends within its header")
    return {tag: _values(store, kind, offset, number) for tag, kind, offset, number in _INDEX.iter_unpack(index)}


def _values(store: bytes, kind: int, offset: int, number: int) -> list[int] | list[str]:
    if kind in _INTEGERS:
        return list(struct.unpack_from(">%d%s" % (number, _INTEGERS[kind]), store, offset))
    values: list[str] = []
    if kind in _TEXTS:
        for _number in range(number):
            end = store.index(b"\0", offset)
            values.append(store[offset:end].decode("utf-8", "surrogateescape"))
            offset = end + 1
    return values
