# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Running the programs that every device has."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import typing as t

#: Seconds in which a program that was killed is gone.
_DIES = 5.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Result(t.NamedTuple):
    """Exit code and both outputs of a program; ``rc`` 124 means that it was ended for taking too long."""

    rc: int
    out: str
    err: str

    @property
    def tail(self) -> str:
        """The last lines a person needs to see why it failed: of what it said to standard error first."""
        errors, output = self.err.strip().splitlines(), self.out.strip().splitlines()
        return "\n".join([*errors[-10:], *output[-4:]])


def which(program: str) -> str | None:
    """Where ``program`` is on this device, or None."""
    return shutil.which(program, path=PATH)


def run(
    argv: t.Sequence[str],
    *,
    timeout: float | None = 60,
    data: bytes | None = None,
    cwd: str | None = None,
    environment: t.Mapping[str, str] | None = None,
    enter: t.Callable[[], None] | None = None,
) -> Result:
    """Run ``argv`` without a shell, with a fixed PATH, the C locale and closed standard input.

    ``timeout`` is in seconds; after it the program and all that it started is killed (it gets a session of its own).
    A program that does not exist gives ``rc`` 127.
    """
    env = {"PATH": PATH, "LC_ALL": "C", "HOME": "/root", "LANG": "C"}
    env.update(environment or {})
    # Files, not pipes: a service started in the background keeps a pipe open and the wait for its end would never end.
    with _scratch() as out, _scratch() as err, _scratch() as source:
        source.write(data or b"")
        source.seek(0)
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=source,
                stdout=out,
                stderr=err,
                cwd=cwd,
                env=env,
                start_new_session=True,
                preexec_fn=enter,
            )
        except OSError as error:
            return Result(127, "", "%s: %s" % (argv[0], error.strerror))
        _set_ordinary(process.pid)
        note = ""
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_DIES)  # one that hangs in the kernel is not waited for
            code, note = 124, "\nended after %s s" % timeout
        out.seek(0)
        err.seek(0)
        return Result(code, out.read().decode("utf-8", "replace"), err.read().decode("utf-8", "replace") + note)


def _scratch() -> t.IO[bytes]:
    """A file without a name for what a program reads or says: in memory, since a way back needs no room in /tmp."""
    try:
        return os.fdopen(os.memfd_create("fleet-ota"), "w+b")
    except (AttributeError, OSError):  # a kernel or a C library without
        return tempfile.TemporaryFile()


def _set_ordinary(pid: int) -> None:
    """A program that the guard runs is not to outlast others when memory is short, as the guard is."""
    path = "/proc/%s/oom_score_adj"
    with contextlib.suppress(OSError, ValueError), open(path % "self", encoding="ascii") as mine:
        if int(mine.read()) < 0:
            with open(path % pid, "w", encoding="ascii") as handle:
                handle.write("0")


def has_systemd() -> bool:
    """Whether systemd runs this machine (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")
