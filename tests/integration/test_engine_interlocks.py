# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real device says not now: by a file of its own, by a unit at work, by somebody at a terminal."""

from __future__ import annotations

import json
import subprocess
import time

from tests.lab import Device, evidence, service

from .engine import Engine
from .project import Project
from .site import assert_same, look

OWN = "etc/fleet-ota/interlocks.d/maintenance.json"
UNIT = {"name": "press-runs", "type": "unit", "unit": "press.service"}
WATCHED = {"name": "nobody-there", "type": "logged_in"}


def test_a_file_a_unit_and_a_person_hold_a_device_until_they_let_go(project: Project, lab_device: Device) -> None:
    engine = Engine(lab_device)
    engine.enroll(project)
    path = lab_device.root / OWN
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([{"name": "maintenance", "type": "file", "path": "/run/maintenance"}]))
    lab_device.run(["systemd-run", "--unit=press", "sleep", "infinity"])
    lab_device.run(["touch", "/run/maintenance"])
    bundle = project.fetch("meter/1")
    before = look(lab_device)

    def held() -> list[str]:
        reply = engine.update(bundle, interlocks=[UNIT, WATCHED])
        assert (reply["outcome"], reply["code"]) == ("deferred", "INTERLOCK"), reply
        return [one["name"] for one in reply["detail"]["held"]]

    assert held() == ["maintenance", "press-runs"], "the connection that asks is nobody"
    lab_device.run(["rm", "/run/maintenance"])
    assert held() == ["press-runs"]
    lab_device.run(["systemctl", "stop", "press"])
    program, *rest = lab_device.ssh("exec cat")
    with subprocess.Popen([program, "-tt", *rest], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as person:
        try:
            end, code = time.monotonic() + 20, None
            while code != "INTERLOCK" and time.monotonic() < end:
                code = engine.call("apply", bundle=bundle.wire(), interlocks=[WATCHED], check=True).get("code")
            assert code == "INTERLOCK", "somebody sits at a terminal"
        finally:
            person.kill()
    assert_same(before, look(lab_device))
    while engine.call("apply", bundle=bundle.wire(), interlocks=[WATCHED], check=True).get("code") == "INTERLOCK":
        time.sleep(0.1)  # the session takes a moment to end
    assert engine.update(bundle, interlocks=[UNIT, WATCHED])["outcome"] == "updated"
    assert evidence.http_json(lab_device, service.PORT) == {"status": "ok", "version": "1", "greeting": "hello"}
