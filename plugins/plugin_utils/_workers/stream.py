# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""One slice on its way: ansible-runner transmits the folder to a worker's process and reads what comes back.

The library does the talking; here is only who is waited for how long.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
import typing as t
import zipfile

from .._control.base.errors import JournalError
from .._control.rollout.slices import Adoption, Foreign
from . import parcel
from .feed import Heard, Lines
from .worker import Worker

#: A worker says something four times in the longest silence that is borne.
BEATS = 4
#: Ways in which ansible-runner says that Ansible ran to its end.
_RAN = ("successful", "failed")
_LONGEST = 300
_GARBLED = (AttributeError, LookupError, TypeError, ValueError, OSError, RuntimeError, zipfile.BadZipFile)
#: Seconds for a command to end by itself.
_TIDY = 10


class Stream:
    """A slice at work on ``worker``; what it records is given to ``adoption`` as it comes."""

    def __init__(self, worker: Worker, folder: pathlib.Path, adoption: Adoption, silence: float) -> None:
        """``silence`` is for how many seconds a worker that says nothing is waited for."""
        self._worker, self._folder, self._adoption, self._silence = worker, folder, adoption, silence
        self._failure: JournalError | None = None
        self._status = "unstarted"
        self._silent = False
        #: What Ansible said last of something that failed there: for the screen alone, as any task's failure.
        self.said = ""

    def run(self) -> str | None:
        """Do the slice; None when Ansible came to its end there, else what happened, for people.

        Raises :class:`JournalError` when this side cannot record any more.
        """
        keepalive = max(1, int(self._silence / BEATS))
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    self._worker.command(keepalive),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,  # to end all of it
                )
            except OSError as error:
                return f"{self._worker.start[0]} cannot be started ({error.strerror})"
            try:
                self._talk(process)
            finally:
                _end(process)
            if isinstance(self._failure, Foreign):
                return self._failure.message
            if self._failure:
                raise self._failure
            if self._silent:
                return f"nothing was heard of it for {self._silence:.0f} s"
            if self._status in _RAN:
                return None
            return f"its stream broke off ({self._status}){_said(errors)}"

    def _talk(self, process: subprocess.Popen[bytes]) -> None:
        # not at the top: every other action would pay for it
        import ansible_runner

        heard = Heard(t.cast("t.IO[bytes]", process.stdout).fileno())
        lines, over = Lines(heard), threading.Event()
        helpers = [
            threading.Thread(target=self._send, args=(process.stdin,), daemon=True),
            threading.Thread(target=self._watch, args=(process, heard, over), daemon=True),
        ]
        for helper in helpers:
            helper.start()
        try:
            ansible_runner.run(
                streamer="process",
                private_data_dir=str(self._folder),
                _input=lines,
                event_handler=self._event,
                status_handler=self._state,
                quiet=True,
            )
        except JournalError as error:
            self._failure = error
        except _GARBLED as error:  # the library believes that whoever speaks is a worker of its kind
            self._failure = Foreign(f"what it sent cannot be read ({type(error).__name__})")
        finally:
            over.set()
            self.said = self.said or "\n".join(lines.output.strip().splitlines()[-6:])
            if self._status in _RAN and not self._failure:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_TIDY)  # it removes its folder
            _end(process)  # a sender that waits is let go
            for helper in helpers:
                helper.join()
            t.cast("t.IO[bytes]", process.stdout).close()

    def _send(self, pipe: t.IO[bytes]) -> None:
        import ansible_runner

        # a worker that dies on the way shows in what comes back
        with contextlib.suppress(OSError), pipe:
            ansible_runner.run(
                streamer="transmit",
                private_data_dir=str(self._folder),
                _output=pipe,
                playbook=parcel.PLAYBOOK,
                forks=self._worker.forks,
            )

    def _watch(self, process: subprocess.Popen[bytes], heard: Heard, over: threading.Event) -> None:
        while not over.wait(self._silence / BEATS):
            if time.monotonic() - heard.last > self._silence:
                self._silent = True
                _end(process)
                return

    def _state(self, status: t.Mapping[str, t.Any], **_more: t.Any) -> None:
        self._status = str(status.get("status"))

    def _event(self, event: t.Mapping[str, t.Any]) -> bool:
        result = (event.get("event_data") or {}).get("res")
        if isinstance(result, dict) and result.get("recorded"):
            self._adoption.take(result["recorded"], result.get("remembered"))
        said = str(event.get("stdout") or "")
        if event.get("event") in ("runner_on_failed", "runner_on_unreachable") or "ERROR" in said[:20]:
            self.said = said or str((result or {}).get("msg", ""))
        return False  # kept nowhere else


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a worker's command with all that it started here, by force if it takes its time."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_TIDY)


def _said(errors: t.IO[bytes]) -> str:
    """The last line of what a worker's command said on standard error."""
    errors.seek(0)
    lines = errors.read()[-4096:].decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1][:_LONGEST]}" if lines else ""
