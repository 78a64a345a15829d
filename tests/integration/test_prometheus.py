# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The analysis of a wave against a real Prometheus, which scrapes what the test serves. Loopback only."""

from __future__ import annotations

import http.server
import json
import pathlib
import shutil
import subprocess
import threading
import time
import typing as t
import urllib.error
import urllib.request

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.gate import analysis
from ansible_collections.fleet.ota.plugins.plugin_utils._control.gate.sources import Subject
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan

from tests.lab import host

HOSTS = ["canary-1", "canary.2", "old-1", "old-2"]
#: Errors per second of each device, as its exporter tells them; one has none and one has none worth a number.
METRICS = """\
errors_ratio{device="canary-1"} 0.02
errors_ratio{device="canary.2"} 0.04
errors_ratio{device="canaryX2"} 0.9
errors_ratio{device="old-1"} 0.02
errors_ratio{device="old-2"} 0.04
ratio_of_nothing{device="canary-1"} NaN
"""
RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
ERRORS = 'errors_ratio{device=~"$devices"}'


class Exporter(http.server.BaseHTTPRequestHandler):
    """What Prometheus scrapes."""

    def do_GET(self) -> None:
        """All metrics."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(METRICS.encode())

    def log_message(self, *_words: t.Any) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    """The address of a Prometheus that has scraped once."""
    if shutil.which("prometheus") is None:
        host.need({"prometheus": "prometheus"})
    folder = tmp_path_factory.mktemp("prometheus")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    job = {"job_name": "devices", "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}]}
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    port = _free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, folder / "log")
        yield url
    finally:
        process.terminate()
        process.wait(30)
        server.shutdown()


def _free_port() -> int:
    with http.server.HTTPServer(("127.0.0.1", 0), Exporter) as server:
        return server.server_port


def _wait(url: str, process: subprocess.Popen[bytes], log: pathlib.Path) -> None:
    """Until the metrics are there."""
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/api/v1/query?query=errors_ratio", timeout=5) as answer:
                if json.load(answer)["data"]["result"]:
                    return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.mark.parametrize(
    ("metric", "verdict", "part"),
    [
        ({"query": ERRORS, "success": {"below": 0.05}}, "successful", ""),
        ({"query": ERRORS, "success": {"below": 0.03}}, "failed", ""),
        (
            {"query": f"max({ERRORS})", "success": {"at_most": 1.1, "of": "baseline"}, "baseline": True},
            "successful",
            "",
        ),
        # another value of the wave than of those not updated: of one name only the rest is taken
        (
            {"query": f"sum({ERRORS}) + 0.05", "success": {"at_most": 1.1, "of": "baseline"}, "baseline": False},
            None,
            "baseline: true",
        ),
        ({"query": 'errors_ratio{device="nobody"}', "success": {"below": 1}}, "inconclusive", "no data"),
        ({"query": "ratio_of_nothing", "success": {"below": 1}}, "inconclusive", "not a number"),
        ({"query": "ratio_of_nothing", "failure": {"above": 1}}, "inconclusive", "not a number"),
        ({"query": "errors_ratio{", "success": {"below": 1}}, "inconclusive", "status 400"),
        ({"query": "errors_ratio[1m]", "success": {"below": 1}}, "inconclusive", "matrix"),
        ({"query": "scalar(vector(3))", "success": {"equals": 3}}, "successful", ""),
        ({"query": ERRORS, "success": "length(data) == `2` && max(values) < `0.05`"}, "successful", ""),
        (
            {"query": f"max({ERRORS})", "success": {"below": 0.05}, "count": 3, "interval": 0, "consecutive": 2},
            "successful",
            "2 measurements in a row",
        ),
    ],
)
def test_queries(prometheus: str, metric: dict[str, t.Any], verdict: str | None, part: str) -> None:
    settings: list[str] = []
    metrics = analysis.validate([{"name": "errors", "source": "prometheus", "url": prometheus, **metric}], settings)
    if verdict is None:
        assert part in "; ".join(settings)
        return
    assert settings == []
    wave, others = (
        Subject(tuple(HOSTS[:2]), "canary", "r", "gateway", "2.0"),
        Subject(tuple(HOSTS[2:]), "canary", "r", "gateway", "2.0"),
    )
    (result,) = analysis.run(metrics, wave, others)
    assert (result.verdict, part in f"{result.reason} {result.measurements}") == (verdict, True), result


def test_a_plan_keeps_the_query_as_it_is(prometheus: str) -> None:
    metric = {"name": "errors", "source": "prometheus", "url": prometheus, "query": ERRORS, "success": {"below": 1}}
    made = plan.make(hosts=HOSTS, groups={"all": HOSTS}, release=RELEASE, conditions={"analysis": [metric]})
    assert made.document["conditions"]["analysis"][0]["query"] == ERRORS
    assert "analysis errors: 1 times every 30 seconds from prometheus, succeeds when below 1" in plan.lines(made)
