# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody at a terminal: a playbook run on a pseudo-terminal, whose prompts are answered."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
import typing as t

if t.TYPE_CHECKING:
    from .conftest import Fleet

#: Seconds until an answer of which nothing was seen is typed again: what is typed too early Ansible throws away.
AGAIN = 3.0
LONGEST = 120.0


def play(fleet: Fleet, answers: t.Sequence[tuple[str, str, str]], what: str, **extra: t.Any) -> tuple[int, str]:
    """Run a playbook at a terminal; its exit code and all it showed.

    ``answers`` are (text to wait for, what is typed then, text that shows that it was read), in this order.
    """
    argv, environment = fleet.command(what, **extra)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        argv,
        cwd=fleet.folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # its foreground is this terminal's
    )
    os.close(theirs)
    shown, mark, left, typed = "", 0, list(answers), 0.0
    end = time.monotonic() + LONGEST
    try:
        while time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # nobody holds the other side any more
                    break
                if not piece:
                    break
                shown += piece.decode("utf-8", "replace")
            if not left:
                continue
            wait_for, answer, read = left[0]
            if read in shown[mark:]:
                mark, typed = shown.index(read, mark) + len(read), 0.0
                left.pop(0)
            elif wait_for in shown[mark:] and _listens(ours) and time.monotonic() - typed > AGAIN:
                os.write(ours, answer.encode() + b"\r")
                typed = time.monotonic()
        return process.wait(timeout=10), shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _listens(terminal: int) -> bool:
    """Whether keys are read one by one, as a prompt of Ansible does."""
    return not termios.tcgetattr(terminal)[3] & termios.ICANON
