# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""JMESPath, the expressions that teams write in their settings."""

from __future__ import annotations

import typing as t

from . import libraries

try:
    import jmespath
    import jmespath.exceptions
    import jmespath.functions
except ImportError:  # libraries.require() tells
    pass


#: Of these only the first part is about the value itself; the others are about what it gives.
_INWARD = frozenset(
    {"subexpression", "index_expression", "projection", "value_projection", "filter_projection", "pipe"}
)


#: A part of a parsed expression.
Node = t.Mapping[str, t.Any]


def problem(text: object) -> str | None:
    """What is wrong with an expression, with the next step; None if nothing is.

    Raises :class:`ControlError` where the library is missing.
    """
    if not isinstance(text, str) or not text.strip():
        return f"must be a JMESPath expression such as \"site == 'north'\", not {text!r}"
    libraries.require(libraries.EXPRESSIONS)
    try:
        parsed = jmespath.compile(text).parsed
    except jmespath.exceptions.JMESPathError as error:
        reason = str(error).splitlines()[0].rstrip(":")
        return f"{text!r} is not a JMESPath expression ({reason}); numbers stand in backquotes, texts in single quotes"
    wrong = next(_wrong_calls(parsed), None)
    return f"{text!r} cannot be evaluated ({wrong}); correct the call" if wrong else None


def reads(text: str) -> set[str]:
    """Which fields of the value itself the expression reads; ``length(NAME)`` stands for a field that is counted."""
    return set(_reads(jmespath.compile(text).parsed))


def search(text: str, value: object) -> t.Any:
    """What the expression finds in ``value``. Raises ValueError where it does not fit the value."""
    try:
        return jmespath.search(text, value)
    except jmespath.exceptions.JMESPathError as error:
        raise ValueError(f"{text!r} does not fit: {str(error).splitlines()[0]}") from None


def holds(text: str, value: object) -> bool:
    """Whether what it finds is :func:`true`. Raises ValueError."""
    return true(search(text, value))


def true(value: object) -> bool:
    """Whether something is true as JMESPath sees it: not null, false, or empty."""
    return value is not None and value is not False and value not in ("", [], {})


def _children(node: Node) -> list[Node]:
    return [child for child in node["children"] if isinstance(child, dict)]  # the children of a slice are numbers


def _wrong_calls(node: Node) -> t.Iterator[str]:
    """What is wrong with calls of functions, which the library finds out once it evaluates them."""
    if node["type"] == "function_expression":
        name, given = node["value"], len(node["children"])
        function = jmespath.functions.Functions.FUNCTION_TABLE.get(name)
        if function is None:
            yield f"there is no function {name}()"
        else:
            least = len(function["signature"])
            more = bool(least and function["signature"][-1].get("variadic"))
            if given < least or (given > least and not more):
                yield f"{name}() takes {'at least ' if more else ''}{least} argument{'s' * (least != 1)}, not {given}"
    for child in _children(node):
        yield from _wrong_calls(child)


def _reads(node: Node) -> t.Iterator[str]:
    kind, children = node["type"], _children(node)
    if kind == "field":
        yield node["value"]
    elif kind == "function_expression" and node["value"] == "length" and children[0]["type"] == "field":
        yield f"length({children[0]['value']})"
    elif kind != "expref":  # is about the elements of a list
        itself = kind not in _INWARD or children[0]["type"] in ("current", "identity")
        for child in children if itself else children[:1]:
            yield from _reads(child)
