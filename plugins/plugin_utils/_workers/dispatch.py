# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A turn in slices: who does what, who takes over from a worker that is gone, and what is left in the end."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import threading
import typing as t

from .._control.base.errors import ControlError
from .._control.rollout import slices
from . import parcel
from .stream import Stream
from .worker import Worker

#: Does one slice: worker, private data directory, adoption, seconds of silence. Gives what happened, if it did not go
#: well, and what Ansible said there.
Start = t.Callable[[Worker, t.Any, slices.Adoption, float], "tuple[str | None, str]"]


@dataclasses.dataclass(frozen=True)
class Slice:
    """One slice that is over.

    ``open`` are its devices no outcome came of, ``reason`` says why, for people; None if there are none. ``said`` is
    what Ansible said last of a failure there; it is not recorded.
    """

    worker: str
    devices: list[str]
    outcomes: dict[str, str]
    open: list[str]
    reason: str | None
    said: str = ""


def _run(worker: Worker, place: t.Any, adoption: slices.Adoption, silence: float) -> tuple[str | None, str]:
    stream = Stream(worker, place, adoption, silence)
    return stream.run(), stream.said


class Turn:
    """The devices of one turn on several machines."""

    def __init__(
        self,
        job: parcel.Job,
        workers: t.Sequence[Worker],
        last: Worker,
        silence: float,
        start: Start = _run,
    ) -> None:
        """``last`` does what no worker is left for; ``silence`` is in seconds."""
        self._job, self._workers, self._last, self._silence, self._start = job, list(workers), last, silence, start
        self._gone: set[str] = set()
        self._making = threading.Lock()

    def run(self, devices: t.Sequence[str]) -> list[Slice]:
        """Do all of ``devices``, each by one worker after the other until an outcome came of it.

        A worker that leaves a device without an outcome gets no other slice in this turn. Raises
        :class:`ControlError` when nothing can be recorded, or another run follows the rollout (``STALE``): slices that
        are at work come to their end first.
        """
        slices_: list[Slice] = []
        failures: list[ControlError] = []
        with concurrent.futures.ThreadPoolExecutor(max_workers=2 * len(self._workers) + 2) as pool:
            jobs = self._share(pool, devices, again=False)
            while jobs:
                done, jobs = concurrent.futures.wait(jobs, return_when=concurrent.futures.FIRST_COMPLETED)
                for job in done:
                    try:
                        over = job.result()
                        slices_.append(over)
                        if over.open:
                            jobs |= self._taken_over(pool, over)
                    except ControlError as error:
                        failures.append(error)
        if failures:
            raise failures[0]
        return slices_

    def _taken_over(self, pool: concurrent.futures.Executor, over: Slice) -> set[concurrent.futures.Future[Slice]]:
        self._gone.add(over.worker)
        if over.worker == self._last.name:
            return set()  # they stay open: the next look, or the next run, asks them
        return self._share(pool, over.open, again=True)

    def _share(
        self, pool: concurrent.futures.Executor, devices: t.Sequence[str], again: bool
    ) -> set[concurrent.futures.Future[Slice]]:
        """Give ``devices`` to the workers that are there, to this machine if there are none."""
        living = [worker for worker in self._workers if worker.name not in self._gone] or [self._last]
        pieces = zip(living, slices.split(devices, [worker.forks for worker in living]), strict=True)
        return {pool.submit(self._slice, worker, piece, again) for worker, piece in pieces if piece}

    def _slice(self, worker: Worker, devices: list[str], again: bool) -> Slice:
        book, generation = self._job.book, self._job.generation
        book.require_newest(generation or None)
        with contextlib.ExitStack() as stack:
            with self._making:  # templates are worked out by one thread at a time
                place = stack.enter_context(parcel.made(self._job, worker, devices, again))
            data = {"worker": worker.name, "generation": generation, "devices": devices, "again": again}
            book.append("slice.started", data=data)
            for name in devices:
                book.pending(name, generation)
            adoption = slices.Adoption(book, worker.name, devices)
            reason, said = self._start(worker, place, adoption, self._silence)
        left = [name for name in devices if name in adoption.missing]
        if left:
            reason = reason or "it ended without an outcome of them"
        else:
            reason = None
        end = {"worker": worker.name, "devices": devices, "open": left}
        book.append("slice.ended", data={**end, "reason": reason} if left else end)
        return Slice(worker.name, devices, adoption.outcomes, left, reason, said)
