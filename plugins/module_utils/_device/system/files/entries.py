# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What is known of a path, and of many: a manifest.

An entry is a small mapping, so that a manifest is one line of JSON per path:

``t`` type: ``f`` file, ``d`` directory, ``l`` link, ``p`` fifo, ``c``/``b`` device, ``s`` socket, ``-`` absent;
``m`` mode bits; ``u``/``g`` owner and group ids; ``mt`` modification time (ns); ``s`` size; ``h`` SHA-256;
``x`` extended attributes (base64; ACLs and capabilities are among them); ``l`` link target; ``r`` device number;
``fl`` flags of chattr that lock it; ``a`` bytes on disk where that is less than the size (sparse);
``hl`` the first path of a group of hard links; ``o`` where the content lies in a pack; ``up`` 1 for a directory that is
only on the way to a selected path: that it is a directory is all that matters. Paths that are not UTF-8 pass through
as surrogate escapes.
"""

from __future__ import annotations

import stat
import typing as t

from ...base.typed import TypedDict


class Entry(TypedDict, total=False):
    """One path; the module's docstring has the keys."""

    t: str
    m: int
    u: int
    g: int
    mt: int
    s: int
    h: str
    x: dict[str, str]
    l: str  # noqa: E741
    r: int
    fl: int
    a: int
    hl: str
    o: int
    up: int


TYPES = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFIFO: "p",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFSOCK: "s",
}

#: A path with its entry.
Pair = t.Tuple[str, Entry]
#: What was somewhere, by path.
Manifest = t.Mapping[str, Entry]
ABSENT: Entry = {"t": "-"}


def same(one: Entry, other: Entry) -> bool:
    """Whether two entries are the same in type, content, owner, mode and attributes.

    A directory's modification time is left out: naming a temporary file in it changes that, and nothing depends on it.
    A socket comes and goes with its process: there or not is the same. Of a directory that is only on the way to
    something selected its being one is all that counts, and that it is locked where ``one`` is.
    """
    if {one["t"], other["t"]} == {"s", "-"}:
        return True
    if one["t"] != other["t"]:
        return False
    if "up" in one or "up" in other:
        return not one.get("fl", 0) & ~other.get("fl", 0)
    keys = ["m", "u", "g", "h", "l", "r", "x", "fl"]
    if one["t"] == "f":
        keys.append("mt")
    if one["t"] == "l":
        keys.remove("m")
    return all(one.get(key) == other.get(key) for key in keys)


def order(path: str) -> str:
    """What paths are sorted by: a directory, all that is in it, then its neighbours; as a walk comes by them."""
    return path.replace("/", "\0")


def joined(*listings: t.Iterable[Pair]) -> t.Iterator[tuple[str, list[Entry | None]]]:
    """Every path of ``listings``, which are in :func:`order`, with what each of them has there; read side by side.

    However long they are, one entry of each is in memory.
    """
    sources = [iter(listing) for listing in listings]
    heads = [next(source, None) for source in sources]
    while True:
        paths = [head[0] for head in heads if head is not None]
        if not paths:
            return
        path = min(paths, key=order)
        row: list[Entry | None] = []
        for number, head in enumerate(heads):
            is_there = head is not None and head[0] == path
            row.append(head[1] if head is not None and is_there else None)
            if is_there:
                heads[number] = next(sources[number], None)
        yield path, row


def differ(before: Entry | None, now: Entry | None) -> bool:
    """Whether a path is not what it was; None is for one that was not looked at.

    A directory that is only on the way to others, and was not looked at before, does not count.
    """
    if before is None and now is not None and "up" in now:
        return False
    return not same(before or ABSENT, now or ABSENT)
