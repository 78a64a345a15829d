# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Where an analysis gets its numbers: one file per source, found by its name.

Each offers ``measure(metric, subject)``, which returns ``{values, data}``: the numbers found (which may be NaN) and the
answer as it came. It raises :class:`SourceError` within the metric's ``timeout``.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...base.plan import Metric


class Sample(t.TypedDict):
    """The numbers of one measurement, and the answer as it came."""

    values: list[float]
    data: object


Source = t.Callable[[Metric, "Subject"], Sample]

_PLACE = re.compile(r"\$(devices|wave|rollout|release|version)\b")
_PLAIN = re.compile(r"[A-Za-z0-9_ -]")
#: Cannot stand in brackets, or would end the text around it.
_AWKWARD = frozenset("^\\\"'`\n\r")


class SourceError(Exception):
    """Nothing was measured; says why, without any secret."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is measured: some devices of a wave of a rollout."""

    devices: tuple[str, ...]
    wave: str
    rollout: str
    release: str
    version: str

    def fill(self, text: str, quote: t.Callable[[str], str], devices: str | None = None) -> str:
        """``text`` with ``$devices`` (comma-separated), ``$wave``, ``$rollout``, ``$release``, ``$version`` filled in.

        Each value goes through ``quote``, except for ``devices`` if they are given as they shall stand.
        """
        values = {key: quote(getattr(self, key)) for key in ("wave", "rollout", "release", "version")}
        values["devices"] = ",".join(map(quote, self.devices)) if devices is None else devices
        return _PLACE.sub(lambda match: values[match[1]], text)

    def pattern(self) -> str:
        """A regular expression for the devices' names that needs no escapes, whatever they are called."""
        return "|".join(map(pattern, self.devices))


def pattern(name: str) -> str:
    """A regular expression (RE2 and others) for ``name`` that can stand in quotes of any kind."""
    return "".join(letter if _PLAIN.match(letter) else "." if letter in _AWKWARD else f"[{letter}]" for letter in name)


def number(value: object) -> float:
    """A number as APIs write them, also as text (``"NaN"``). Raises :class:`SourceError`."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise SourceError(f"{_short(value)} is not a number")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise SourceError(f"{_short(value)} is not a number") from None


def numbers(value: object) -> list[float]:
    """One number or a list of them; nothing for null."""
    if value is None:
        return []
    return [number(entry) for entry in value] if isinstance(value, list) else [number(value)]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
