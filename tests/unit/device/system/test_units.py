# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units by a systemctl that is played: what is asked, in which order, how long it is waited for, and what is told."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.system import command, units
from ansible_collections.fleet.ota.plugins.module_utils._device.system.command import Result
from ansible_collections.fleet.ota.plugins.module_utils._device.system.units import manager
from ansible_collections.fleet.ota.plugins.module_utils._device.system.units.manager import Manager, seconds

Properties = t.Dict[str, str]


class Systemd:
    """Units and their states; remembers every order with its timeout."""

    def __init__(self) -> None:
        self.units: dict[str, Properties] = {}
        self.orders: list[tuple[str, tuple[str, ...]]] = []
        self.timeouts: dict[str, float] = {}
        #: What an order answers instead of doing anything.
        self.refusals: dict[str, str] = {}
        #: Units that do not start.
        self.broken: set[str] = set()

    def add(self, name: str, state: str = "active", **properties: str) -> None:
        known = {"Id": name, "LoadState": "loaded", "ActiveState": state, "Type": "simple", "Result": "success"}
        self.units[name] = {**known, **properties}

    def run(self, argv: t.Sequence[str], *, timeout: float = 60, **_more: t.Any) -> Result:
        if argv[0] == "journalctl":
            return Result(0, "no licence here\n", "")
        verb = argv[1]
        names = list(argv[argv.index("--") + 1 :]) if "--" in argv else []
        if verb in self.refusals:
            return Result(1, "", self.refusals[verb])
        if verb == "show":
            if names[0].startswith("*"):
                names = list(self.units)
            shown = [
                self.units.get(name, {"Id": name, "LoadState": "not-found", "ActiveState": "inactive"})
                for name in names
            ]
            return Result(0, "\n\n".join("\n".join("%s=%s" % pair for pair in unit.items()) for unit in shown), "")
        self.orders.append((verb, tuple(names)))
        self.timeouts[verb] = timeout
        code = 0
        for name in names:
            if verb in ("start", "restart"):
                code |= int(name in self.broken)
                self.units[name].update(
                    {"ActiveState": "failed", "Result": "exit-code"}
                    if name in self.broken
                    else {"ActiveState": "active"}
                )
            elif verb == "stop":
                self.units[name]["ActiveState"] = "inactive"
        return Result(code, "", "Job for %s failed.\n" % ", ".join(sorted(self.broken)) if code else "")


