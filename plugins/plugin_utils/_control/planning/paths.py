# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Which releases lead a device to one that it cannot take directly (docs/reference/plan.md, update paths).

The graph is that of Cincinnati (OpenShift's update service), but read from the releases themselves: an edge is what
one says in ``from``. Pure. It stands beside the plan and not in it: a release that is published later must not
change a plan that was approved.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ....module_utils._device.documents import release
from . import compatibility
from .compatibility import Document
from .text import some

#: ``{version, counter, channel, digest}`` with ``from`` and ``compatible`` of its document as far as it has them, or
#: with ``problem``, why that cannot be read; ``{channel, problem}`` is a channel of which nothing could be read.
Step = Document
#: ``{version, counter}`` of what is installed, None for nothing of that name.
State = Document | None


class PublicStep(t.TypedDict):
    """A release on the way, for results."""

    name: str
    version: str
    counter: int
    channel: str


class WayRow(t.TypedDict):
    """A way for results."""

    path: list[PublicStep]
    next: dict[str, str | bool] | None
    dead_end: str | None


@dataclasses.dataclass(frozen=True)
class Way:
    """``path`` are the releases from the next one to the wanted one, empty if there is ``dead_end``, the reason."""

    name: str
    path: tuple[PublicStep, ...]
    dead_end: str | None = None

    def as_dict(self) -> WayRow:
        """For results: ``path``, ``next`` (variables of the next rollout, None at a dead end) and ``dead_end``."""
        following: dict[str, str | bool] | None = None
        if self.path:
            first = self.path[0]
            following = {
                "fleet_ota_release": f"{self.name}/{first['version']}",
                "fleet_ota_channel": first["channel"],
                "fleet_ota_ask_devices": True,  # else who is further already would refuse it, and count as failed
            }
        return {"path": list(self.path), "next": following, "dead_end": self.dead_end}

    def __str__(self) -> str:
        if self.dead_end:
            return f"no path: dead end, {self.dead_end}"
        return "first " + ", then ".join(_shown(self.name, step) for step in self.path)


def find(
    document: Step,
    wanted: Step,
    steps: t.Sequence[Step],
    infos: t.Mapping[str, object],
    hosts: t.Iterable[str],
    *,
    retry_rejected: bool = False,
) -> dict[str, Way]:
    """The way of each of ``hosts`` that cannot take the release directly, by ``from`` alone; of no other.

    ``document`` is the wanted release's, ``wanted`` its ``{name, version, counter, digest, channel}``, ``steps`` the
    other releases of its name that the repository offers, each digest once. ``infos`` and ``retry_rejected`` are as for
    :func:`compatibility.unfit`. Of the shortest paths it is the one with the highest counters. Devices that have the
    same before them share one search.
    """
    target = {**{key: document[key] for key in ("from", "compatible") if key in document}, **wanted}
    readable = sorted((one for one in steps if "problem" not in one), key=_newest)
    graph = _Graph(wanted["name"], target, readable, [one for one in steps if "problem" in one])
    ways: dict[str, Way] = {}
    barred: dict[object, dict[str, str]] = {}
    searched: dict[object, Way] = {}
    for name in hosts:
        info = t.cast(Document, infos.get(name))
        if not compatibility.stands_before(document, wanted["digest"], info):
            continue
        here = info["releases"].get(wanted["name"]) or {}
        current, floor = here.get("current"), here.get("counter") or 0
        rejected = frozenset() if retry_rejected else graph.digests.intersection(info.get("rejected") or {})
        words = compatibility.words(info["identity"])
        fits = tuple(words.get(word) for word in graph.words)
        refusals = (floor, rejected, fits)
        if refusals not in barred:
            barred[refusals] = graph.barred(words, floor, rejected)
        key = (current and (current["version"], current["counter"]), tuple(barred[refusals].items()))
        if key not in searched:
            searched[key] = graph.way(current, barred[refusals])
        ways[name] = searched[key]
    return ways


def lines(ways: t.Mapping[str, Way]) -> list[str]:
    """Every way with who has it, and what to run next, for people."""
    together: dict[int, tuple[Way, list[str]]] = {}
    for host, way in ways.items():
        together.setdefault(id(way), (way, []))[1].append(host)
    text = []
    for way, names in together.values():
        text.append(f"update path, {some(names)}: {way}")
        following = way.as_dict()["next"]
        if following:
            shown = (f"-e {key}={'true' if value is True else value}" for key, value in following.items())
            text.append(f"next step for them: roll out with {' '.join(shown)}")
    return text


class _Graph:
    """The wanted release and those that may lead to it, ``steps`` newest first."""

    def __init__(self, name: str, target: Step, steps: t.Sequence[Step], unread: t.Sequence[Step]) -> None:
        self.name, self.target, self.steps, self.unread = name, target, steps, unread
        self.digests = frozenset(one["digest"] for one in (target, *steps))
        #: of a device's identity only these words tell one device from another here
        self.words = sorted({word for one in (target, *steps) for word in one.get("compatible", {})})
        #: per digest what each word has to be, as a set, since a release may name thousands of devices, and in words
        self.fits = {
            one["digest"]: [
                (word, frozenset(allowed), f"is for {word} {' or '.join(allowed)}")
                for word, allowed in sorted(one.get("compatible", {}).items())
            ]
            for one in (target, *steps)
        }

    def barred(self, words: t.Mapping[str, str], floor: int, rejected: t.Collection[str]) -> dict[str, str]:
        """Digests that a device would refuse wherever it comes from, each with the reason."""
        reasons = {}
        for one in (self.target, *self.steps):
            fits = self.fits[one["digest"]]
            wrong = next((reason for word, allowed, reason in fits if words.get(word) not in allowed), None)
            if one["counter"] < floor:
                reasons[one["digest"]] = f"is older than counter {floor}, which was confirmed there"
            elif wrong:
                reasons[one["digest"]] = wrong
            elif one["digest"] in rejected:
                reasons[one["digest"]] = "was rejected there before"
        return reasons

    def way(self, current: State, barred: t.Mapping[str, str]) -> Way:
        path, reached = self._search(current, barred)
        if path:
            return Way(self.name, tuple(_public(self.name, step) for step in path))
        return Way(self.name, (), self._dead_end(current, barred, reached))

    def _search(self, current: State, barred: t.Mapping[str, str]) -> tuple[list[Step], Step | None]:
        """The shortest path, empty if there is none, and the newest release before the wanted one that is reached.

        Breadth first, newest first: of paths of one length the one with the highest counters is found first.
        """
        nodes = [one for one in (self.target, *self.steps) if one["digest"] not in barred]
        before: dict[str, Step | None] = {}
        waiting: collections.deque[tuple[State, Step | None]] = collections.deque([(current, None)])
        newest: Step | None = None
        while waiting:
            state, node = waiting.popleft()
            for one in nodes:
                if one["digest"] in before or (state is not None and one["counter"] <= state["counter"]):
                    continue
                if _obstacle(one, state):
                    continue
                before[one["digest"]] = node
                if one is self.target:
                    path = [one]
                    while node is not None:
                        path.insert(0, node)
                        node = before[node["digest"]]
                    return path, newest
                if newest is None or one["counter"] > newest["counter"]:
                    newest = one
                waiting.append((one, one))
        return [], newest

    def _dead_end(self, current: State, barred: t.Mapping[str, str], reached: Step | None) -> str:
        """Why nothing leads there, and what would."""
        path, _reached = self._search(current, {})
        if path:
            inhibited = [f"{_shown(self.name, one)} {barred[one['digest']]}" for one in path if one["digest"] in barred]
            hint = "publish a release in between that suits it"
            if any(barred.get(one["digest"], "").startswith("was rejected") for one in path):
                hint += ", or offer what was rejected again with fleet_ota_retry_rejected=true"
            over = ", ".join(_shown(self.name, one) for one in path)
            return f"it would go over {over}, but {', '.join(inhibited)}; {hint}"
        state = reached or current
        here = "a device with nothing of that name" if current is None else _position(current)
        if reached is not None:
            reason = f"from {here} the releases offered lead to {_position(reached)} at most"
        else:
            reason = f"no release offered before {self.target['version']} can be taken over {here}"
        text = f"{reason}; needed is {self._needed(state, barred)}"
        past = state["counter"] if state else 0
        unread = [one for one in self.unread if one.get("counter", past + 1) > past]
        if unread:
            shown = ", ".join(f"{_source(self.name, one)} ({one['problem']})" for one in unread)
            text += f"; whether it is there is not known, these cannot be read: {shown}; publish them again"
        return text

    def _needed(self, state: State, barred: t.Mapping[str, str]) -> str:
        """What would have to be published so that ``state`` leads on to the oldest release that leads to the wanted."""
        ahead = [self.target]
        for one in self.steps:  # newest first: whom it leads to is there before it
            if one["digest"] in barred or (state is not None and one["counter"] <= state["counter"]):
                continue
            if any(one["counter"] < later["counter"] and not _obstacle(later, one) for later in ahead):
                ahead.append(one)
        following = ahead[-1]
        wanted, most = following.get("from", {}), following["counter"] - 1
        least = max(wanted.get("counter", 1), state["counter"] + 1 if state else 1)
        if least > most:
            return f"another {_shown(self.name, following)}: its counter leaves no room for a release before it"
        name = " or ".join(f"{self.name} {version}" for version in wanted.get("versions", ())) or self.name
        over = f"goes over {_position(state)}" if state else "can be taken where nothing of that name is"
        text = f"{name} with a counter from {least} to {most} that {over}"
        return text if following is self.target else f"{text}, and then {_shown(self.name, following)}"


def _newest(step: Step) -> tuple[int, str]:
    return -step["counter"], step["digest"]


def _public(name: str, step: Step) -> PublicStep:
    return {"name": name, "version": step["version"], "counter": step["counter"], "channel": step["channel"]}


def _shown(name: str, step: Step) -> str:
    return f"{name} {step['version']} (channel {step['channel']})"


def _source(name: str, step: Step) -> str:
    return _shown(name, step) if "version" in step else f"channel {step['channel']}"


def _position(state: Step) -> str:
    return f"{state['version']} (counter {state['counter']})"


def _obstacle(one: Step, state: State) -> str | None:
    return release.obstacle(t.cast(release.Document, one), t.cast("release.Installed | None", state))
