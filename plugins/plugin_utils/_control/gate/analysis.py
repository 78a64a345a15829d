# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Analysis of a wave by measurements from elsewhere (``conditions.analysis``, docs/gates.md).

The words and the assessment are those of Argo Rollouts' AnalysisTemplate, with one difference: what cannot be measured
is inconclusive, and inconclusive holds.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import importlib
import math
import re
import threading
import typing as t

from ..base import expressions
from ..base.numbers import is_number, is_whole
from ..base.plan import Metric
from ..transports import http
from . import comparison
from .comparison import Reading
from .sources import Source, SourceError, Subject

SUCCESSFUL, FAILED, INCONCLUSIVE, SKIPPED = "successful", "failed", "inconclusive", "skipped"
#: Module below ``sources`` and the keys that a metric from there has of its own, those that it needs first.
SOURCES: t.Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "prometheus": (("url", "query"), ("token_file", "tls")),
    "http": (("url",), ("value", "token_file", "tls")),
    "command": (("argv",), ("value",)),
}
_DEFAULTS: t.Mapping[str, object] = {
    "success": None,
    "failure": None,
    "interval": 30,
    "count": 1,
    "consecutive": 0,
    "failure_limit": 0,
    "inconclusive_limit": 0,
    "initial_delay": 0,
    "timeout": 10,
    "dry_run": False,
    "baseline": False,
}
#: A metric as it is given, before anything of it is known to be right.
Given = t.Mapping[str, t.Any]
#: Seconds that the analysis of one wave may take at the very most.
_LONGEST = 24 * 3600
#: Measurements of one metric that are kept in the journal.
_KEPT = 50


class Measurement(t.TypedDict):
    """One measurement of a metric; numbers that JSON does not know are texts."""

    verdict: str
    value: float | str | None
    baseline: float | str | None
    message: str


@dataclasses.dataclass
class Result:
    """What came of one metric: a verdict, why, and the measurements ``{verdict, value, baseline, message}``."""

    metric: str
    verdict: str
    reason: str
    dry_run: bool
    measurements: list[Measurement] = dataclasses.field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """For the journal and for results."""
        return {**dataclasses.asdict(self), "measurements": self.measurements[-_KEPT:]}


def validate(metrics: object, problems: list[str]) -> list[Metric]:
    """The metrics with defaults; what is wrong with them is added to ``problems``, with the next step."""
    if not isinstance(metrics, list):
        problems.append(f"conditions.analysis: must be a list, not {metrics!r}")
        return []
    valid: list[Metric] = []
    names: set[str] = set()
    for index, metric in enumerate(metrics):
        where = f"conditions.analysis[{index}]"
        if not isinstance(metric, dict):
            problems.append(f"{where}: must be a mapping, not {metric!r}")
            continue
        name = metric.get("name")
        if not isinstance(name, str) or not name:
            problems.append(f"{where}.name: give a name")
        elif name in names:
            problems.append(f"{where}.name: {name!r} is taken by an earlier one; names are unique")
        names.add(str(name))
        problems += [f"{where}.{problem}" for problem in _problems(metric)]
        valid.append(
            t.cast(Metric, {**_DEFAULTS, **{key: value for key, value in metric.items() if value is not None}})
        )
    return valid


def line(metric: Metric) -> str:
    """One metric for people."""
    parts = [f"{metric['count']} times every {metric['interval']} seconds from {metric['source']}"]
    if metric["success"]:
        parts.append(f"succeeds when {comparison.text(metric['success'])}")
    if metric["failure"]:
        parts.append(f"fails when {comparison.text(metric['failure'])}")
    return ", ".join([*parts, *(["dry run"] if metric["dry_run"] else [])])


def longest(metrics: t.Sequence[Metric]) -> float:
    """Seconds that an analysis by these metrics takes at most; with a baseline each measurement asks twice."""
    return max((_longest(metric) for metric in metrics), default=0)


def _longest(metric: Given | Metric) -> float:
    once = metric["interval"] + metric["timeout"] * (2 if metric["baseline"] else 1)
    return float(metric["initial_delay"] + metric["count"] * once)


