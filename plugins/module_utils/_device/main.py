# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Where the zipapp starts: one request from standard input, one reply to standard output."""

from __future__ import annotations

import json
import os
import sys
import traceback
import typing as t

#: In bytes; the metadata of a bundle have limits of their own far below it.
LONGEST_REQUEST = 32 << 20
#: Lists, mappings and their entries. A bundle is texts, whatever is in them: ten times what any request needs.
MOST_VALUES = 100_000
_BLOCK = 1 << 16


def main() -> None:
    """Answer one request, or do detached work when started with arguments."""
    os.umask(0o022)  # what maintainer scripts expect; our own files name their modes
    if sys.version_info < (3, 8):  # noqa: UP036 - a device may have less
        raise SystemExit("fleet-ota: Python 3.8 or newer is needed, this is %s" % sys.version.split()[0])
    if sys.getfilesystemencoding() != "utf-8":  # by the system's locale; names in releases are UTF-8 everywhere
        os.execv(sys.executable, [sys.executable, "-X", "utf8", "-I", "-S", "-B", *sys.argv])  # noqa: S606
    if sys.argv[1:2] == ["inside"]:  # without what only verbs need: a rehearsal waits for it
        from .system import overlay

        overlay.inside(sys.argv[2])
        return
    try:
        from . import verbs
        from .system import layout
    except ImportError as error:
        from .base.errors import lacking

        missing = lacking(error, "the engine")
        _reply({"error": missing.as_dict(), "outcome": missing.outcome})
        return

    arguments = sys.argv[1:]
    if arguments == ["probe"]:
        sys.stdout.write("\n".join(verbs.loadable()) + "\n")
        return
    # The program of a sealed device says where the state is; its caller cannot give arguments.
    fixed = layout.Layout(*arguments[1:3]) if arguments[:1] == ["sealed"] else None
    if arguments and fixed is None:
        verbs.background(arguments)
        return
    try:
        reply = verbs.answer(_request(sys.stdin.buffer), sys.stdin.buffer, fixed)
    except Exception as error:  # the controller must get an answer whatever happens
        text = "%s: %s" % (type(error).__name__, error)
        reply = {"error": {"code": "ENGINE", "message": text, "detail": {"trace": traceback.format_exc()[-2000:]}}}
    _reply(reply)


def _reply(reply: t.Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")


def _request(stream: t.IO[bytes]) -> object:
    """The line of the request, judged as it comes: what is too much is refused before it is in memory."""
    from .base.shape import Shape, loads

    line, shape = bytearray(), Shape(MOST_VALUES)
    while not line.endswith(b"\n"):
        block = stream.readline(_BLOCK)
        if not block:
            break
        line += block
        if len(line) > LONGEST_REQUEST:
            raise ValueError("a request has at most %d bytes" % LONGEST_REQUEST)
        shape.feed(block)
    return loads(line, shape.long)
