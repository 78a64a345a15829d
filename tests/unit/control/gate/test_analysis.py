# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Analysis of a wave: the assessment of measurements, conditions on readings, and sources that misbehave."""

from __future__ import annotations

import json
import math
import pathlib
import sys
import time
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.plan import Metric
from ansible_collections.fleet.ota.plugins.plugin_utils._control.gate import analysis
from ansible_collections.fleet.ota.plugins.plugin_utils._control.gate.comparison import Reading
from ansible_collections.fleet.ota.plugins.plugin_utils._control.gate.sources import Subject, pattern
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan

from ..receiver import Receiver

S, F, I = analysis.SUCCESSFUL, analysis.FAILED, analysis.INCONCLUSIVE  # noqa: E741
HOSTS = ["d1", "d2", "d3"]
RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
SUBJECT = Subject(("d1", "d2"), "canary", "gateway-2.0-1a2b3c4d", "gateway", "2.0")
BASELINE = Subject(("d3",), "canary", "gateway-2.0-1a2b3c4d", "gateway", "2.0")


def planned(*metrics: t.Any) -> list[Metric]:
    """The metrics as a plan keeps them."""
    made = plan.make(hosts=HOSTS, groups={"all": HOSTS}, release=RELEASE, conditions={"analysis": list(metrics)})
    return made.conditions["analysis"]


def command(code: str, **more: t.Any) -> dict[str, t.Any]:
    argv = [sys.executable, "-I", "-S", "-c", code, "$devices"]
    return {"name": "m", "source": "command", "argv": argv, "success": {"equals": 0}, "interval": 0, **more}


# -- assessment ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "verdicts", "wanted"),
    [
        ({}, [S], S),
        ({}, [F], F),
        ({}, [I], I),
        ({"count": 3}, [S, S], None),
        ({"count": 3}, [S, S, S], S),
        ({"count": 3}, [S, F], F),  # at once
        ({"count": 3, "failure_limit": 1}, [S, F], None),
        ({"count": 3, "failure_limit": 1}, [S, F, S], S),
        ({"count": 3, "failure_limit": 1}, [F, F], F),
        ({"count": 3, "inconclusive_limit": 1}, [I, S, S], S),
        ({"count": 3, "inconclusive_limit": 1}, [I, S, I], I),
        ({"count": 3, "inconclusive_limit": 1}, [I, F], F),  # a failure goes before
        ({"count": 9, "consecutive": 2}, [S], None),
        ({"count": 9, "consecutive": 2}, [S, S], S),  # no need to measure on
        ({"count": 4, "consecutive": 2, "failure_limit": 4}, [S, F, S, F], I),
        ({"count": 4, "consecutive": 2, "failure_limit": 4}, [S, F, S, S], S),
        ({"count": 4, "consecutive": 2, "inconclusive_limit": 4}, [S, I, S], None),
    ],
)
def test_assessment(settings: dict[str, t.Any], verdicts: list[str], wanted: str | None) -> None:
    (metric,) = planned(command("", **settings))
    found = analysis.assess(metric, verdicts)
    assert (found and found[0]) == wanted


NAN = float("nan")


@pytest.mark.parametrize(
    ("success", "failure", "values", "baseline", "wanted"),
    [
        ({"at_most": 5}, None, [5], None, S),
        ({"at_most": 5}, None, [6], None, F),
        ({"at_most": 5}, None, [1, 6], None, F),  # every series must succeed
        ({"below": 5}, None, [5], None, F),
        ({"above": 5}, None, [6], None, S),
        ({"at_least": 5}, None, [5], None, S),
        (None, {"above": 5}, [5], None, S),
        (None, {"above": 5}, [1, 6], None, F),  # one series is enough to fail
        ({"at_most": 5}, {"above": 9}, [5], None, S),
        ({"at_most": 5}, {"above": 9}, [7], None, I),
        ({"at_most": 5}, {"above": 9}, [10], None, F),
        ({"at_most": 5}, None, [], None, I),  # no data
        ({"at_most": 5}, None, [NAN], None, I),
        (None, {"above": 5}, [NAN], None, I),  # "not above" would be a success
        ({"at_most": 5}, None, [1, NAN], None, I),
        ({"at_most": 5}, None, [math.inf], None, F),
        ({"at_most": 1.5, "of": "baseline"}, None, [15], 10, S),
        ({"at_most": 1.5, "of": "baseline"}, None, [16], 10, F),
        ({"at_most": 1.5, "of": "baseline"}, None, [16], None, I),
        ({"at_most": 1.5, "of": "baseline"}, None, [16], NAN, I),
        ({"at_most": 1.5, "of": "baseline"}, None, [0], 0, S),
        ("value < `5` && baseline == `10`", None, [4], 10, S),
        ("value < `5`", None, [6], None, F),
        ("abs(data)", None, [6], None, I),  # does not fit what came
    ],
)
def test_one_measurement(success: t.Any, failure: t.Any, values: list[float], baseline: t.Any, wanted: str) -> None:
    asked = "baseline" in f"{success}{failure}"
    (metric,) = planned(command("", success=success, failure=failure, baseline=asked))
    reading: Reading = {"values": values, "value": values[0] if values else None, "baseline": baseline, "data": {}}
    assert analysis.judge(metric, reading)[0] == wanted


