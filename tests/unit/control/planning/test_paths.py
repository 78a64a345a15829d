# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Update paths: the shortest way over what is offered, dead ends that say what is missing, once for many devices."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import compatibility, paths
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata import store

from ..conftest import Site

pytestmark = pytest.mark.one_core

Info = dict[str, t.Any]


def step(counter: int, over: Info | None = None, **more: t.Any) -> Info:
    found = {"version": f"{counter}.0", "counter": counter, "channel": "stable", "digest": f"{counter:064}", **more}
    return found if over is None else {**found, "from": over}


def info(counter: int | None, floor: int | None = None, hardware: str = "a", rejected: tuple[int, ...] = ()) -> Info:
    """A device that runs release ``counter``."""
    current = None if counter is None else step(counter)
    return {
        "enrolled": True,
        "identity": {"name": "d1", "hardware": hardware, "site": "", "labels": {}},
        "releases": {"gateway": {"current": current, "counter": floor or counter or 0}},
        "rejected": {f"{one:064}": {"code": "HEALTH"} for one in rejected},
    }


def find(wanted: Info, steps: list[Info], infos: dict[str, Info], **more: t.Any) -> dict[str, paths.Way]:
    document = {**wanted, "name": "gateway"}
    return paths.find(document, document, steps, infos, sorted(infos), **more)


def way(wanted: Info, steps: list[Info], device: Info, **more: t.Any) -> paths.Way:
    return find(wanted, steps, {"d1": device}, **more)["d1"]


def counters(found: paths.Way) -> list[int]:
    return [one["counter"] for one in found.path]


def test_the_way_over_an_intermediate_release_and_what_to_run_next() -> None:
    found = way(step(3, {"counter": 2}), [step(2, channel="stable-2"), step(1)], info(1))
    assert str(found) == "first gateway 2.0 (channel stable-2), then gateway 3.0 (channel stable)"
    assert found.as_dict() == {
        "path": [
            {"name": "gateway", "version": "2.0", "counter": 2, "channel": "stable-2"},
            {"name": "gateway", "version": "3.0", "counter": 3, "channel": "stable"},
        ],
        "next": {
            "fleet_ota_release": "gateway/2.0",
            "fleet_ota_channel": "stable-2",
            "fleet_ota_ask_devices": True,
        },
        "dead_end": None,
    }
    assert paths.lines({"d1": found, "d2": found}) == [
        "update path, 2 devices: d1, d2: first gateway 2.0 (channel stable-2), then gateway 3.0 (channel stable)",
        (
            "next step for them: roll out with -e fleet_ota_release=gateway/2.0 -e fleet_ota_channel=stable-2 "
            "-e fleet_ota_ask_devices=true"
        ),
    ]


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        # two steps beat three
        ([step(2), step(3, {"versions": ["2.0"]}), step(4, {"versions": ["1.0"]})], [4, 9]),
        # of the same length, the newest
        ([step(4), step(6), step(5)], [6, 9]),
        # the newest first step is not on every way
        ([step(8, {"counter": 4}), step(7, {"counter": 3}), step(3), step(4, {"versions": ["none"]})], [3, 7, 9]),
        # three steps where there is nothing shorter
        ([step(2), step(3, {"versions": ["2.0"]}), step(5, {"versions": ["3.0"]})], [2, 3, 5, 9]),
    ],
)
def test_the_shortest_and_of_those_the_newest_whatever_the_order(steps: list[Info], wanted: list[int]) -> None:
    over = {"versions": ["4.0", "5.0", "6.0", "7.0"]}
    for order in (steps, steps[::-1]):
        assert counters(way(step(9, over), order, info(1))) == wanted


def test_only_who_is_kept_by_from_alone_has_a_way() -> None:
    target = {**step(3, {"counter": 2}), "compatible": {"hardware": ["a"]}}
    infos = {
        "able": info(2),
        "fresh": info(None),
        "other": info(1, hardware="b"),
        "newer": info(1, floor=4),
        "unknown": {"failed": True},
        "there": {**info(1), "releases": {"gateway": {"current": {**step(1), "digest": f"{3:064}"}, "counter": 1}}},
        "stuck": info(1),
    }
    found = find(target, [step(2)], infos)
    assert list(found) == ["stuck"]
    kept = compatibility.unfit({**target, "name": "gateway"}, target["digest"], infos, list(infos))
    assert {name for name, reason in kept.items() if reason.startswith("cannot take it directly")} == set(found)


