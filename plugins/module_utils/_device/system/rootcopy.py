# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The throw-away copy of a device's root, as :mod:`overlay` has it made inside namespaces of its own."""

from __future__ import annotations

import filecmp
import os
import resource
import shutil
import stat
import typing as t

from . import command, mounts
from .command import Result
from .mounts import Mount, within

#: File systems that hold no files of the system: the copy gets its own, or none.
_VIRTUAL = frozenset(
    """proc sysfs devtmpfs devpts cgroup cgroup2 mqueue hugetlbfs debugfs tracefs securityfs pstore bpf
    configfs efivarfs fusectl binfmt_misc autofs rpc_pipefs nsfs selinuxfs""".split()  # noqa: SIM905
)
#: Others may hang whoever looks at them; the copy has an empty directory there.
_REMOTE = frozenset(("nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "afs", "9p", "fuse.sshfs"))
#: Whatever is mounted at or below these is the copy's own affair.
_OWN = ("/proc", "/sys", "/dev", "/run", "/tmp")  # noqa: S108 - paths of the device
_NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
#: Programs that must not reach outside, and what stands in for each: they succeed and do nothing.
_IDLE = (
    "/usr/sbin/start-stop-daemon",
    "/sbin/start-stop-daemon",
    "/usr/sbin/grub-install",
    "/usr/sbin/grub-probe",
    "/usr/sbin/update-grub",
    "/usr/sbin/grub-mkconfig",
    "/usr/bin/efibootmgr",
    "/bin/efibootmgr",
    "/usr/sbin/flash-kernel",
    "/usr/bin/udevadm",
    "/bin/udevadm",
    "/usr/sbin/sysctl",
    "/sbin/sysctl",
    "/usr/sbin/modprobe",
    "/sbin/modprobe",
    "/usr/sbin/insmod",
    "/sbin/insmod",
    "/usr/sbin/rmmod",
    "/sbin/rmmod",
)
_MARK = "# stands in for a program while packages are rehearsed (fleet.ota)\n"
_IDLE_TEXT = "#!/bin/sh\n" + _MARK + "exit 0\n"
#: Enabling and masking are links, which the real systemctl makes without a running systemd; running units are not.
_SYSTEMCTL_TEXT = (
    "#!/bin/sh\n"
    + _MARK
    + """verb=
for word in "$@"; do case $word in -*) ;; *) verb=$word; break ;; esac; done
case $verb in
enable|disable|reenable|preset|preset-all|mask|unmask|link|revert|is-enabled|get-default|set-default|add-wants|add-requires)
    SYSTEMD_OFFLINE=1 exec {real} "$@" ;;
is-active|is-failed|status) exit 3 ;;
esac
exit 0
"""
)
POLICY = "/usr/sbin/policy-rc.d"
POLICY_TEXT = "#!/bin/sh\n" + _MARK + "exit 101\n"


class Unavailable(Exception):
    """This device cannot have such a copy, with the reason for people."""


class Step(t.NamedTuple):
    """A program to run, with its environment and its time in seconds."""

    argv: t.Sequence[str]
    environment: t.Mapping[str, str]
    timeout: float


def system_mounts() -> list[Mount]:
    """What is mounted and belongs to the copy, the root first; of several at one point the last, which is seen."""
    seen: dict[str, Mount] = {}
    for entry in mounts.table():
        seen[entry.point] = entry
    points = sorted(seen, key=lambda point: (point.count("/"), point))
    return [seen[point] for point in points if not any(within(point, own) for own in _OWN)]


class Copies:
    """Files on which others are mounted: no overlay lies over a file, so the copy has a copy of each."""

    def __init__(self, stage: str) -> None:
        self._folder = os.path.join(stage, "files")
        os.mkdir(self._folder)
        self._paths: dict[str, str] = {}
        #: Mount points over which no overlay could be laid (vfat), and which are read-only in the copy alone.
        self.fixed: list[str] = []

    def make(self, path: str, target: str) -> None:
        """Mount a copy of the file ``path`` at ``target``; what is no file stays as it is below the mount."""
        if not os.path.isfile(path):
            return
        copy = os.path.join(self._folder, str(len(self._paths)))
        try:
            shutil.copy2(path, copy)
            info = os.stat(path)
            os.chown(copy, info.st_uid, info.st_gid)
        except OSError as error:
            raise Unavailable("%s cannot be copied (%s)" % (path, error)) from None
        if _try_mount("none", target, None, "bind", source=copy) is None:
            self._paths[path] = copy

    def changed(self) -> list[str]:
        """Those that are not any more what they were."""
        return [path for path, copy in self._paths.items() if not filecmp.cmp(path, copy, shallow=False)]


def layers(stage: str, table: t.Sequence[Mount], copies: Copies) -> dict[str, str]:
    """Mount the overlays; ``{mount point: the folder of its changes}``."""
    root = os.path.join(stage, "root")
    os.mkdir(root)
    uppers: dict[str, str] = {}
    for number, entry in enumerate(table):
        target = os.path.normpath(root + entry.point)
        if entry.point != "/" and not os.path.lexists(target):
            continue  # below what is hidden or left out
        if entry.kind in _VIRTUAL or entry.kind in _REMOTE:
            if entry.point != "/":
                continue
        if not os.path.isdir(entry.point):
            copies.make(entry.point, target)
            continue
        upper, work = (os.path.join(stage, "%s%d" % (kind, number)) for kind in "uw")
        os.mkdir(upper)
        os.mkdir(work)
        options = "lowerdir=%s,upperdir=%s,workdir=%s" % (_escaped(entry.point), _escaped(upper), _escaped(work))
        # Without redirects directories of the device cannot be renamed in the copy; scripts do that.
        problem = _try_mount("overlay", target, "overlay", options + ",redirect_dir=on")
        if problem is not None:
            problem = _try_mount("overlay", target, "overlay", options)
        if problem is None:
            info = os.stat(entry.point)
            os.chown(upper, info.st_uid, info.st_gid)
            os.chmod(upper, stat.S_IMODE(info.st_mode))
            uppers[entry.point] = upper
        elif entry.point == "/":
            raise Unavailable("the kernel lays no overlay over this system (%s)" % problem)
        else:
            _try_mount("none", target, None, "bind", source=entry.point)
            _try_mount("none", target, None, "remount,bind,ro")
            copies.fixed += [entry.point] if "ro" not in entry.options else []
    return uppers


def furnish(root: str) -> None:
    """Everything that is the copy's own: ``/proc``, ``/dev``, ``/run``, and the programs that stand in."""
    for point, kind, options in (
        ("/proc", "proc", ""),
        ("/sys", "sysfs", "ro"),
        ("/dev", "tmpfs", "mode=0755,size=1m"),
        ("/run", "tmpfs", "mode=0755"),
        ("/tmp", "tmpfs", "mode=1777"),  # noqa: S108 - of the copy
    ):
        target = root + point
        if os.path.islink(target):
            continue
        os.makedirs(target, exist_ok=True)
        problem = _try_mount(kind, target, kind, options)
        if problem and point != "/sys":
            raise Unavailable("%s cannot be mounted in the copy (%s)" % (point, problem))
    for name, numbers in _NODES.items():
        os.mknod("%s/dev/%s" % (root, name), 0o666 | stat.S_IFCHR, os.makedev(*numbers))
        os.chmod("%s/dev/%s" % (root, name), 0o666)  # noqa: S103 - as everywhere
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, "%s/dev/%s" % (root, name))
    os.mkdir(root + "/dev/pts")
    if _try_mount("devpts", root + "/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620") is None:
        os.symlink("pts/ptmx", root + "/dev/ptmx")
    for name in ("/dev/shm", "/run/lock", "/run/user", "/run/systemd/system"):  # noqa: S108 - of the copy
        os.makedirs(root + name, exist_ok=True)
    _in_root(root, _stand_ins)


def restrict(root: str, table: t.Sequence[Mount]) -> None:
    """What cannot be written or run on the device cannot in the copy either; nor can the kernel's settings, which the
    copy shares with the device. (A hook of the package manager that mounts it otherwise does so in the copy.)"""
    for entry in table:
        flags = sorted(entry.options & {"ro", "noexec", "nosuid", "nodev"})
        target = os.path.normpath(root + entry.point)
        if flags and os.path.isdir(entry.point) and os.path.ismount(target):
            _try_mount("none", target, None, ",".join(["remount", "bind", *flags]))
    for name in ("/proc/sys", "/proc/sysrq-trigger"):
        if os.path.lexists(root + name):
            _try_mount("none", root + name, None, "bind", source=root + name)
            _try_mount("none", root + name, None, "remount,bind,ro")


def is_stand_in(path: str) -> bool:
    """Whether this file of the upper layer is ours, and no package's."""
    try:
        with open(path, "rb") as handle:
            return handle.read(200).startswith(b"#!/bin/sh\n" + _MARK.encode())
    except OSError:
        return False


def _stand_ins() -> None:
    """Files of the copy, not mounts: a package that brings a newer one of these programs puts it in its place."""
    real = "/run/fleet-ota-rehearsal/systemctl"
    os.mkdir(os.path.dirname(real))
    for path in ("/usr/bin/systemctl", "/bin/systemctl"):
        if os.path.isfile(path) and not os.path.islink(path):
            shutil.copy2(path, real)
            _hold(path, _SYSTEMCTL_TEXT.replace("{real}", real))
            break
    for path in _IDLE:
        if os.path.isfile(path) and not is_stand_in(path):
            _hold(path, _IDLE_TEXT)
    os.makedirs(os.path.dirname(POLICY), exist_ok=True)
    _hold(POLICY, POLICY_TEXT)


def _in_root(root: str, call: t.Callable[[], None]) -> None:
    """Where a link is absolute it leads to the copy's own files, not to the device's."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chroot(root)
            os.chdir("/")
            call()
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        raise Unavailable("programs of the copy cannot be exchanged for those that stand in")


def _hold(path: str, text: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "w", encoding="ascii") as handle:
        handle.write(text)
        os.fchmod(handle.fileno(), 0o755)


def run(root: str, step: Step, room: int) -> Result:
    def enter() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        os.chroot(root)
        os.chdir("/")

    environment = {**command.foreign_locale(), **step.environment}
    most = command.FOREIGN_OUTPUT
    return command.run(step.argv, timeout=step.timeout, environment=environment, enter=enter, most=most)


def _try_mount(device: str, target: str, kind: str | None, options: str, source: str | None = None) -> str | None:
    """mount(8); None, or why not."""
    argv = ["mount"]
    if kind:
        argv += ["-t", kind]
    if options.startswith("bind"):
        argv += ["--bind"]
        options = ""
    if options:
        argv += ["-o", options]
    done = command.run([*argv, source or device, target])
    return None if done.rc == 0 else (done.tail or "mount ended with %d" % done.rc)


def mount(device: str, target: str, kind: str, options: str) -> None:
    problem = _try_mount(device, target, kind, options)
    if problem:
        raise Unavailable("%s cannot be mounted (%s)" % (kind, problem))


def _escaped(path: str) -> str:
    """``path`` as an option of overlay: a colon separates layers, a comma options."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
