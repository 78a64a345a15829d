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
except ImportError:  # libraries.require() tells
    pass


def problem(text: t.Any) -> str | None:
    """What is wrong with an expression, with the next step; None if nothing is.

    Raises :class:`ControlError` where the library is missing.
    """
    if not isinstance(text, str) or not text.strip():
        return f"must be a JMESPath expression such as \"site == 'north'\", not {text!r}"
    libraries.require(libraries.EXPRESSIONS)
    try:
        jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        reason = str(error).splitlines()[0].rstrip(":")
        return f"{text!r} is not a JMESPath expression ({reason}); numbers stand in backquotes, texts in single quotes"
    return None


def search(text: str, value: t.Any) -> t.Any:
    """What the expression finds in ``value``. Raises ValueError where it does not fit the value."""
    try:
        return jmespath.search(text, value)
    except jmespath.exceptions.JMESPathError as error:
        raise ValueError(f"{text!r} does not fit: {str(error).splitlines()[0]}") from None


def holds(text: str, value: t.Any) -> bool:
    """Whether it is true as JMESPath sees it: not null, false, or empty. Raises ValueError."""
    found = search(text, value)
    return found is not None and found is not False and found not in ("", [], {})
