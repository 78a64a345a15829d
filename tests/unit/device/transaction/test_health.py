# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Health: passes in a row, and nothing inconclusive is healthy."""

from __future__ import annotations

import http.server
import json
import threading
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds import checks
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds.checks import command
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction import health as runner
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction.health import Health, Verdict

FAST = {"passes": 3, "interval": 0.05, "timeout": 1.0}


def health(tmp_path: Path, *given: dict[str, t.Any], **section: t.Any) -> Health:
    """Health of a directory device."""
    return Health(
        Layout(str(tmp_path)), t.cast(checks.Section, {**FAST, **section, "checks": list(given)}), {"port": "1"}
    )


@pytest.fixture()
def looks(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[str], list[int]]:
    """Script the looks of a command check: ``+`` passes, ``-`` does not, ``!`` breaks; the last one repeats."""

    def script(text: str) -> list[int]:
        count = [0]

        def look(check: t.Any, context: checks.Context) -> dict[str, t.Any]:
            now = text[min(count[0], len(text) - 1)]
            count[0] += 1
            if now == "-":
                raise checks.Unhealthy("no")
            if now == "!":
                raise ZeroDivisionError("broken check")
            return {}

        monkeypatch.setattr(command, "look", look)
        return count

    return script


@pytest.mark.parametrize(
    ("text", "healthy", "count"),
    [
        ("+++", True, 3),
        ("-+++", True, 4),
        ("++-+++", True, 6),
        ("+-", False, None),
        ("-", False, None),
        ("!", False, None),
    ],
)
def test_passes_must_be_in_a_row(
    tmp_path: Path, looks: t.Callable[[str], list[int]], text: str, healthy: bool, count: int | None
) -> None:
    counted = looks(text)
    verdict = health(tmp_path, {"name": "c", "type": "command", "argv": ["x"]}).wait()
    assert verdict.healthy is healthy, verdict
    assert count is None or counted[0] == count


def test_without_checks_it_is_healthy(tmp_path: Path) -> None:
    assert health(tmp_path).wait() == Verdict(True, {})


def test_a_broken_check_is_not_healthy(tmp_path: Path, looks: t.Callable[[str], list[int]]) -> None:
    looks("!")
    verdict = health(tmp_path, {"name": "c", "type": "command", "argv": ["x"]}, timeout=0).wait()
    assert "inconclusive" in verdict.reason


def test_an_unknown_word_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OtaError, match="rack"):
        health(tmp_path, {"name": "c", "type": "tcp", "port": "${rack}"})


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers JSON, an error or a redirect, by path."""

    def do_GET(self) -> None:
        status = {"/health": 200, "/moved": 302}.get(self.path, 503)
        body = json.dumps({"status": "ok", "parts": [{"v": 1}], "flag": True}).encode()
        self.send_response(status)
        self.send_header("Location", "/health")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: t.Any) -> None:
        """Be quiet."""


@pytest.fixture()
def url() -> t.Iterator[str]:
    """A server that answers."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "http://127.0.0.1:%d" % server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "more", "good"),
    [
        ("/health", {}, True),
        ("/health", {"json": {"path": "status", "equals": "ok"}}, True),
        ("/health", {"json": {"path": "parts.0.v", "equals": 1}}, True),
        ("/health", {"json": {"path": "parts.1.v", "equals": 1}}, False),
        ("/health", {"json": {"path": "flag", "equals": 1}}, False),
        ("/health", {"contains": "ok"}, True),
        ("/health", {"contains": "bad"}, False),
        ("/moved", {}, False),
        ("/moved", {"status": 302}, True),
        ("/else", {}, False),
        ("/else", {"status": 503}, True),
    ],
)
def test_http(tmp_path: Path, url: str, path: str, more: dict[str, t.Any], good: bool) -> None:
    verdict = health(tmp_path, {"name": "h", "type": "http", "url": url + path, **more}, timeout=0, passes=1).wait()
    assert verdict.healthy is good, verdict


def test_nobody_listens(tmp_path: Path) -> None:
    given = [
        {"name": "h", "type": "http", "url": "http://127.0.0.1:1/"},
        {"name": "t", "type": "tcp", "port": "${port}"},
    ]
    verdict = health(tmp_path, *given, timeout=0).wait()
    assert not any(found["ok"] for found in verdict.checks.values())


def test_a_look_without_an_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that sends a byte now and then, a file on a mount whose server is gone: `wait` is over all of it."""
    never = threading.Event()
    monkeypatch.setattr(runner, "_GRACE", 0.05)
    monkeypatch.setattr(command, "look", lambda check, context: never.wait())
    verdict = health(tmp_path, {"name": "c", "type": "command", "argv": ["x"], "wait": 0.1}).look()
    never.set()
    assert verdict.reason == "c: inconclusive: no answer within 0.15 s"
