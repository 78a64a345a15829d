# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Running the programs that every device has."""

from __future__ import annotations

import contextlib
import locale
import os
import shutil
import signal
import subprocess
import tempfile
import time
import typing as t

#: Seconds in which a program that was killed is gone.
_DIES = 5.0
#: Seconds between two looks at how much a program has said.
_LOOKS = 0.5
_UTF8 = "C.UTF-8"
#: Bytes of each output that are kept of a program of others.
FOREIGN_OUTPUT = 4 << 20
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
    most: int = 0,
) -> Result:
    """Run ``argv`` without a shell, with a fixed PATH, the C locale and closed standard input.

    ``timeout`` is in seconds; after it the program and all that it started is killed (it gets a session of its own).
    A program that does not exist gives ``rc`` 127. With ``most``, what is kept of each output is about that many of its
    last bytes, however much is said: for programs of others.
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
        outputs, note = (Output(out, most), Output(err, most)), ""
        try:
            code = _wait(process, timeout, outputs) if most else process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_DIES)  # one that hangs in the kernel is not waited for
            code, note = 124, "\nended after %s s" % timeout
        texts = [output.last().decode("utf-8", "replace") for output in outputs]
        return Result(code, texts[0], texts[1] + note)


def foreign_locale() -> dict[str, str]:
    """The locale for programs of others: their scripts read and write UTF-8, and speak English.

    In plain ``C`` databases are made with ASCII only, and interpreters refuse letters beyond it.
    """
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, _UTF8)
    except locale.Error:  # a C library without
        return {}
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return {"LC_ALL": _UTF8, "LANG": _UTF8}


class Output:
    """What a program says into a file in memory: about the last ``most`` bytes of it, or all if that is 0."""

    def __init__(self, stream: t.IO[bytes], most: int) -> None:
        self._stream, self._most = stream, most
        self._earlier, self._begin = b"", 0

    def let_go(self) -> None:
        """Give up what was said before those bytes. The program goes on at its place; what is before takes no room."""
        info = os.fstat(self._stream.fileno())
        if info.st_blocks * 512 > 2 * self._most:
            self._earlier = self.last()
            self._begin = info.st_size
            os.ftruncate(self._stream.fileno(), 0)

    def last(self) -> bytes:
        """The last bytes."""
        size = os.fstat(self._stream.fileno()).st_size
        begin = max(self._begin, size - self._most) if self._most else 0
        blocks = [self._earlier]
        while begin < size:  # not by read: the program's own place in the file is the same as ours
            block = os.pread(self._stream.fileno(), size - begin, begin)
            if not block:
                break
            blocks.append(block)
            begin += len(block)
        return b"".join(blocks)[-self._most :]


def _wait(process: subprocess.Popen[bytes], timeout: float | None, outputs: t.Iterable[Output]) -> int:
    """Wait as ``process.wait`` does, and let go of what was said long ago."""
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _LOOKS if end is None else min(_LOOKS, end - time.monotonic())
        try:
            return process.wait(max(left, 0))
        except subprocess.TimeoutExpired:
            if end is not None and time.monotonic() >= end:
                raise
        for output in outputs:
            output.let_go()


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