def test_a_device_with_nothing_installed_takes_what_may_be_taken_fresh_first() -> None:
    target = step(5, {"fresh": False})
    assert counters(way(target, [step(4, {"fresh": False}), step(2), step(3)], info(None))) == [3, 5]
    found = way(target, [step(4, {"fresh": False})], info(None))
    assert found.dead_end == (
        "no release offered before 5.0 can be taken over a device with nothing of that name; needed is gateway with a "
        "counter from 1 to 3 that can be taken where nothing of that name is, and then gateway 4.0 (channel stable)"
    )


def test_what_the_device_would_refuse_is_no_step() -> None:
    target = step(5, {"counter": 3})
    offered = [step(4, compatible={"hardware": ["b"]}), step(3)]
    assert counters(way(target, offered, info(1))) == [3, 5]
    assert counters(way(target, offered, info(1, hardware="b"))) == [4, 5]
    assert counters(way(target, [step(4), step(3)], info(1, rejected=(4,)))) == [3, 5]
    assert counters(way(target, [step(4), step(3)], info(1, rejected=(4,)), retry_rejected=True)) == [4, 5]
    # it went back from 4: what is older than that is refused
    assert counters(way(target, [step(4), step(3)], info(1, floor=4))) == [4, 5]
    assert way(target, [step(3)], info(1, floor=4)).path == ()


def test_a_path_never_goes_down() -> None:
    # 1 -> 5 -> 3 -> 9 by ``from`` alone, but who confirmed 5 refuses 3
    offered = [step(5), step(3, {"versions": ["5.0"]})]
    assert way(step(9, {"versions": ["3.0"]}), offered, info(1)).path == ()


def test_devices_with_the_same_release_that_differ_have_ways_of_their_own() -> None:
    offered = [step(4, compatible={"hardware": ["b"]}), step(3)]
    infos = {"a": info(1), "b": info(1, hardware="b"), "c": info(1, hardware="b", rejected=(4,)), "d": info(1, floor=4)}
    found = find(step(5, {"counter": 3}), offered, infos)
    assert {name: counters(one) for name, one in found.items()} == {"a": [3, 5], "b": [4, 5], "c": [3, 5], "d": []}
    assert "gateway 4.0 (channel stable) is for hardware b" in str(found["d"])
    alone = find(step(5, {"counter": 3}), [step(3)], {"d": info(1, floor=4)})
    assert "gateway 3.0 (channel stable) is older than counter 4, which was confirmed there" in str(alone["d"])


def test_a_dead_end_says_what_would_be_needed() -> None:
    target = step(9, {"counter": 5})
    assert way(target, [], info(1)).as_dict() == {
        "path": [],
        "next": None,
        "dead_end": "no release offered before 9.0 can be taken over 1.0 (counter 1); needed is gateway with a counter "
        "from 5 to 8 that goes over 1.0 (counter 1)",
    }
    assert str(way(step(9, {"versions": ["7.0", "8.0"]}), [step(2)], info(1))) == (
        "no path: dead end, from 1.0 (counter 1) the releases offered lead to 2.0 (counter 2) at most; needed is "
        "gateway 7.0 or gateway 8.0 with a counter from 3 to 8 that goes over 2.0 (counter 2)"
    )
    # what leads on is there, but nothing leads to it
    found = way(target, [step(6, {"counter": 3}), step(2)], info(1))
    assert found.dead_end is not None
    assert found.dead_end.endswith(
        "needed is gateway with a counter from 3 to 5 that goes over 2.0 (counter 2), and then gateway 6.0 "
        "(channel stable)"
    )
    assert "leaves no room" in str(way(step(2, {"counter": 2}), [], info(1)))


def test_a_dead_end_names_the_steps_that_would_be_refused() -> None:
    offered = [step(3, compatible={"hardware": ["b"]})]
    assert way(step(5, {"counter": 3}), offered, info(1)).dead_end == (
        "it would go over gateway 3.0 (channel stable), gateway 5.0 (channel stable), but gateway 3.0 (channel stable) "
        "is for hardware b; publish a release in between that suits it"
    )
    found = str(way(step(5, {"counter": 3}), [step(3)], info(1, rejected=(5,))))
    assert "gateway 5.0 (channel stable) was rejected there before" in found
    assert "fleet_ota_retry_rejected=true" in found


