# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How far each device had come when a rollout last heard of it, over all rollouts of a journal directory.

``JOURNAL_DIR/.devices/SHA256_OF_NAME.json``: ``{format, device, instance, sequence}``, beside the journals so that
asking costs one small file and not the reading of every rollout.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import typing as t

from ..base import files
from ..base.errors import JournalError

FORMAT = 1
FOLDER = ".devices"


class Progress(t.TypedDict):
    """``sequence`` is how many transactions the state directory ``instance`` of a device has begun."""

    instance: str
    sequence: int


def folder_of(journal: pathlib.Path, rollout: str | None) -> pathlib.Path | None:
    """The folder that belongs to a journal; None for a journal that does not lie in a journal directory."""
    folder = journal.absolute().parent
    return folder.parent / FOLDER if rollout and folder.name == rollout else None


def read(folder: pathlib.Path, device: str) -> Progress | None:
    """``{instance, sequence}`` of ``device``, None if nothing is known. Raises JournalError for a damaged file."""
    path = _path(folder, device)
    try:
        content = json.loads(path.read_bytes())
        return {"instance": str(content["instance"]), "sequence": int(content["sequence"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise JournalError(f"{path} cannot be read ({error}); restore it from a backup, or remove it") from error


def note(folder: pathlib.Path, device: str, reply: t.Mapping[str, object]) -> None:
    """Keep what a transaction reply says; a lower number of the same instance never takes the place of a higher."""
    instance, sequence = reply.get("instance"), reply.get("sequence")
    if not isinstance(instance, str) or not isinstance(sequence, int):
        return
    before = read(folder, device)
    if before and before["instance"] == instance and before["sequence"] >= sequence:
        return
    files.make_directory(folder, 0o700)
    value = {"format": FORMAT, "device": device, "instance": instance, "sequence": sequence}
    files.write(_path(folder, device), files.canonical(value) + b"\n", 0o600)


def _path(folder: pathlib.Path, device: str) -> pathlib.Path:
    # a host may be called ../../x, or differ from another in case only
    return folder / (hashlib.sha256(device.encode()).hexdigest() + ".json")
