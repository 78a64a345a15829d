# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The callback ``fleet.ota.progress`` beside a real rollout: lines, a table in a terminal, AWX's display."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import typing as t

if t.TYPE_CHECKING:
    from .conftest import Fleet, MakeFleet


def told(text: str) -> list[str]:
    return [line.removeprefix("[fleet.ota] ") for line in text.splitlines() if line.startswith("[fleet.ota] ")]


def halting(make_fleet: MakeFleet) -> Fleet:
    """Three devices in two waves; d2 goes back, so that d3 is never touched."""
    fleet = make_fleet("d1", "d2", "d3")
    fleet.common["fleet_ota_waves"] = [{"name": "canary", "count": 1}, {"name": "more", "count": 1}, {"percent": 100}]
    fleet.file("tasks/no.yml", [{"ansible.builtin.fail": {"msg": "the line is not ready"}}])
    fleet.variables["d2"]["fleet_ota_hook_installed"] = str(fleet.folder / "tasks/no.yml")
    fleet.environment = {"ANSIBLE_CALLBACKS_ENABLED": "fleet.ota.progress"}
    return fleet


def test_lines(make_fleet: MakeFleet) -> None:
    fleet = halting(make_fleet)
    ran = fleet.play("rollout")
    assert ran.rc == 2
    lines = told(ran.text)
    assert lines[0] == "gateway 2: started; 3 devices in 3 waves, 3 without an outcome"
    assert lines[1] == "wave 1/3 canary: 0 of 1 done: begins"
    assert lines[2] == "canary d1: updated; wave 1/3 canary: 1 of 1 done (1 updated)"
    assert lines[3] == "wave 1/3 canary: 1 of 1 done (1 updated): promoted"
    assert re.fullmatch(r"more d2: restored \(TEAM_CHECK: .*not ready.*\); wave 2/3 more: 1 of 1 done .*", lines[5])
    assert lines[6].startswith("wave 2/3 more: 1 of 1 done (1 restored): halt, 1 failed, 0 allowed")
    assert lines[-1] == "gateway 2: halted; 1 updated, 1 restored, 1 without an outcome"

    # a run that goes on tells where it stands, not everything once more
    ran = fleet.play("rollout")
    assert (
        told(ran.text)[0]
        == "gateway 2: resumed, run 2; 3 devices in 3 waves, 1 updated, 1 restored, 1 without an outcome"
    )


def test_a_table_in_a_terminal(make_fleet: MakeFleet) -> None:
    fleet = halting(make_fleet)
    fleet.play("rollout", "--check")  # writes the inventory
    text, code = in_a_terminal(fleet)
    assert code == 2, text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    last = plain[plain.rindex("┏") :]
    assert re.search(r"canary\s+│\s+1/1\s+│.*│\s+1 updated", last), last
    assert re.search(r"more\s+│\s+1/1\s+│.*│\s+1 restored", last), last
    assert re.search(r"wave-3\s+│\s+0/1", last), last
    # Ansible's own output is whole
    assert plain.count("TASK [") > 10 and "PLAY RECAP" in plain


def in_a_terminal(fleet: Fleet) -> tuple[str, int]:
    """What a rollout prints there, and its exit code."""
    program = fleet.program("ansible-playbook")
    main, end = pty.openpty()
    environment = {
        **os.environ,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "TERM": "xterm",
        "COLUMNS": "160",
    }
    with subprocess.Popen(
        [program, "-i", "inventory.json", "-e", "fleet_ota_hosts=fleet", "fleet.ota.rollout"],
        cwd=fleet.folder,
        env={**environment, **fleet.environment},
        stdin=end,
        stdout=end,
        stderr=end,
    ) as process:
        os.close(end)
        parts = []
        while True:
            try:
                part = os.read(main, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
    os.close(main)
    return b"".join(parts).decode(), process.returncode


def test_check_mode_and_other_playbooks_say_nothing(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1")
    fleet.environment = {"ANSIBLE_CALLBACKS_ENABLED": "fleet.ota.progress"}
    for ran in (fleet.play("rollout", "--check"), fleet.play("status")):
        assert ran.rc == 0, ran.text
        assert not told(ran.text)
        assert "Traceback" not in ran.text and "callback" not in ran.text.lower()
