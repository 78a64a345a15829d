# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""OLPC canonical JSON, over which TUF signs, and JSON read so strictly that no two parsers could differ."""

from __future__ import annotations

import json
import typing as t

from ..base.errors import OtaError
from ..base.shape import require

#: More digits than any version, length or threshold has; Pythons before 3.11 take minutes for millions of them.
_DIGITS = 18
#: Three times what the largest metadata of its length need; a text of brackets would take a hundred times its length.
_MOST_VALUES = 300_000


def canonical(value: object) -> bytes:
    """The bytes that are signed: sorted keys, only ``\\`` and ``"`` escaped, no floats."""
    try:
        return _encode(value)
    except (UnicodeEncodeError, RecursionError) as error:
        raise OtaError("METADATA", "metadata cannot be written canonically: %s" % error) from None


def _encode(value: object) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if value is None:
        return b"null"
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, str):
        return b'"' + value.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
    if isinstance(value, list):
        return b"[" + b",".join([_encode(entry) for entry in value]) + b"]"
    if isinstance(value, dict):
        return b"{" + b",".join([_encode(key) + b":" + _encode(value[key]) for key in sorted(value)]) + b"}"
    raise OtaError("METADATA", "metadata holds a %s, which cannot be signed" % type(value).__name__)


def strict(content: bytes) -> t.Any:
    """The JSON value in ``content``. Raises ValueError or RecursionError: also for keys that stand twice and floats."""
    return json.loads(
        require(content, _MOST_VALUES).decode("utf-8"),
        object_pairs_hook=_unique,
        parse_int=_whole,
        parse_float=_no_float,
        parse_constant=_no_float,
    )


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError("a number has %d digits" % len(text))
    return int(text)


def _no_float(text: str) -> t.NoReturn:
    raise ValueError("%.40s is not a whole number" % text)
