# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Root's hands in folders that others own: each step by descriptor, through no link, over no mount.

A folder below a protected path may belong to a user of the device, who can exchange a directory in it for a link to
``/etc/profile.d`` between two calls of root's, or mount something there. So the kernel never gets a path of more than
one component from here: every directory is opened from the one above it (``O_NOFOLLOW``), stays the one that it was
while its descriptor is open, and is known by its mount's id, which a bind mount of the same file system changes and a
device number does not.

:class:`Files` is the one way in which the engine reads, writes and deletes below paths that it does not own;
``tests/unit/device/test_architecture.py`` holds that nothing else walks or removes trees.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import stat
import typing as t

from .. import durable, mounts
from ..mounts import within
from . import attributes, paths
from .entries import TYPES

#: Directories that are kept open; a tree of any size needs no more descriptors.
_OPEN_AT_MOST = 96
_TRAVERSE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Crossing(OSError):
    """What would have been entered is mounted there, or was exchanged for something else."""


class Folder(t.NamedTuple):
    """An open directory: its descriptor (``O_PATH``), and the id of the mount that it lies on."""

    fd: int
    mount: str


class Files:
    """What lies below the directory ``root``, by absolute paths as the device sees them.

    Below each of ``trees`` no other mount is entered; above them, and on the way to other paths, mounts are ordinary
    (``/usr`` may be a file system of its own). All methods raise OSError; where a directory on the way is none (any
    more), as ``open(2)`` says it: NotADirectoryError or FileNotFoundError.
    """

    def __init__(self, root: str = "/", trees: t.Iterable[str] = (), *, unmounts: bool = False) -> None:
        """``unmounts``: what is mounted below ``trees`` is taken off, not told."""
        self.root, self._unmounts = root, unmounts
        self._trees = tuple(sorted(os.path.normpath(tree) for tree in trees))
        self._folders: t.OrderedDict[str, Folder] = collections.OrderedDict()

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every directory."""
        self.forget("/")

    # -- ways in --------------------------------------------------------------------------------------------------

    def folder(self, path: str) -> Folder:
        """The open directory ``path``; valid until the next call of any method."""
        path = os.path.normpath(path)
        missing = []
        while path not in self._folders and path != "/":  # in a loop: whoever owns a tree says how deep it is
            missing.append(path)
            path = os.path.dirname(path)
        if path in self._folders:
            self._folders.move_to_end(path)
        else:
            fd = os.open(self.root, _TRAVERSE & ~os.O_NOFOLLOW)
            self._keep(path, Folder(fd, mounts.identity(fd)))
        parent = self._folders[path]
        for below in reversed(missing):
            parent = self._step(parent, below)
        return parent

    def _step(self, parent: Folder, path: str) -> Folder:
        name = os.path.basename(path)
        fd = _opened(os.open, name, _TRAVERSE, parent.fd, path)
        mount = mounts.identity(fd)
        if mount != parent.mount and self._is_inside_tree(path):
            is_off = self._unmounts and mounts.detach(attributes.place(fd))
            os.close(fd)
            if is_off:
                return self._step(parent, path)  # another one may have been mounted below it
            raise Crossing(errno.EBUSY, "something is mounted there; unmount it", path)
        return self._keep(path, Folder(fd, mount))

    def open(self, path: str) -> t.IO[bytes]:
        """The regular file ``path`` for reading."""
        fd, info = self.handle(path)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            raise Crossing(errno.EINVAL, "is no file any more", path)
        return os.fdopen(fd, "rb")

    def handle(self, path: str) -> tuple[int, os.stat_result]:
        """A descriptor of ``path`` itself and what fstat says of it.

        A file or directory is opened for reading, anything else (a link, a socket) only as a place (``O_PATH``). The
        caller closes it.
        """
        if os.path.normpath(path) == "/":
            fd = os.open(".", _READ | os.O_DIRECTORY, dir_fd=self.folder("/").fd)
            return fd, os.fstat(fd)
        parent, name = self.parent(path)
        found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent.fd)
        try:
            self._require_same_mount(path, found, parent)  # first: a mount of a user's own (FUSE) answers nothing else
            info = os.fstat(found)
            if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
                return os.dup(found), info
            return attributes.opened(found), info
        finally:
            os.close(found)

    # -- looking --------------------------------------------------------------------------------------------------

    def lstat(self, path: str) -> os.stat_result:
        """lstat(2) of ``path``."""
        if os.path.normpath(path) == "/":
            return os.fstat(self.folder("/").fd)
        parent, name = self.parent(path)
        return os.stat(name, dir_fd=parent.fd, follow_symlinks=False)

    def exists(self, path: str) -> bool:
        """Whether anything has the name ``path``."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return bool(self.lstat(path))
        return False

    def is_directory(self, path: str) -> bool:
        """Whether ``path`` is a directory, and not a link to one."""
        try:
            return stat.S_ISDIR(self.lstat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def names(self, path: str) -> list[str]:
        """The names in the directory ``path``, sorted."""
        fd = os.open(".", _READ | os.O_DIRECTORY, dir_fd=self.folder(path).fd)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def readlink(self, path: str) -> str:
        """Where the link ``path`` leads."""
        parent, name = self.parent(path)
        return os.readlink(name, dir_fd=parent.fd)

    def closed(self, path: str) -> bool:
        """Whether nobody but root can put something else at ``path``."""
        above = os.path.dirname(os.path.normpath(path))
        for end in (*(at for at, letter in enumerate(above) if letter == "/" and at), len(above)):
            try:
                info = os.fstat(self.folder(above[:end]).fd)
            except OSError:
                return True  # nobody else can exchange what is above it
            if not paths.is_closed(info, sticky=True):
                return False
        return True

    # -- changing -------------------------------------------------------------------------------------------------

    def mkdir(self, path: str, mode: int = 0o700) -> None:
        """Make the directory ``path``."""
        parent, name = self.parent(path)
        os.mkdir(name, mode, dir_fd=parent.fd)

    def create(self, path: str) -> int:
        """Make the file ``path``, which must not be there; a descriptor for writing."""
        parent, name = self.parent(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o600, dir_fd=parent.fd)

    def overwrite(self, path: str) -> int:
        """The regular file ``path``, which stays what it is and keeps its blocks, for writing from its begin on."""
        parent, name = self.parent(path)
        fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent.fd)
        try:
            self._require_same_mount(path, fd, parent)
            if not stat.S_ISREG(os.fstat(fd).st_mode) or os.fstat(fd).st_nlink > 1:
                raise Crossing(errno.ESTALE, "was exchanged while it was put back", path)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def symlink(self, target: str, path: str) -> None:
        """Make the link ``path`` to ``target``."""
        parent, name = self.parent(path)
        os.symlink(target, name, dir_fd=parent.fd)

    def mknod(self, path: str, mode: int, device: int = 0) -> None:
        """Make a fifo or device node."""
        parent, name = self.parent(path)
        os.mknod(name, mode, device, dir_fd=parent.fd)

    def link(self, source: str, path: str) -> None:
        """Give the file ``source`` the name ``path`` too."""
        first, old = self.parent(source)
        fd = os.dup(first.fd)  # finding the other one may close this one
        try:
            parent, name = self.parent(path)
            os.link(old, name, src_dir_fd=fd, dst_dir_fd=parent.fd, follow_symlinks=False)
        finally:
            os.close(fd)

    def rename(self, source: str, path: str) -> None:
        """Put ``source`` in the place of ``path``, which lies in the same directory."""
        parent, name = self.parent(path)
        self.forget(path)
        os.rename(os.path.basename(source), name, src_dir_fd=parent.fd, dst_dir_fd=parent.fd)

    def unlink(self, path: str) -> None:
        """Remove the name ``path``, which is no directory."""
        parent, name = self.parent(path)
        os.unlink(name, dir_fd=parent.fd)

    def chmod(self, path: str, mode: int) -> None:
        """Set the mode of the file or directory ``path``."""
        fd, _info = self.handle(path)
        try:
            os.chmod(attributes.place(fd), mode)
        finally:
            os.close(fd)

    def sync(self, path: str) -> None:
        """Everything written to the file system that holds the directory ``path`` is on disk when this returns."""
        fd, _info = self.handle(path)
        try:
            durable.sync_file_system(fd)
        finally:
            os.close(fd)

    def own(self, fd: int, entry: t.Mapping[str, t.Any]) -> None:
        """Owner, mode, attributes and time of ``entry`` (:mod:`tree`) for what ``fd`` is: not for what has its name.

        In this order: a change of owner clears set-id bits and capabilities, and an ACL that the folder gave by itself
        must be gone before the mode lets it take effect.
        """
        info, place = os.fstat(fd), attributes.place(fd)
        if TYPES[stat.S_IFMT(info.st_mode)] != entry["t"]:
            raise Crossing(errno.ESTALE, "was exchanged while it was put back", "%s" % entry["t"])
        if (info.st_uid, info.st_gid) != (entry["u"], entry["g"]):
            os.chown(place, entry["u"], entry["g"])
        attributes.set_extended(fd, entry.get("x", {}))
        if entry["t"] != "l":
            os.chmod(place, entry["m"])
        os.utime(place, ns=(entry["mt"], entry["mt"]))

    def unlock(self, path: str) -> None:
        """Take the flags of chattr away that keep ``path`` from being changed, if it is there and has any."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, Crossing):
            fd, info = self.handle(path)
            try:
                if attributes.flags(fd, info.st_mode):
                    attributes.set_flags(fd, 0)
            finally:
                os.close(fd)

    def set_flags(self, path: str, wanted: int) -> None:
        """Set exactly the ``wanted`` flags of :data:`attributes.LOCKING`."""
        fd, _info = self.handle(path)
        try:
            attributes.set_flags(fd, wanted)
        finally:
            os.close(fd)

    def rmdir(self, path: str) -> None:
        """Remove the directory ``path``, which must be empty."""
        self.forget(path)
        parent, name = self.parent(path)
        os.rmdir(name, dir_fd=parent.fd)

    def inside(self, path: str, *, unmounts: bool = False) -> Files:
        """Another one for the same device that enters no mount at or below ``path`` either."""
        return Files(self.root, [*self._trees, os.path.dirname(os.path.normpath(path))], unmounts=unmounts)

    def walk(self, path: str, *, inner_first: bool = False) -> t.Iterator[tuple[str, list[str]]]:
        """Every directory at and below ``path`` with its names, from above, or each after those in it (so that it can
        be emptied and removed); what vanishes meanwhile is left out."""
        pending: list[tuple[str, list[str] | None]] = [(os.path.normpath(path), None)]
        while pending:
            folder, names = pending.pop()
            if names is not None:
                yield folder, names
                continue
            try:
                names = self.names(folder)
            except FileNotFoundError:
                continue
            if inner_first:
                pending.append((folder, names))
            else:
                yield folder, names
            inside = (os.path.join(folder, name) for name in reversed(names))
            pending.extend((below, None) for below in inside if self.is_directory(below))

    # -- steps ----------------------------------------------------------------------------------------------------

    def parent(self, path: str) -> tuple[Folder, str]:
        """The open directory that holds ``path``, and its name there."""
        above, name = os.path.split(os.path.normpath(path))
        return self.folder(above), name

    def _require_same_mount(self, path: str, fd: int, parent: Folder) -> None:
        if self._is_inside_tree(path) and mounts.identity(fd) != parent.mount:
            raise Crossing(errno.EBUSY, "something is mounted there; unmount it", path)

    def _is_inside_tree(self, path: str) -> bool:
        return any(path != tree and within(path, tree) for tree in self._trees)

    def _keep(self, path: str, folder: Folder) -> Folder:
        self._folders[path] = folder
        while len(self._folders) > _OPEN_AT_MOST:
            os.close(self._folders.popitem(last=False)[1].fd)
        return folder

    def forget(self, path: str) -> None:
        """Close what is open at and below ``path``: it goes, or becomes something else."""
        path = os.path.normpath(path)
        for opened in [opened for opened in self._folders if within(opened, path)]:
            os.close(self._folders.pop(opened).fd)


def _opened(call: t.Callable[..., int], name: str, flags: int, parent: int, path: str) -> int:
    """``openat``, with the whole path in its error, and a link told as what it is: no directory."""
    try:
        return call(name, flags, dir_fd=parent)
    except OSError as error:
        number = errno.ENOTDIR if error.errno == errno.ELOOP else error.errno
        raise OSError(number, os.strerror(number or 0), path) from None
