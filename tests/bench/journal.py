# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one device's step costs in journal calls, as the journal grows: ``python -m tests.bench.journal``.

The calls are those that ``fleet.ota.update`` makes for one device from its first look to its confirm. A full read of
the journal is what the index beside it saves.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time
from collections.abc import Callable

from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import files
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import index
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import record as entries
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import NAME, Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import State
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.record import Record

SIZES = (1_000, 10_000, 100_000)
#: Records that a rollout leaves of each device.
PER_DEVICE = 4
RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}


def journal(folder: pathlib.Path, size: int) -> tuple[Journal, list[str]]:
    """A journal of about ``size`` records, made without waiting for the disk, and the names of its devices."""
    devices = [f"device-{number:05}" for number in range(size // PER_DEVICE)]
    made = plan.make(hosts=devices, groups={"all": devices}, release=RELEASE)
    data = {"generation": 1, "controller": {"host": "bench"}, "plan": made.document, "release": made.release}
    book = Journal.begin(folder / made.rollout / NAME, made.rollout, data)
    last = book.last()
    lines = []
    for device in devices:
        end = {"transaction": f"t-{device}", "before": RELEASE, "after": RELEASE, "seconds": 12.5, "health": []}
        for event, more in (
            ("device.pending", {"data": {"generation": 1}}),
            ("device.seen", {"data": {"healthy": True, "release": "gateway 1.0"}}),
            ("device.outcome", {"outcome": "updated", "data": end}),
            ("device.seen", {"data": {"healthy": True, "release": "gateway 2.0"}}),
        ):
            entry: entries.Entry = {"event": event, "device": device, **more}  # type: ignore[typeddict-item]
            last = entries.complete(entry, made.rollout, last["seq"] + 1, last["hash"])
            lines.append(files.canonical(last) + b"\n")
    with book.path.open("ab") as handle:
        handle.writelines(lines)
    return book, devices


def step(path: pathlib.Path, rollout: str, device: str) -> None:
    """The journal calls of one device in one rollout."""
    record = Record(str(path), device, rollout, 1)
    record.known()
    record.unresolved()
    record.pending()
    checkpoint = record.checkpoint()
    record.run(checkpoint)
    record.expected()
    record.unknown([dict(checkpoint or {})])
    record.insist()
    record.run()
    record.known()
    record.outcome("updated", reply={"transaction": "t", "sequence": 1, "instance": "i", "seconds": 12.5})
    record.unknown([dict(checkpoint or {})])
    record.seen(True, "gateway 2.0")


def cpu(measured: Callable[[str], None], devices: list[str]) -> float:
    """Milliseconds of CPU per device."""
    begin = time.process_time()
    for device in devices:
        measured(device)
    return (time.process_time() - begin) * 1000 / len(devices)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100, help="how many devices' steps to measure")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    options = parser.parse_args()
    print("| records | one full read, ms | calls of one device, ms | making the index once, ms |\n|---|---|---|---|")
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as place:
            book, devices = journal(pathlib.Path(place), size)
            rollout = book.path.parent.name

            def plain(device: str, book: Journal = book, rollout: str = rollout) -> None:
                step(book.path, rollout, device)

            def whole(_device: str, book: Journal = book) -> None:
                State.of(book.read())

            before = cpu(whole, devices[:3])
            index.discard(book.path)
            begin = time.process_time()
            book.checkpoint()
            once = (time.process_time() - begin) * 1000
            many = devices[:: max(1, len(devices) // options.devices)][: options.devices]
            print(f"| {size} | {before:.1f} | {cpu(plain, many):.2f} | {once:.0f} |")


if __name__ == "__main__":
    main()