@pytest.fixture()
def systemd(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    played = Systemd()
    monkeypatch.setattr(command, "run", played.run)
    return played


@pytest.mark.parametrize(
    ("span", "value"),
    [
        ("1min 30s", 90),
        ("10min", 600),
        ("1h 2min", 3720),
        ("500ms", 0.5),
        ("0", 0),
        ("infinity", float("inf")),
        ("", float("inf")),
    ],
)
def test_time_spans_are_read_as_systemctl_writes_them(span: str, value: float) -> None:
    assert seconds(span) == value


def test_a_template_stands_for_its_instances() -> None:
    known = ["cam@front.service", "cam@rear.service", "cam@rear.socket", "camera@x.service", "other.service"]
    assert units.instances(["cam@.service", "other.service"], known) == [*known[:2], "other.service"]
    assert units.instances(["cam@.service"], []) == []


def test_a_stop_is_waited_for_as_long_as_the_slowest_unit_says_also_a_dependent(systemd: Systemd) -> None:
    systemd.add("base.service", TimeoutStopUSec="1min 30s", RequiredBy="dash.service idle.service")
    systemd.add("dash.service", TimeoutStopUSec="20min")
    systemd.add("idle.service", "inactive", TimeoutStopUSec="1h")
    assert Manager().stop(["base.service", "none.service"]) == {}
    assert systemd.orders[0] == ("stop", ("base.service", "dash.service"))
    assert systemd.timeouts["stop"] >= 20 * 60
    systemd.add("base.service", TimeoutStopUSec="infinity")
    Manager().stop(["base.service"])
    assert systemd.timeouts["stop"] == manager.LONGEST


@pytest.mark.parametrize("key", ["BoundBy", "ConsistsOf", "RequisiteOf", "PropagatesStopTo"])
def test_whatever_systemd_stops_with_a_unit_is_waited_for(systemd: Systemd, key: str) -> None:
    systemd.add("base.service", **{key: "dash.service"})
    systemd.add("dash.service")
    Manager().stop(["base.service"])
    assert systemd.orders[0] == ("stop", ("base.service", "dash.service"))
    assert key in manager._SHOWN


def test_one_that_does_not_stop_is_told(systemd: Systemd) -> None:
    systemd.add("base.service")
    systemd.refusals["stop"] = "Failed to stop base.service: Access denied"
    assert "Access denied" in Manager().stop(["base.service"])["base.service"]


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_socket_listens_before_its_service_runs(systemd: Systemd, verb: str) -> None:
    systemd.add("ask.service", TriggeredBy="ask.socket")
    systemd.add("ask.socket", "inactive", Triggers="ask.service")
    assert getattr(Manager(), verb)(["ask.service", "ask.socket"]) == {}
    orders = [order for order in systemd.orders if order[0] != "reset-failed"]
    assert orders == [("stop", ("ask.service",)), (verb, ("ask.socket",)), (verb, ("ask.service",))]


def test_units_are_restarted_in_their_order_and_once_whatever_they_are_called(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mariadb.service", "app.service", "cam@front.service"):
        systemd.add(name)
    systemd.units["mysql.service"] = systemd.units["mariadb.service"]  # an alias
    wanted = ["mysql.service", "app.service", "mariadb.service", "app.service"]
    monkeypatch.setattr(Manager, "loaded", lambda self: pytest.fail("no template is named"))
    assert units.restart(wanted) == {}
    assert [names for verb, names in systemd.orders if verb == "restart"] == [("mariadb.service", "app.service")]
    monkeypatch.undo()
    monkeypatch.setattr(command, "run", systemd.run)
    assert units.restart(["cam@.service"]) == {}
    assert systemd.orders[-1] == ("restart", ("cam@front.service",))


def test_why_a_unit_does_not_start_arrives_with_its_own_words(systemd: Systemd) -> None:
    systemd.add("gw.service")
    systemd.add("ok.service")
    systemd.broken = {"gw.service"}
    failures = units.restart(["gw.service", "ok.service", "none.service"])
    assert set(failures) == {"gw.service", "none.service"}
    assert "exit-code" in failures["gw.service"] and "no licence here" in failures["gw.service"]
    assert systemd.orders[0] == ("daemon-reload", ())


@pytest.mark.parametrize(
    ("refusal", "code"),
    [("Refusing to reload, not enough space available on /run/systemd.", "NO_SPACE"), ("Access denied", "INSTALL")],
)
def test_a_daemon_reload_that_is_refused_counts(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, refusal: str, code: str
) -> None:
    monkeypatch.setattr(manager, "_RELOAD_PATIENCE", -1.0)
    systemd.refusals["daemon-reload"] = refusal
    with pytest.raises(OtaError) as caught:
        units.restart(["gw.service"])
    assert caught.value.code == code
    assert refusal in caught.value.message


def test_no_answer_is_not_taken_for_none(systemd: Systemd) -> None:
    for verb in ("show", "list-units"):
        systemd.refusals[verb] = "Failed to connect to bus"
    for question in (units.failed, Manager().loaded, lambda: Manager().show(["a.service"])):
        with pytest.raises(OtaError):
            question()


@pytest.mark.parametrize(
    ("changes", "at_rest", "after_start"),
    [
        ({}, True, True),
        ({"ConditionTimestampMonotonic": "0"}, False, True),  # systemd has forgotten it
        ({"ConditionResult": "no"}, False, True),
        ({"Result": "exit-code"}, False, False),
        ({"ActiveState": "failed"}, False, False),
        ({"Type": "simple"}, False, False),
        ({"Type": "simple", "ConditionResult": "no"}, False, True),
    ],
)
def test_what_ended_well(changes: Properties, at_rest: bool, after_start: bool) -> None:
    unit = {"Type": "oneshot", "ActiveState": "inactive", "Result": "success"}
    unit.update({"ConditionTimestampMonotonic": "5", "ConditionResult": "yes", **changes})
    assert (units.ended_well(unit), units.ended_well(unit, started=True)) == (at_rest, after_start)
