# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the controller writes down about one device, before it is touched and after."""

from __future__ import annotations

import typing as t

from .._control.journal import checkpoints, devices
from .._control.journal import record as records
from .._control.journal.checkpoints import Checkpoint
from .._control.journal.journal import Journal

Reply = t.Mapping[str, t.Any]


class Record:
    """The journal's view of one device in one rollout; without a journal it writes nothing."""

    def __init__(self, path: str | None, device: str, rollout: str | None, generation: int) -> None:
        self._journal = Journal(path) if path else None
        self._device = device
        self.rollout = rollout
        self.generation = generation
        self._devices = devices.folder_of(self._journal.path, rollout) if self._journal else None
        #: What was written down here, oldest first, and the device's last reply: what a slice tells the rollout.
        self.written: list[records.Record] = []
        self.reply: Reply = {}

    def insist(self) -> None:
        """Raise JournalError (``STALE``) if a newer run follows the rollout: this one must not touch a device more."""
        if self._journal:
            self._journal.require_newest(self.generation or None)

    def pending(self) -> None:
        """The device is about to be touched. Raises like :meth:`insist`."""
        self.insist()
        if self._journal:
            self.written.append(self._journal.pending(self._device, self.generation))

    def outcome(
        self, outcome: str, code: str | None = None, message: str | None = None, reply: Reply | None = None
    ) -> None:
        """What came of it; the latest counts, so an older run has no say beside a newer. Raises like :meth:`insist`."""
        self.insist()
        if self._journal:
            keys = ("transaction", "before", "release", "seconds", "health", "sequence")
            facts = {key: (reply or {}).get(key) for key in keys}
            facts["after"] = facts.pop("release") if outcome in ("updated", "current") else facts["before"]
            facts.pop("release", None)
            self.written.append(self._journal.outcome(self._device, outcome, code=code, message=message, **facts))
        self.reply = reply or self.reply
        if self._devices:
            devices.note(self._devices, self._device, reply or {})

    def seen(self, healthy: bool | None, release: str | None, reason: str | None = None) -> None:
        """The device was looked at once more; the same sight twice is written once, or hourly runs fill the disk.

        ``healthy`` is None where the look said nothing of its health, and ``reason`` says why.
        """
        if self._journal and self._journal.sight(self._device) != (healthy, release):
            more = {"reason": reason} if reason else {}
            self.written.append(self._journal.seen(self._device, healthy=healthy, release=release, **more))

    def known(self) -> str | None:
        """The outcome on record, None if there is none since the device was last touched."""
        return self._journal.latest(self._device) if self._journal else None

    def unresolved(self) -> bool:
        """Whether the device was touched and nobody knows yet what became of it."""
        return self._journal is not None and self._journal.unresolved(self._device)

    def known_code(self) -> str | None:
        """The reason code of :meth:`known`."""
        last = self._journal.latest_record(self._device) if self._journal else None
        return last.get("code") if last else None

    def expected(self) -> devices.Progress | None:
        """How far the device has come as far as this journal directory knows: ``{instance, sequence}``."""
        return devices.read(self._devices, self._device) if self._devices else None

    def unknown(self, witnessed: t.Sequence[t.Mapping[str, t.Any]]) -> Checkpoint | None:
        """The first of the checkpoints that a device keeps which is of this journal, and which it does not have."""
        return self._journal.lacking(witnessed) if self._journal and witnessed else None

    def lacks(self, kept: Checkpoint) -> str:
        """What to say of a checkpoint of :meth:`unknown`."""
        mine = self.checkpoint()
        size = mine["size"] if mine else 0
        has = f"{size} records" if size < kept["size"] else "others in their place"
        return (
            f"the device has witnessed {kept['size']} records of this journal, which has {has}: it is an older copy; "
            "put the newer one back, or go on with this one by "
            f"fleet.ota.reset -e fleet_ota_rollout_id={kept['rollout']}"
        )

    def run(self, checkpoint: Checkpoint | None = None) -> dict[str, t.Any]:
        """Which run this is, as far as it says so: ``{rollout, generation, holder}`` (what names its journal).

        ``checkpoint`` is :meth:`checkpoint`, if it is at hand.
        """
        witnessed = checkpoint or self.checkpoint()
        run = {"rollout": self.rollout, "generation": self.generation or None}
        run["holder"] = checkpoints.chain(witnessed) if witnessed else None
        return {key: value for key, value in run.items() if value is not None}

    @property
    def of_slice(self) -> bool:
        """Whether the journal is that of a slice, whose records another machine adopts."""
        return self._journal is not None and self._journal.path.exists() and self._journal.of_slice()

    def checkpoint(self) -> Checkpoint | None:
        """What travels to the device, which thereby witnesses the journal."""
        return {**self._journal.checkpoint(), "device": self._device} if self._journal else None
