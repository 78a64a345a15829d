# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs of others: their letters, and how much of what they say is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.system import command
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.system.units import apart

LOUD = "head -c 90000000 /dev/zero | tr '\\0' x; echo; echo the reason; sleep %s; echo at the end >&2"


def test_programs_of_a_release_have_letters_beyond_ascii(tmp_path: Path) -> None:
    """Databases that a package's script makes get their encoding from it."""
    layout = Layout(str(tmp_path))
    layout.prepare()
    assert apart.run(layout, "", ["locale", "charmap"]).out.strip() == "UTF-8"
    assert command.run(["locale", "charmap"]).out.strip() != "UTF-8", "our own tools are read as they ever were"


@pytest.mark.parametrize("pause", ["0", "1.2"])
def test_what_a_loud_program_said_last_is_kept(pause: str) -> None:
    done = command.run(["sh", "-c", LOUD % pause], most=1 << 20)
    assert done.rc == 0
    assert len(done.out) <= 1 << 20
    assert done.tail.endswith("the reason") and done.tail.startswith("at the end")


def test_what_a_loud_program_says_takes_no_memory(tmp_path: Path) -> None:
    """Nor does it while the program runs, however long that is."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from _device.system import command\n"
        "done = command.run(['sh', '-c', 'yes words | head -c 400000000; echo the reason'], most=1 << 20)\n"
        "assert done.out.endswith('the reason\\n') and done.rc == 0\n"
        # of this program alone: a maximum in its resource usage may be that of the program that started it
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    utils = str(Path(command.__file__).resolve().parents[2])
    done = subprocess.run([sys.executable, "-c", code, utils], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 << 10  # KiB


def test_what_is_let_go_takes_no_room() -> None:
    with os.fdopen(os.memfd_create("test"), "w+b") as stream:
        output = command.Output(stream, 1 << 20)
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=stream) as program:
            assert program.stdin is not None
            for number in range(3):
                program.stdin.write(b"x" * (4 << 20) + b"reason %d\n" % number)
                program.stdin.flush()
                while os.fstat(stream.fileno()).st_size < (number + 1) * ((4 << 20) + 9):
                    os.sched_yield()
                output.let_go()
                assert os.fstat(stream.fileno()).st_blocks == 0
                assert output.last().endswith(b"x" * 9 + b"reason %d\n" % number)
            program.stdin.write(b"the end\n")
        assert output.last().endswith(b"reason 2\nthe end\n")


def test_a_program_that_takes_too_long_ends_though_it_is_listened_to() -> None:
    done = command.run(["sleep", "60"], timeout=0.2, most=1 << 20)
    assert done.rc == 124 and "ended after" in done.err
