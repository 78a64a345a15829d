# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A small checker for documents that collects every mistake instead of stopping at the first."""

from __future__ import annotations

import math
import re
import typing as t

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
VERSION = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.+~_-]{0,63}$")
SHA256 = re.compile(r"^[0-9a-f]{64}\Z")
LOGIN = re.compile(r"^[a-z_][a-z0-9_-]{0,31}\Z")
UNIT = re.compile(r"^[A-Za-z0-9:_.@-]+\.[a-z]+$")
FILE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.+~_%-]{0,199}$")

#: What a rule answers: None, or what is wrong with the value.
Rule = t.Callable[[object], t.Optional[str]]


class Problems:
    """The mistakes found so far, each as ``where: what``."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, where: str, what: str) -> None:
        """Note one mistake."""
        self.found.append("%s: %s" % (where or "document", what))

    def mapping(self, where: str, value: object, rules: t.Mapping[str, Rule], required: t.Iterable[str] = ()) -> bool:
        """Check that ``value`` is a mapping with known keys that keep their ``rules``; True if it is one at all."""
        if not isinstance(value, dict):
            self.add(where, "must be a mapping, not %s" % kind(value))
            return False
        for key in sorted(set(value) - set(rules), key=str):
            self.add(where, "unknown key %r; known are %s" % (key, ", ".join(sorted(rules))))
        for key in required:
            if key not in value:
                self.add(where, "%r is missing" % key)
        for key, rule in rules.items():
            if key in value:
                wrong = rule(value[key])
                if wrong:
                    self.add("%s.%s" % (where, key) if where else key, wrong)
        return True


def kind(value: object) -> str:
    """The type of ``value`` in the words of a person who writes YAML."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true/false"
    names = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "a mapping"}
    return names.get(type(value), type(value).__name__)


def anything(value: object) -> str | None:
    """A value that is checked elsewhere."""
    return None


def text(value: object) -> str | None:
    """A text of one line that is not empty."""
    if not isinstance(value, str):
        return "must be a text, not %s (quote it)" % kind(value)
    if not value or "\n" in value or "\0" in value:
        return "must be one line and not empty"
    return None


def matching(pattern: t.Pattern[str]) -> Rule:
    """A text that matches ``pattern``."""

    def rule(value: object) -> str | None:
        wrong = text(value)
        if wrong is None and not pattern.match(str(value)):
            wrong = "%r does not match %s" % (value, pattern.pattern)
        return wrong

    return rule


def whole(low: int, high: int | None = None) -> Rule:
    """A whole number from ``low`` to ``high``."""

    def rule(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return "must be a whole number, not %s" % kind(value)
        if value < low or (high is not None and value > high):
            return "%d is out of range (%d to %s)" % (value, low, "any" if high is None else high)
        return None

    return rule


def number(low: float) -> Rule:
    """A number of at least ``low``."""

    def rule(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return "must be a finite number, not %s" % kind(value)
        return None if value >= low else "%s is less than %s" % (value, low)

    return rule


def choice(*values: object) -> Rule:
    """One of ``values``."""
    return lambda value: None if value in values else "%r is not one of %s" % (value, ", ".join(map(str, values)))


def list_of(rule: Rule, least: int = 0) -> Rule:
    """A list of at least ``least`` values that keep ``rule``."""

    def rule_of_list(value: object) -> str | None:
        if not isinstance(value, list):
            return "must be a list, not %s" % kind(value)
        if len(value) < least:
            return "needs at least %d entries" % least
        for index, entry in enumerate(value):
            wrong = rule(entry)
            if wrong:
                return "entry %d: %s" % (index, wrong)
        return None

    return rule_of_list


def absolute(value: object) -> str | None:
    """An absolute path without ``..`` that is not the root itself."""
    wrong, path = text(value), str(value)
    if wrong is None and (not path.startswith("/") or ".." in path.split("/") or not path.strip("/")):
        wrong = "%r must be an absolute path without '..' below /" % value
    return wrong


def kernels(path: str) -> bool:
    """Whether nothing lasts at ``path``: the kernel makes it, or each boot."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return parts[:1] in (["proc"], ["sys"], ["dev"], ["run"]) or parts[:2] == ["var", "run"]


def relative(value: object) -> str | None:
    """A normal relative path that stays inside."""
    wrong, path = text(value), str(value)
    if wrong is None:
        parts = path.split("/")
        if path.startswith("/") or any(part in ("", ".", "..") for part in parts):
            wrong = "%r must be a plain relative path" % value
    return wrong