def run(metrics: t.Sequence[Metric], subject: Subject, baseline: Subject | None) -> list[Result]:
    """Measure all metrics side by side: of the wave (``subject``) and of the devices not updated yet (``baseline``).

    Ends early when one failed for good: then nothing that the others would say matters.
    """
    stop = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(metrics))) as pool:
        return list(pool.map(lambda metric: _measure(metric, subject, baseline, stop), metrics))


def assess(metric: Metric, verdicts: t.Sequence[str]) -> tuple[str, str] | None:
    """Verdict and reason after these measurements, oldest first; None while it goes on."""
    failed, unclear = verdicts.count(FAILED), verdicts.count(INCONCLUSIVE)
    if failed > metric["failure_limit"]:
        return FAILED, f"{failed} of {len(verdicts)} measurements failed, {metric['failure_limit']} allowed"
    if unclear > metric["inconclusive_limit"]:
        limit = metric["inconclusive_limit"]
        return INCONCLUSIVE, f"{unclear} of {len(verdicts)} measurements were inconclusive, {limit} allowed"
    row = 0
    for verdict in reversed(verdicts):
        if verdict != SUCCESSFUL:
            break
        row += 1
    if metric["consecutive"] and row >= metric["consecutive"]:
        return SUCCESSFUL, f"{row} measurements in a row succeeded"
    if len(verdicts) < metric["count"]:
        return None
    if metric["consecutive"]:
        return INCONCLUSIVE, f"never {metric['consecutive']} successes in a row in {len(verdicts)} measurements"
    return SUCCESSFUL, f"{verdicts.count(SUCCESSFUL)} of {len(verdicts)} measurements succeeded"


def judge(metric: Metric, reading: Reading) -> tuple[str, str]:
    """Verdict of one measurement and why: a success needs every value, a failure only one."""
    success, failure = metric["success"], metric["failure"]
    try:
        good = None if success is None else comparison.holds(success, reading, every=True)
        bad = None if failure is None else comparison.holds(failure, reading, every=False)
        if metric["baseline"] and comparison.no_baseline(reading):
            raise comparison.Missing("no baseline")
    except comparison.Missing as error:
        return INCONCLUSIVE, str(error)
    if bad or (good is False and bad is None):
        return FAILED, "the failure condition holds" if bad else "the success condition does not hold"
    if good or good is None:
        return SUCCESSFUL, ""
    return INCONCLUSIVE, "neither the success nor the failure condition holds"


def _measure(metric: Metric, subject: Subject, baseline: Subject | None, stop: threading.Event) -> Result:
    result = Result(metric["name"], SKIPPED, "", bool(metric["dry_run"]))
    if metric["baseline"] and baseline is None:
        result.reason = "no device is left that was not updated, so there is nothing to compare with"
        return result
    source: Source = importlib.import_module(f".sources.{metric['source']}", __package__).measure
    end, wait = None, metric["initial_delay"]
    while end is None:
        if stop.wait(wait):
            result.reason = "not needed any more: another metric failed"
            return result
        wait = metric["interval"]
        result.measurements.append(_once(metric, source, subject, baseline if metric["baseline"] else None))
        end = assess(metric, [one["verdict"] for one in result.measurements])
    result.verdict, result.reason = end
    last = result.measurements[-1]
    if result.verdict != SUCCESSFUL and last["message"]:
        result.reason += f"; last: {last['message']}" + ("" if last["value"] is None else f", {last['value']}")
    if result.verdict == FAILED and not result.dry_run:
        stop.set()
    return result


def _once(metric: Metric, source: Source, subject: Subject, baseline: Subject | None) -> Measurement:
    try:
        sample = source(metric, subject)
        first = sample["values"][0] if sample["values"] else None
        reading: Reading = {**sample, "value": first, "baseline": None}
        if baseline:
            values = source(metric, baseline)["values"]
            # several series of the devices that were not updated: what is usual among them is their mean
            reading["baseline"] = sum(values) / len(values) if values else None
    except SourceError as error:
        return {"verdict": INCONCLUSIVE, "value": None, "baseline": None, "message": str(error)}
    verdict, message = judge(metric, reading)
    value, base = _writable(reading["value"]), _writable(reading["baseline"])
    return {"verdict": verdict, "value": value, "baseline": base, "message": message}