def test_what_cannot_be_read_is_no_step_and_is_told_at_a_dead_end() -> None:
    target = step(5, {"counter": 3})
    lost: list[Info] = [
        step(3, problem="not found"),
        {"channel": "pilot", "problem": "expired"},
        step(1, problem="gone"),
    ]
    found = way(target, lost, info(1)).dead_end
    assert found is not None
    assert found.endswith(
        "whether it is there is not known, these cannot be read: gateway 3.0 (channel stable) (not found), channel "
        "pilot (expired); publish them again"
    )
    assert counters(way(target, [*lost, step(4)], info(1))) == [4, 5]


def test_ten_thousand_devices_share_a_few_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = []
    search = paths._Graph.way

    def counted(graph: paths._Graph, *given: t.Any) -> paths.Way:
        searches.append(given)
        return search(graph, *given)

    monkeypatch.setattr(paths._Graph, "way", counted)
    offered = [step(counter, {"counter": counter - 1}) for counter in range(2, 50)]
    infos = {f"d{number}": info(1 + number % 4, hardware=str(number % 2)) for number in range(10_000)}
    found = find(step(50, {"counter": 49}), offered, infos)
    assert len(found) == 10_000
    assert len(searches) == 4
    assert counters(found["d0"]) == list(range(2, 51))


# -- what a repository offers ------------------------------------------------------------------------------------------


def offered(site: Site) -> Bundle:
    """1.0 in stable, 1.5 in pilot alone, 2.0 in both, and 3.0, which goes over 2.0, in stable."""
    site.publish("1.0", 1)
    site.publish("1.5", 2, "pilot", compatible={"hardware": ["a"]})
    between: Info = {"from": {"counter": 2}}
    site.publish("2.0", 3, "pilot", **between)
    site.repository().promote("gateway", "2.0", "stable", site.ring())
    over: Info = {"from": {"versions": ["2.0"]}}
    site.publish("3.0", 4, **over)
    return site.fetch("gateway/3.0")


def test_the_steps_of_a_bundle_are_the_verified_releases_of_every_channel(site: Site) -> None:
    bundle = offered(site)
    assert [(one["version"], one["counter"], one["channel"]) for one in bundle.steps] == [
        ("1.0", 1, "stable"),
        ("2.0", 3, "stable"),
        ("1.5", 2, "pilot"),
    ]
    assert [one.get("from") for one in bundle.steps] == [None, {"counter": 2}, None]
    assert bundle.steps[2]["compatible"] == {"hardware": ["a"]}
    assert "steps" not in bundle.wire()
    assert Bundle.load(bundle.save(site.folder / "kept.json")) == bundle
    found = paths.find(bundle.document, bundle.identity, bundle.steps, {"d1": info(1)}, ["d1"])
    assert str(found["d1"]) == (
        "first gateway 1.5 (channel pilot), then gateway 2.0 (channel stable), then gateway 3.0 (channel stable)"
    )
    # a release that everybody can take has none to ask for
    assert site.fetch("gateway/1.0").steps == []


def test_a_document_that_is_gone_or_changed_is_no_step_and_the_release_stays_good(site: Site) -> None:
    bundle = offered(site)
    for number, one in enumerate(bundle.steps[1:]):
        target = f"{one['channel']}/gateway/{one['version']}.json"
        path = site.path / store.content_name(target, one["digest"])
        path.unlink() if number else path.write_bytes(path.read_bytes().replace(b"2.0", b"9.9"))
    # what this controller has verified before is in its cache
    assert site.fetch("gateway/3.0").steps == bundle.steps
    found = site.fetch("gateway/3.0", cache=site.folder / "new")
    assert found.digest == bundle.digest
    problems = {one["version"]: one.get("problem") for one in found.steps}
    assert problems["1.0"] is None
    # 2.0 is whole in the other channel
    assert problems["2.0"] is None
    assert {one["version"]: one["channel"] for one in found.steps}["2.0"] == "pilot"
    assert problems["1.5"]


def test_a_channel_that_cannot_be_trusted_is_named(site: Site) -> None:
    offered(site)
    for path in (site.path / "metadata").glob("*.pilot.json"):
        path.write_bytes(path.read_bytes().replace(b'"1.5"', b'"1.6"'))
    found = site.fetch("gateway/3.0", cache=site.folder / "new")
    assert {one["channel"]: one.get("problem") is None for one in found.steps} == {"stable": True, "pilot": False}
    way = paths.find(found.document, found.identity, found.steps, {"d1": info(1)}, ["d1"])["d1"]
    assert way.dead_end is not None
    assert "channel pilot (" in way.dead_end
