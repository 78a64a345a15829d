# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The device engine as one zipapp, the same bytes for the same code, so that its digest names it."""

from __future__ import annotations

import functools
import hashlib
import io
import pathlib
import typing as t
import zipfile

#: The package as it lies in the collection; in the zipapp it is called ``fleet_ota``.
SOURCE = pathlib.Path(__file__).resolve().parents[3] / "module_utils" / "_device"
#: Takes the bytecode that `_device/system/bytecode.py` keeps. A Python that is too old gets as far as `main`, which
#: says what is needed.
_START = b"""\
import sys

sys.path.insert(0, "%s.%s.zip" % (sys.argv[0][:-4], sys.implementation.cache_tag))
try:
    if sys.argv[1:2] == ["inside"]:
        import fleet_ota.system.overlay
    else:
        import fleet_ota.verbs
except Exception:
    del sys.path[0]
    for name in [name for name in sys.modules if name.split(".")[0] == "fleet_ota"]:
        del sys.modules[name]
try:
    from fleet_ota.main import main
except ImportError as error:
    text = "the Python of this device cannot start the engine: %s; install its library (Debian: libpython3-stdlib)"
    text = (text % error).replace(chr(92), " ").replace(chr(34), "'").replace(chr(10), " ")
    print('{"error": {"code": "NO_PYTHON", "message": "%s"}, "outcome": "refused"}' % text)
else:
    main()
"""
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Program(t.NamedTuple):
    """The zipapp: its bytes and their SHA-256."""

    content: bytes
    digest: str


@functools.lru_cache(maxsize=1)
def program() -> Program:
    """Pack the engine; once per process (forks inherit it from the parent that imported this)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        # Not compressed: a Python without zlib gets as far as this, and says so.
        _add(archive, "__main__.py", _START, zipfile.ZIP_STORED)
        for path in sorted(SOURCE.rglob("*.py")):
            _add(archive, f"fleet_ota/{path.relative_to(SOURCE).as_posix()}", path.read_bytes())
    content = buffer.getvalue()
    return Program(content, hashlib.sha256(content).hexdigest())


def _add(archive: zipfile.ZipFile, name: str, content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = compression
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)