def _writable(value: float | None) -> float | str | None:
    """JSON knows neither NaN nor infinity."""
    return value if value is None or math.isfinite(value) else str(value)


def _problems(metric: Given) -> t.Iterator[str]:
    source = str(metric.get("source"))
    if source not in SOURCES:
        yield f"source: {source!r} is none of {', '.join(SOURCES)}"
        return
    needed, more = SOURCES[source]
    keys = {"name", "source", *needed, *more, *_DEFAULTS}
    yield from (f"{key}: unknown for {source}; there are {', '.join(sorted(keys))}" for key in set(metric) - keys)
    yield from (f"{key}: is missing" for key in needed if not metric.get(key))
    settings = {**_DEFAULTS, **{key: value for key, value in metric.items() if value is not None}}
    for key in ("interval", "initial_delay"):
        if not (is_number(settings[key]) and settings[key] >= 0):
            yield f"{key}: must be seconds, 0 or more, not {settings[key]!r}"
    if not (is_number(settings["timeout"]) and settings["timeout"] > 0):
        yield f"timeout: must be seconds, more than 0, not {settings['timeout']!r}"
    for key, least in (("count", 1), ("consecutive", 0), ("failure_limit", 0), ("inconclusive_limit", 0)):
        if not is_whole(settings[key], least):
            yield f"{key}: must be a whole number of at least {least}, not {settings[key]!r}"
    for key in ("dry_run", "baseline"):
        if not isinstance(settings[key], bool):
            yield f"{key}: must be true or false, not {settings[key]!r}"
    if is_whole(settings["consecutive"], 0) and is_whole(settings["count"], 1):
        if settings["consecutive"] > settings["count"]:
            yield f"consecutive: {settings['consecutive']} successes do not fit into a count of {settings['count']}"
    yield from _condition_problems(settings)
    yield from _place_problems(settings)
    numbers = [settings[key] for key in ("initial_delay", "interval", "timeout", "count")]
    if all(map(is_number, numbers)) and _longest(settings) > _LONGEST:
        yield f"count: the analysis would take more than {_LONGEST // 3600} hours; measure less often"


def _condition_problems(settings: Given) -> t.Iterator[str]:
    conditions = {key: settings[key] for key in ("success", "failure") if settings[key] is not None}
    if not conditions:
        yield "success: give success, failure or both; without them nothing is decided"
    for key, condition in conditions.items():
        wrong = comparison.problem(condition)
        if wrong:
            yield f"{key}: {wrong}"
        elif comparison.needs_baseline(condition) and settings["baseline"] is not True:
            yield f"{key}: compares with the baseline; set baseline: true"


def _place_problems(settings: Given) -> t.Iterator[str]:
    url, argv = settings.get("url"), settings.get("argv")
    if url:
        yield from _address_problems(str(url))
    if settings.get("query") is not None and not isinstance(settings["query"], str):
        yield f"query: must be a text, not {settings['query']!r}"
    if argv and not (isinstance(argv, list) and all(isinstance(word, str) and "\0" not in word for word in argv)):
        yield f"argv: must be a list of texts, not {argv!r}"
    if settings.get("token_file") is not None and not isinstance(settings["token_file"], str):
        yield f"token_file: must be a path, not {settings['token_file']!r}"
    if settings.get("value") is not None:
        wrong = expressions.problem(settings["value"])
        if wrong:
            yield f"value: {wrong}"
    tls = settings.get("tls")
    if tls is not None and not (isinstance(tls, dict) and set(tls) <= {"ca", "certificate", "key"}):
        yield "tls: must be a mapping of ca, certificate and key"
    elif tls and not all(isinstance(path, str) for path in tls.values()):
        yield "tls: ca, certificate and key must be paths"


def _address_problems(url: str) -> t.Iterator[str]:
    parts = http.split(url)
    # the plan is stored, shown and signed, and its mistakes are shown
    if "@" in re.split("[/?#]", url.partition("//")[2])[0]:
        yield "url: must not hold credentials; put a token into a file and name it as token_file"
    elif parts is None or parts.port == 0:
        yield f"url: {url!r} is no http or https address; correct scheme, host and port"
