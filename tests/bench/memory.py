# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The most memory that the engine has on a device, as releases grow: ``python -m tests.bench.memory`` (no root).

A directory plays the device. Each program of an update, a rollback and a way back is watched for its peak (VmHWM).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pathlib
import tarfile
import tempfile
import threading
import typing as t

from ansible_collections.fleet.ota.plugins.module_utils._device.documents import release
from ansible_collections.fleet.ota.plugins.module_utils._device.system import bytecode
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine import zipapp

from tests.unit.device.conftest import Device
from tests.unit.device.signing import Key, Repository

SIZES = (1_000, 10_000, 30_000)


class Watch:
    """Peaks in MiB of all processes that run ``program``: ``call``, ``worker``, ``guard``."""

    def __init__(self, program: pathlib.Path) -> None:
        self.peaks: dict[str, int] = {}
        self._program = str(program)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(0.01):
            for name in os.listdir("/proc"):
                if name.isdigit():
                    with contextlib.suppress(OSError, ValueError):
                        self._look(pathlib.Path("/proc", name))

    def _look(self, process: pathlib.Path) -> None:
        arguments = process.joinpath("cmdline").read_text().split("\0")
        kind = arguments[arguments.index(self._program) + 1] or "call"
        for line in process.joinpath("status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                self.peaks[kind] = max(self.peaks.get(kind, 0), int(line.split()[1]) // 1024)


def archive(folder: pathlib.Path, version: str, count: int) -> str:
    """An archive of ``count`` small files, as node_modules has them."""
    path = folder / f"app-{version}.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as handle:
        for number in range(count):
            info = tarfile.TarInfo(f"node_modules/package-{number // 100:03}/lib/file-{number:05}.js")
            content = f"// {number} of {version}\n".encode()
            info.size = len(content)
            handle.addfile(info, io.BytesIO(content))
    return path.name


def measure(folder: pathlib.Path, count: int) -> t.Iterator[tuple[str, dict[str, int]]]:
    """What each step of the life of two releases takes."""
    repository = Repository([Key(folder, number) for number in range(6)])
    program = folder / "engine.pyz"
    program.write_bytes(zipapp.program().content)
    bytecode.write(str(program))
    device = Device(folder / "device", program)
    device.root.mkdir()
    identity = {"name": "dev1", "hardware": "edge", "site": "north", "labels": {}}
    device.call("enroll", identity=identity, trust_root=repository.root())

    def step(verb: str, **request: t.Any) -> dict[str, int]:
        with Watch(program) as watch:
            device.call(verb, wait=600, **request)
        return watch.peaks

    try:
        for version in (1, 2, 3):
            payload = {"name": "app", "type": "archive", "destination": "/opt/app"}
            payload["source"] = archive(folder, str(version), count)
            author = {"format": 1, "name": "app", "version": str(version), "counter": version, "payloads": [payload]}
            document, files = release.describe(author, folder)
            repository.publish(document)
            device.stage(files)
            yield "update", step("apply", bundle=repository.bundle())
            if version < 3:
                yield "confirm", step("confirm")
        yield "restore", step("restore")
        yield "rollback", step("rollback", name="app")
    finally:
        device.end()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    for count in parser.parse_args().sizes:
        most: dict[str, dict[str, int]] = {}
        with tempfile.TemporaryDirectory() as folder:
            for what, peaks in measure(pathlib.Path(folder), count):
                for kind, peak in peaks.items():
                    kinds = most.setdefault(what, {})
                    kinds[kind] = max(kinds.get(kind, 0), peak)
        for what, kinds in most.items():
            print(f"{count:>7} files, {what}:", ", ".join(f"{kind} {peak} MiB" for kind, peak in sorted(kinds.items())))


if __name__ == "__main__":
    main()