@pytest.mark.parametrize(
    "condition",
    [
        *(f"value {operator} `5`" for operator in ("<", "<=", "==", "!=", ">=", ">")),
        "values[0] != `5`",
        "@.value != `5`",
        "max(values) != `5`",
        "values[?@ > `5`]",
        "length(values[?@ > `5`]) == `0`",
        "!(value > `5`)",
        "value > `5` || `true`",
        "data.status == 'ok' && value != `5`",
        "{v: value, b: `1`}",
        "[value, `1`] | [0] != `5`",
    ],
)
@pytest.mark.parametrize("which", ["success", "failure"])
def test_no_data_decides_nothing_whatever_an_expression_compares(which: str, condition: str) -> None:
    (metric,) = planned(command("", **{"success": None, which: condition}))
    none: Reading = {"values": [], "value": None, "baseline": None, "data": {"status": "ok"}}
    assert analysis.judge(metric, none) == (I, "no data")
    nan: Reading = {**none, "values": [NAN], "value": NAN}
    assert analysis.judge(metric, nan) == (I, "not a number")
    assert analysis.judge(metric, {**none, "values": [1.0], "value": 1.0})[0] in (S, F)


@pytest.mark.parametrize(
    ("success", "data", "wanted"),
    [
        ("length(values) == `0`", {}, S),  # says itself what no data means
        ("length(values) == `0` || max(values) < `5`", {}, S),
        ("length(values) > `0` && max(values) < `5`", {}, F),
        ("data.status == 'ok'", {"status": "ok"}, S),
        ("data.status == 'ok'", {"status": "bad"}, F),
        ("data.value < `5` && data.baseline < `5`", {"value": 1, "baseline": 1}, S),  # not those of the measurement
        ("length(data.errors[?value > `5`]) == `0`", {"errors": [{"value": 1}, {}]}, S),
        ("data.rows[*].value | max(@) < `5`", {"rows": [{"value": 1}]}, S),
        ("max_by(data.rows, &value).value < `5`", {"rows": [{"value": 1}]}, S),
        ("data.rate < `5`", {}, I),  # null: what shall be compared is not there
        ("data.healthy", {}, I),
        ("data.error == `null`", {}, S),
        ("!(data.error)", {"error": ""}, S),
    ],
)
def test_an_expression_over_the_answer_alone_needs_no_values(success: str, data: t.Any, wanted: str) -> None:
    (metric,) = planned(command("", success=success))
    assert analysis.judge(metric, {"values": [], "value": None, "baseline": None, "data": data})[0] == wanted


@pytest.mark.parametrize("missing", [None, NAN])
@pytest.mark.parametrize(
    "condition",
    ["value > baseline", "value != baseline", "!(value > baseline)", "value > `5`", {"above": 5}, "data.ok != `1`"],
)
def test_no_baseline_decides_nothing(condition: t.Any, missing: float | None) -> None:
    (metric,) = planned(command("", success=None, failure=condition, baseline=True))
    reading: Reading = {"values": [1.0], "value": 1.0, "baseline": missing, "data": {}}
    assert analysis.judge(metric, reading) == (I, "no baseline")
    assert analysis.judge(metric, {**reading, "baseline": 2.0})[0] in (S, F)


