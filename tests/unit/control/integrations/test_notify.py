# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages about a rollout, sent to a real server that takes them, fails, refuses or hangs."""

from __future__ import annotations

import json
import pathlib
import time
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.integrations import notify
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from ..receiver import Receiver

HERE: dict[t.Any, t.Any] = {"type": "cloudevents", "url": "http://x"}
MESSAGE = notify.Message("halted", "gateway-2.0-1a2b3c4d", "wave canary: halt, 1 failed", {"decision": "halt"})


@pytest.fixture
def book(tmp_path: pathlib.Path) -> Journal:
    return Journal.begin(tmp_path / "journal.jsonl", MESSAGE.rollout, {"generation": 1})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same ways in a fraction of the time."""
    monkeypatch.setattr(notify, "WAITS", (0.02, 0.04, 0.08))
    monkeypatch.setattr(notify, "DEADLINE", 2.0)
    monkeypatch.setattr(notify, "TIMEOUT", 0.5)


def recorded(book: Journal) -> list[tuple[str, dict[str, t.Any]]]:
    return [(one["event"], one["data"]) for one in book.verify()[1:]]


@pytest.mark.parametrize("mode", [None, "structured", "binary"])
def test_an_event_as_the_standards_own_library_reads_it(receiver: Receiver, book: Journal, mode: str | None) -> None:
    assert (
        notify.tell(book, [{"type": "cloudevents", "url": f"{receiver.url}/secret-path", "mode": mode}], MESSAGE) == []
    )
    (request,) = receiver.requests
    event = from_http_event(HTTPMessage(request.headers, request.body))
    assert (event.get_specversion(), event.get_type()) == ("1.0", "fleet.ota.rollout.halted")
    assert (event.get_subject(), event.get_id()) == (MESSAGE.rollout, MESSAGE.id)
    assert f"{event.get_time():%Y-%m-%dT%H:%M:%SZ}" == MESSAGE.time
    assert event.get_source().startswith("/fleet.ota/")
    assert event.get_data() == {"text": MESSAGE.text, "decision": "halt"}
    assert recorded(book) == [("notify.sent", {"about": "halted", "to": "cloudevents 127.0.0.1"})]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("answers", "requests", "problem"),
    [
        ([{"status": 500}, {"status": 503}, {"status": 202}], 3, None),
        ([{"status": 429}, {}], 2, None),
        ([{"status": 500}], 4, "status 500"),
        ([{"status": 403}], 1, "status 403"),  # another attempt would be refused as well
        ([{"status": 301, "headers": {"Location": "/"}}], 1, "status 301"),
        ([{"hang": True}], None, "does not answer"),
        ([{"hang": True}, {}], 2, None),
        ([{"drip": True}], 1, None),  # it took the event, whatever it goes on to say
        ([{"status": 403, "drip": True}], 1, "status 403"),
    ],
)
def test_who_does_not_take_it(
    receiver: Receiver, book: Journal, answers: list[dict[str, t.Any]], requests: int | None, problem: str | None
) -> None:
    receiver.answers = answers
    began = time.monotonic()
    failed = notify.tell(book, [{"type": "cloudevents", "url": f"{receiver.url}/secret-path"}], MESSAGE)
    assert time.monotonic() - began < 5
    assert requests in (None, len(receiver.requests))
    ids = {json.loads(request.body)["id"] for request in receiver.requests}
    assert ids == {MESSAGE.id}  # whoever got it twice can tell
    if problem is None:
        assert failed == []
        return
    ((event, data),) = recorded(book)
    assert event == "notify.failed"
    assert problem in data["reason"]
    assert failed == [f"cloudevents 127.0.0.1: {data['reason']}"]
    assert "secret-path" not in str(failed) + book.path.read_text()


@pytest.mark.usefixtures("quick")
def test_one_that_hangs_does_not_keep_the_others(receiver: Receiver, book: Journal) -> None:
    other = Receiver()
    other.answers = [{"hang": True}]
    nobody = {"type": "cloudevents", "url": "http://127.0.0.1:9/"}
    began = time.monotonic()
    failed = notify.tell(
        book,
        [{"type": "cloudevents", "url": other.url}, nobody, {"type": "cloudevents", "url": receiver.url}],
        MESSAGE,
    )
    other.close()
    assert time.monotonic() - began < 5
    assert len(failed) == 2
    assert len(receiver.requests) == 1
    assert [event for event, _data in recorded(book)] == ["notify.failed", "notify.failed", "notify.sent"]


def test_each_gets_what_it_wants_and_the_token_stays_secret(
    receiver: Receiver, book: Journal, tmp_path: pathlib.Path
) -> None:
    token = tmp_path / "token"
    token.write_text("hunter2\n")
    wants = {"type": "cloudevents", "url": receiver.url, "token_file": str(token)}
    notify.tell(book, [{**wants, "events": ["started"]}, {**wants, "events": ["halted"]}], MESSAGE)
    (request,) = receiver.requests
    assert request.headers["Authorization"] == "Bearer hunter2"
    assert "hunter2" not in book.path.read_text()


def test_apprise(receiver: Receiver, book: Journal, tmp_path: pathlib.Path) -> None:
    urls = tmp_path / "urls"
    urls.write_text(f"# the team's chat\n{receiver.url.replace('http:', 'json:')}/secret\n")
    to = {"type": "apprise", "url_file": str(urls)}
    notify.require_valid([to])
    assert notify.tell(book, [to], MESSAGE) == []
    (request,) = receiver.requests
    said = json.loads(request.body)
    assert (said["title"], said["message"], said["type"]) == (
        "rollout gateway-2.0-1a2b3c4d: halted",
        MESSAGE.text,
        "warning",
    )
    assert recorded(book) == [("notify.sent", {"about": "halted", "to": "apprise urls"})]


@pytest.mark.usefixtures("quick")
def test_apprise_that_cannot_deliver(receiver: Receiver, book: Journal, tmp_path: pathlib.Path) -> None:
    receiver.answers = [{"status": 500}]
    urls = tmp_path / "urls"
    urls.write_text(f"{receiver.url.replace('http:', 'json:')}/secret\n")
    (failed,) = notify.tell(book, [{"type": "apprise", "url_file": str(urls)}], MESSAGE)
    assert "could not deliver" in failed
    assert "secret" not in failed + book.path.read_text()


@pytest.mark.parametrize(
    ("receivers", "part"),
    [
        (["http://x"], "mapping"),
        ([{"type": "pigeon"}], "pigeon"),
        ([{"type": "cloudevents"}], "url: is missing"),
        ([{"type": "cloudevents", "url": "ftp://x"}], "http"),
        ([{"type": "cloudevents", "url": "http://x", "mode": "loud"}], "binary"),
        ([{"type": "cloudevents", "url": "http://x", "events": ["lunch"]}], "events"),
        ([{"type": "cloudevents", "url": "http://x", "retries": 3}], "retries"),
        ([{"type": "apprise", "url_file": "/nonexistent"}], "/nonexistent"),
        ([{"type": "apprise", "url_file": 5}], "url_file: 5"),
        ([{"type": ["cloudevents"]}], r"type: \['cloudevents'\] is none of"),
        ([{**HERE, "events": [{}]}], "events: must be a list"),
        ([{**HERE, "events": "halted"}], "events: must be a list"),
        ([{**HERE, 5: 1, "x": 1}], "5: unknown.*x: unknown"),
        ([{**HERE, "token_file": "/nonexistent"}], "/nonexistent cannot be read"),
        ([{**HERE, "token_file": 5}], "token_file: must be the path"),
        ([{**HERE, "tls": True}], "tls: must be a mapping"),
        ([{**HERE, "tls": {"cert": "/x"}}], "tls: must be a mapping"),
        ([{**HERE, "tls": {"ca": None}}], "tls: must be a mapping"),
        ([{**HERE, "tls": {"ca": "/nonexistent"}}], "/nonexistent cannot be used"),
        ([{**HERE, "tls": {"key": "/x"}}], "certificate; give both"),
    ],
)
def test_wrong_receivers_are_told_before_anything_begins(receivers: list[t.Any], part: str) -> None:
    with pytest.raises(PlanError, match=part):
        notify.require_valid(receivers)


@pytest.mark.parametrize(
    "url",
    [
        "https:///x?SECRET",
        "http://[x/SECRET",
        "https://h:99999/SECRET",
        "https://h:port/SECRET",
        "https://u:SECRET@h\u2100st/x",
        "https://h /SECRET",
        ["https://h/SECRET"],
        5,
    ],
)
def test_an_address_that_is_none_is_told_without_it(url: t.Any) -> None:
    with pytest.raises(PlanError, match=r"url: must be an http or https address") as error:
        notify.require_valid([{"type": "cloudevents", "url": url}])
    assert "SECRET" not in str(error.value.detail) + error.value.message


def test_right_receivers_are_taken(tmp_path: pathlib.Path) -> None:
    token = tmp_path / "token"
    token.write_text("hunter2")
    notify.require_valid(
        [HERE, {**HERE, "url": "HTTPS://h:8443/x?y", "token_file": str(token), "tls": {}, "events": None}]
    )
