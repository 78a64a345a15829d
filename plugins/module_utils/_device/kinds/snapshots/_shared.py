# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Files of which only some records belong to a change: a package database, a list of diversions.

Putting such a file back whole would take away what others entered since: a package that unattended-upgrades brought
while the release was not confirmed yet, or in the weeks before a rollback. So the file is kept as it was, and going
back exchanges the records that the change made, changed or removed, and no others.
"""

from __future__ import annotations

import os
import typing as t

from ...system import durable
from ...system.files import attributes
from ...system.files.paths import resolve
from ...system.layout import Layout

#: What the records of a package database are known by.
_PACKAGE = ("Package", "Architecture")
#: What a run in its midst says of packages that it does not change: it has to call their triggers yet.
_IN_BETWEEN = ("Status:", "Triggers-Pending:", "Triggers-Awaited:")
#: Records of one file by their keys, in the order of the file.
Records = t.Dict[str, str]
#: What is kept of each file: as it was before the change, as the rehearsal says it will be, and as the change made it.
BEFORE, EXPECTED, AFTER = "before", "expected", "after"


class Form(t.NamedTuple):
    """How a file is made of records.

    ``kind``: ``stanzas`` (RFC 822, between blank lines), known by the values of the fields ``by``; ``lines``, known by
    the words at the places ``by``, the whole line without any; ``groups`` of ``size`` lines, known by their first;
    ``accounts`` (passwd(5)), known by what stands before the first colon. ``pending`` is a directory in which an
    interrupted program left records that go before those in the file (dpkg's ``updates``): they are read as the
    file's, and taken away where the file is written.
    """

    kind: str
    by: tuple[t.Any, ...] = ()
    size: int = 1
    pending: str = ""

    def parse(self, text: str) -> Records:
        """The records of ``text``; of two with one key the last."""
        if self.kind == "stanzas":
            blocks = [block.strip("\n") for block in text.split("\n\n")]
            return {self._name(block): block for block in blocks if block.strip()}
        lines = [line for line in text.split("\n") if line.strip()]
        if self.kind == "groups":
            groups = ["\n".join(lines[start : start + self.size]) for start in range(0, len(lines), self.size)]
            return {group.split("\n", 1)[0]: group for group in groups}
        return {self._key(line): line for line in lines}

    def write(self, records: Records) -> str:
        """The inverse of :meth:`parse`."""
        between = "\n\n" if self.kind == "stanzas" else "\n"
        return "".join(record + between for record in records.values())

    def _name(self, block: str) -> str:
        values: dict[str, str] = {}
        for line in block.split("\n"):
            name, colon, value = line.partition(":")
            if colon and name in self.by:
                values.setdefault(name, value.strip())
        return " ".join(values.get(name, "") for name in self.by)

    def _key(self, line: str) -> str:
        if self.kind == "accounts":
            return line.partition(":")[0]
        words = line.split()
        return " ".join(words[number] for number in self.by if -len(words) <= number < len(words)) or line


class Shared:
    """The shared files of one snapshot: ``forms`` says what each is made of; copies lie in ``folder``.

    ``packages`` are the names of what changes; records of theirs belong to the change also where no copy says so,
    because it was interrupted before it was known what it made.
    """

    def __init__(
        self, layout: Layout, folder: str, forms: t.Mapping[str, Form], packages: t.Collection[str] = ()
    ) -> None:
        self.layout, self.folder, self.forms = layout, folder, dict(forms)
        self._packages = frozenset(packages)

    def size(self) -> int:
        """Bytes that the copies take."""
        sizes = []
        for path in self.forms:
            try:
                sizes.append(os.stat(self.layout.real(path)).st_size)
            except OSError:
                sizes.append(0)
        return 3 * sum(sizes)

    def keep(self, which: str, read: t.Callable[[str], str | None] | None = None) -> None:
        """Keep all files as ``which``, read by ``read`` (from the device's own paths unless given), durably."""
        if self.forms:
            durable.make_directory(os.path.join(self.folder, which))
        for path in self.forms:
            text = (read or self._read)(path)
            if text is not None:
                durable.write(self._copy(which, path), _bytes(text))
                if read is None:
                    info = os.stat(self.layout.real(path))
                    os.chown(self._copy(which, path), info.st_uid, info.st_gid)
                    os.chmod(self._copy(which, path), info.st_mode & 0o7777)
                    os.utime(self._copy(which, path), ns=(info.st_mtime_ns, info.st_mtime_ns))

    def restore(self) -> list[str]:
        """Exchange what the change made by what was before; the files that changed. Can be run again."""
        changed = []
        for path in self.forms:
            now = self._records(self._read(path), path)
            wanted, kept = self._merged(path, now), self._kept(BEFORE, path)
            if wanted == self._records(kept, path) and kept != self._read(path):
                self._write(path, kept)  # nobody else entered anything: to the last byte
            elif wanted != now:
                self._write(path, self.forms[path].write(wanted))
            else:
                continue
            changed.append(path)
        for path in self.forms:
            for unfinished in self._waiting(path, is_whole=False):
                durable.remove(unfinished)
        return changed

    def expected(self) -> dict[str, str]:
        """What :meth:`restore` would make of the files: for a snapshot that leads back from that."""
        merged = {path: self._merged(path, self._records(self._read(path), path)) for path in self.forms}
        return {path: self.forms[path].write(records) for path, records in merged.items()}

    def remaining(self) -> list[str]:
        """The proof: files in which a record of the change is not as it was before."""
        differing = []
        for path in self.forms:
            now = self._records(self._read(path), path)
            if self._merged(path, now) != now:
                differing.append(path)
        return differing

    def conflicts(self) -> list[str]:
        """Records of the change that somebody else has changed since, as ``PATH: KEY``."""
        conflicts = []
        for path in self.forms:
            after, before = self._kept(AFTER, path), self._kept(BEFORE, path)
            if after is None:
                continue
            then, was, now = (self._records(text, path) for text in (after, before, self._read(path)))
            for key in self._changed(was, then):
                if now.get(key) not in (then.get(key), was.get(key)):
                    conflicts.append("%s: %s" % (path, key))
        return conflicts

    def packages_of_others(self) -> set[str]:
        """The packages whose records others entered or changed since the files were kept."""
        names: set[str] = set()
        for path, form in self.forms.items():
            if form.by == _PACKAGE:
                before, now = (self._records(text, path) for text in (self._kept(BEFORE, path), self._read(path)))
                ours = set(self._keys(path, before, now))
                names.update(key.split(" ")[0] for key in self._changed(before, now) if key not in ours)
        return names

    # -- steps --------------------------------------------------------------------------------------------------------

    def _merged(self, path: str, now: Records) -> Records:
        """``now`` with each record of the change as it was before."""
        before = self._records(self._kept(BEFORE, path), path)
        wanted = dict(now)
        for key in self._keys(path, before, now):
            if key in before:
                wanted[key] = before[key]
            else:
                wanted.pop(key, None)
        return wanted

    def _keys(self, path: str, before: Records, now: Records) -> list[str]:
        """The keys of the records that the change made, changed or removed."""
        after, expected = self._kept(AFTER, path), self._kept(EXPECTED, path)
        keys = self._changed(before, self._records(expected, path)) if expected is not None else []
        if after is not None:
            made = self._changed(before, self._records(after, path))
            # Nobody else enters packages meanwhile, which are locked, but accounts: those were not in the rehearsal.
            is_open = self.forms[path].kind == "accounts" and expected is not None
            return [key for key in made if key in keys] if is_open else made
        if self.forms[path].by == _PACKAGE:
            keys += [key for key in {**before, **now} if key.split(" ")[0] in self._packages]
            keys += [key for key in before if key in now and _is_called_yet(before[key], now[key])]
        return list(dict.fromkeys(keys))

    @staticmethod
    def _changed(before: Records, after: Records) -> list[str]:
        return [key for key in {**before, **after} if before.get(key) != after.get(key)]

    def _records(self, text: str | None, path: str) -> Records:
        return self.forms[path].parse(text or "")

    def _read(self, path: str) -> str | None:
        """The file as the program that owns it would read it."""
        text = _text(self.layout.real(path))
        pending = self._pending(path)
        if not pending:
            return text
        records = self._records(text, path)
        for later in pending:
            records.update(self._records(_text(later), path))
        return self.forms[path].write(records)

    def _pending(self, path: str) -> list[str]:
        """The files of records that were not entered yet, in the order in which they were written."""
        return self._waiting(path, is_whole=True)

    def _waiting(self, path: str, *, is_whole: bool) -> list[str]:
        """Those files that have a number, or those that were not written to their end and have none."""
        folder = self.layout.real(self.forms[path].pending) if self.forms[path].pending else ""
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        return [os.path.join(folder, name) for name in names if name.isdigit() == is_whole]

    def _kept(self, which: str, path: str) -> str | None:
        return _text(self._copy(which, path))

    def _copy(self, which: str, path: str) -> str:
        return os.path.join(self.folder, which, path.strip("/").replace("/", "-"))

    def _write(self, path: str, text: str | None) -> None:
        """Put ``text`` in the file's place, with owner, mode and, where it is what was kept, time of then."""
        real, kept = self.layout.real(path), self._copy(BEFORE, path)
        if self.layout.is_real and os.path.islink(real):
            real = resolve(real)  # the link stays; the file that it leads to is what has records
        if text is None:
            durable.remove(real)
            return
        try:
            info = os.stat(kept)
        except FileNotFoundError:
            info = os.stat(real)
        extended = _extended(real)
        durable.write(real, _bytes(text), info.st_mode & 0o7777)
        for later in self._pending(path):
            durable.remove(later)  # what it said is in the file now
        if (info.st_uid, info.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(real, info.st_uid, info.st_gid)
            os.chmod(real, info.st_mode & 0o7777)
        if extended:
            with open(real, "rb") as handle:
                attributes.set_extended(handle.fileno(), extended)
        if text == self._kept(BEFORE, path):
            os.utime(real, ns=(info.st_mtime_ns, info.st_mtime_ns))


def _is_called_yet(before: str, now: str) -> bool:
    """Whether a package's record is as before but for triggers that an interrupted run had still to call."""

    def rest(record: str) -> list[str]:
        return [line for line in record.split("\n") if not line.startswith(_IN_BETWEEN)]

    return " triggers-" in now and " triggers-" not in before and rest(before) == rest(now)


def _extended(path: str) -> dict[str, str]:
    """The extended attributes of the file, ACLs among them; none of a file that is not there."""
    try:
        with open(path, "rb") as handle:
            return attributes.extended(handle.fileno())
    except FileNotFoundError:
        return {}


def _text(path: str) -> str | None:
    try:
        with open(path, "rb") as handle:
            return handle.read().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