# -- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"source": "oracle"}, "source"),
        ({"name": ""}, "name"),
        ({"argv": None}, "argv: is missing"),
        ({"argv": "rm -rf"}, "argv"),
        ({"url": "http://x"}, "url: unknown for command"),
        ({"success": None}, "give success, failure or both"),
        ({"success": "value <"}, "JMESPath"),
        ({"success": "value < baseline"}, "baseline: true"),
        ({"success": "lenght(values) > `1`"}, r"there is no function lenght\(\)"),
        ({"success": "data.rows[?contains(name)]"}, r"contains\(\) takes 2 arguments, not 1"),
        ({"success": "values[1:2] && abs(value, value)"}, r"abs\(\) takes 1 argument, not 2"),
        ({"success": "not_null()"}, "takes at least 1 argument, not 0"),
        ({"success": "max_by(data, &lenght(@))"}, "lenght"),
        ({"success": {"at_most": "5"}}, "not a number"),
        ({"success": {"at_most": 5, "below": 3}}, "one of"),
        ({"success": {"at_most": NAN}}, "not a number"),
        ({"success": {"at_most": 5, "of": "baseline"}}, "baseline: true"),
        ({"success": {"at_most": 5, "of": "yesterday"}}, "yesterday"),
        ({"count": 0}, "count"),
        ({"consecutive": 2}, "consecutive"),
        ({"timeout": 0}, "timeout"),
        ({"interval": -1}, "interval"),
        ({"interval": math.inf}, "interval"),
        ({"timeout": 10**400}, "timeout"),
        ({"count": 10**400}, "count"),
        ({"argv": ["echo", "a\0b"]}, "argv"),
        ({"count": 1000, "interval": 3600}, "24 hours"),
        ({"value": "a["}, "value"),
        ({"dry_run": "maybe"}, "dry_run"),
    ],
)
def test_wrong_settings_are_told(changes: dict[str, t.Any], part: str) -> None:
    with pytest.raises(PlanError, match=part):
        planned({**command(""), **changes})


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"url": "http://[prom]:9090"}, "no http or https address"),
        ({"url": "http://[::1:9090"}, "no http or https address"),
        ({"url": "http://prom:9o90/q"}, "no http or https address"),
        ({"url": "http://prom:99999/q"}, "no http or https address"),
        ({"url": "http://"}, "no http or https address"),
        ({"token_file": 5}, "token_file: must be a path"),
        ({"tls": {"ca": 5}}, "must be paths"),
    ],
)
def test_wrong_places_are_told(changes: dict[str, t.Any], part: str) -> None:
    with pytest.raises(PlanError, match=part):
        planned({"name": "m", "source": "http", "url": "http://[::1]:9090/q?x=a@b", "success": "data", **changes})


@pytest.mark.parametrize("host", ["x", "[x]", "x:9o90"])
def test_an_address_with_credentials_is_refused_without_repeating_them(host: str) -> None:
    metric = {"name": "m", "source": "http", "url": f"https://anna:hunter2@{host}/", "success": {"at_most": 1}}
    with pytest.raises(PlanError, match="token_file") as error:
        planned(metric)
    assert "hunter2" not in str(error.value)


def test_two_metrics_of_one_name() -> None:
    with pytest.raises(PlanError, match="unique"):
        planned(command(""), command(""))


# -- sources -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "verdict", "part"),
    [
        ("print(0)", S, ""),
        ("print(1)", F, "does not hold"),
        ("print('NaN')", I, "not a number"),
        ("print('hello')", I, "not JSON"),
        ("print('\"hello\"')", I, "is not a number"),
        ("print('null')", I, "no data"),
        ("print('1' + '0' * 400)", I, "is not a number"),
        ("raise SystemExit(2)", I, "ended with 2"),
        ("import time; time.sleep(60)", I, "within 1 seconds"),
        ("import sys; print(int(sys.argv[1] != 'd1,d2'))", S, ""),
    ],
)
def test_a_command(code: str, verdict: str, part: str) -> None:
    began = time.monotonic()
    (result,) = analysis.run(planned(command(code, timeout=1 if "sleep" in code else 20)), SUBJECT, None)
    assert time.monotonic() - began < 15
    assert result.verdict == verdict, result
    assert part in result.reason + str(result.measurements)
    json.dumps(result.as_dict(), allow_nan=False)


def test_a_failure_ends_what_else_is_measured() -> None:
    slow = command("print(0)", name="slow", count=100, interval=600)
    began = time.monotonic()
    results = analysis.run(planned(command("print(1)"), slow), SUBJECT, None)
    assert time.monotonic() - began < 60
    assert [result.verdict for result in results] == [F, analysis.SKIPPED]


