# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The engine compiled beside the engine: Python keeps no bytecode of what it reads from a zip file.

Compiling is more than half of what a call costs a device. What is kept is for one version of Python and only saves
time: the program starts from its own source where it is missing, is of another Python or cannot be read.
"""

from __future__ import annotations

import importlib.util
import io
import marshal
import sys
import zipfile

from . import durable

#: PEP 552: never compared with its source. The name says which one it is, by the digest of the whole program.
_UNCHECKED_HASH = (0b01).to_bytes(4, "little")
_START = "__main__.py"


def path(program: str) -> str:
    """Where the bytecode of the zipapp ``program`` is kept for the Python that runs this; `__main__` looks there."""
    return "%s.%s.zip" % (program[: -len(".pyz")], sys.implementation.cache_tag)


def write(program: str) -> None:
    """Compile the zipapp ``program``. Raises OSError when there is no room."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(program) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            if name == _START:
                continue
            text = source.read(name)
            code = compile(text, "%s/%s" % (program, name), "exec", dont_inherit=True)
            head = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(text)
            target.writestr(name + "c", head + marshal.dumps(code))
    durable.write(path(program), buffer.getvalue())
