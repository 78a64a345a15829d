# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logs that come home: bounded, of the transaction that is meant, without secrets."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.records import logs
from ansible_collections.fleet.ota.plugins.module_utils._device.records.transaction import Transaction
from ansible_collections.fleet.ota.plugins.module_utils._device.system import command
from ansible_collections.fleet.ota.plugins.module_utils._device.system.command import Result
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction.services import reasons

from ..conftest import Device, Publisher


def test_the_logs_of_the_last_transaction(device: Device, publisher: Publisher) -> None:
    assert device.call("info", logs=True)["error"]["code"] == "NO_PREVIOUS"
    publisher.release(1, payload={"activate": ["bin/app"]}, content={"bin/app": "#!/bin/sh\necho said >&2\nexit 3\n"})
    device.stage(publisher.files)
    identifier = device.call("apply", bundle=publisher.repository.bundle(), wait=20)["transaction"]
    for request in ({}, {"transaction": identifier}):
        found = device.call("info", logs=True, **request)["logs"]
        assert (found["transaction"], found["cut"]) == (identifier, [])
        assert "said" in found["log"]
    assert device.call("info", logs=True, transaction="0" * 12)["error"]["code"] == "NO_PREVIOUS"
    assert "logs" not in device.call("info")
    with (device.state / "transactions" / identifier / "log").open("a") as log:
        log.write("".join("line %07d\n" % number for number in range(10000)))
    found = device.call("info", logs=True)["logs"]
    assert found["cut"] == ["log"] and len(found["log"]) <= logs.LONGEST
    assert found["log"].startswith("line ") and found["log"].endswith("line 0009999\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=hunter2", "password=***"),
        ("DB_PASSWORD: 'hunter2', next", "DB_PASSWORD: ***', next"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ('{"api_key":"abc"}', '{"api_key":***"}'),
        ("from https://me:pw@host/path", "from https://***@host/path"),
        ("a plain line about tokens and keys", "a plain line about tokens and keys"),
    ],
)
def test_secrets_are_masked(text: str, shown: str) -> None:
    assert logs.without_secrets(text) == shown


class Failing:
    """A real device whose transaction concerns units."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: t.Mapping[str, Result | Exception]) -> None:
        self.asked: list[t.Sequence[str]] = []
        self.answers = answers
        self.said: list[str] = []
        monkeypatch.setattr(command, "run", self._run)
        release: t.Any = {"name": "app", "version": "1", "counter": 1, "digest": "a" * 64}
        self.transaction = Transaction(
            Layout(), kind="update", release=release, units=["meter.service", "other.service"]
        )
        monkeypatch.setattr(Transaction, "log", lambda transaction, text: self.said.append(text))

    def _run(self, argv: t.Sequence[str], **_options: object) -> Result:
        self.asked.append(argv)
        answer = self.answers[argv[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer


SHOWN = """Id=meter.service\nActiveState=activating\nSubState=auto-restart\nResult=exit-code\nInvocationID=abc

Id=other.service\nActiveState=active\nSubState=running\nResult=success\nInvocationID=def
"""


def test_the_journal_of_a_failed_unit_is_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "\n".join(["line %d" % number for number in range(30)] + ["cannot open /dev/ttyUSB7", "token=abc"])
    failing = Failing(monkeypatch, {"systemctl": Result(0, SHOWN, ""), "journalctl": Result(0, lines, "")})
    message = reasons.explained(failing.transaction, "HEALTH", "meter: is not active")
    assert message.startswith("meter: is not active; meter.service: ")
    assert "cannot open /dev/ttyUSB7 | token=***" in message and "line 0" not in message
    assert next(argv for argv in failing.asked if argv[0] == "journalctl")[-1] == "INVOCATION_ID=abc"
    assert "line 0" in failing.said[0] and "abc" not in failing.said[0]


@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), MemoryError()])
def test_reasons_never_stop_a_way_back(monkeypatch: pytest.MonkeyPatch, trouble: Exception) -> None:
    failing = Failing(monkeypatch, {"systemctl": trouble})
    assert reasons.explained(failing.transaction, "HEALTH", "as it was") == "as it was"
    failing = Failing(monkeypatch, {"systemctl": Result(0, SHOWN, ""), "journalctl": Result(127, "", "")})
    assert reasons.explained(failing.transaction, "HEALTH", "as it was") == "as it was"
    assert reasons.explained(failing.transaction, "DEADLINE", "as it was") == "as it was"