def test_a_dry_run_ends_nothing() -> None:
    results = analysis.run(planned(command("print(1)", dry_run=True), command("print(0)", name="n")), SUBJECT, None)
    assert [(result.verdict, result.dry_run) for result in results] == [(F, True), (S, False)]


def test_the_baseline_is_of_the_devices_that_were_not_updated() -> None:
    code = "import sys; print({'d1,d2': 15, 'd3': 10}[sys.argv[1]])"
    metrics = planned(
        command(code, success={"at_most": 1.5, "of": "baseline"}, baseline=True),
        command(code, name="n", success={"below": 1.5, "of": "baseline"}, baseline=True),
    )
    results = analysis.run(metrics, SUBJECT, BASELINE)
    assert [result.verdict for result in results] == [S, F]
    assert results[0].measurements == [{"verdict": S, "value": 15.0, "baseline": 10.0, "message": ""}]
    assert {result.verdict for result in analysis.run(metrics, SUBJECT, None)} == {analysis.SKIPPED}  # the last wave


@pytest.mark.parametrize(
    ("answer", "verdict", "part"),
    [
        ({"body": b'{"rate": {"errors": "0"}}'}, S, ""),
        ({"body": b'{"rate": {"errors": [0, 3]}}'}, F, "does not hold"),
        ({"body": b'{"rate": {}}'}, I, "no data"),
        ({"body": b"<html>"}, I, "not JSON"),
        ({"status": 503}, I, "status 503"),
        ({"status": 302, "headers": {"Location": "/elsewhere"}}, I, "status 302"),  # the token goes nowhere else
        ({"hang": True}, I, "does not answer"),
        ({"drip": True}, I, "within 1 seconds"),
    ],
)
def test_http(receiver: Receiver, tmp_path: pathlib.Path, answer: dict[str, t.Any], verdict: str, part: str) -> None:
    token = tmp_path / "token"
    token.write_text("hunter2\n")
    receiver.answers = [answer]
    url = f"{receiver.url}/q?of=$devices&v=$version"
    metric = {"name": "m", "source": "http", "url": url, "value": "rate.errors", "success": {"equals": 0}}
    (result,) = analysis.run(planned({**metric, "token_file": str(token), "timeout": 1}), SUBJECT, None)
    assert result.verdict == verdict, result
    assert part in str(result)
    assert "hunter2" not in str(result)
    assert [request.path for request in receiver.requests] == ["/q?of=d1,d2&v=2.0"]
    assert receiver.requests[0].headers["Authorization"] == "Bearer hunter2"


def test_nobody_listens_and_no_token() -> None:
    metric = {"name": "m", "source": "http", "url": "http://127.0.0.1:9/", "success": {"equals": 0}, "timeout": 2}
    results = analysis.run(planned(metric, {**metric, "name": "n", "token_file": "/nonexistent"}), SUBJECT, None)
    assert [result.verdict for result in results] == [I, I]
    assert "/nonexistent" in results[1].reason


def test_tokens_and_tls_files_that_cannot_be_used(tmp_path: pathlib.Path) -> None:
    token, none = tmp_path / "token", str(tmp_path / "none.pem")
    token.write_text("hunter2\nX-Other: 1\n")
    metric = {"name": "m", "source": "http", "url": "http://127.0.0.1:9/", "success": {"equals": 0}, "timeout": 2}
    others: list[dict[str, t.Any]] = [{"token_file": str(token)}, {"token_file": "a\0b"}, {"tls": {"ca": none}}]
    metrics = planned(*({**metric, "name": str(number), **more} for number, more in enumerate(others)))
    results = analysis.run(metrics, SUBJECT, None)
    assert [result.verdict for result in results] == [I, I, I]
    assert "more than one line" in results[0].reason
    assert "hunter2" not in str(results)
    assert none in results[2].reason


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("dev-1", "dev-1"),
        ("a.b", "a[.]b"),
        ('x"} or vector(0)', "x.[}] or vector[(]0[)]"),
        ("a|b", "a[|]b"),
        ("\\d", ".d"),
    ],
)
def test_names_cannot_change_a_query(name: str, wanted: str) -> None:
    assert pattern(name) == wanted
    subject = Subject((name,), 'w"', "r", "gateway", "2.0")
    assert subject.fill('up{i=~"$devices",w="$wave"}', pattern, subject.pattern()) == f'up{{i=~"{wanted}",w="w."}}'
