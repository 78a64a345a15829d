# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The throw-away copy of a device's root, as :mod:`overlay` has it made inside namespaces of its own."""

from __future__ import annotations

import os
import resource
import stat
import typing as t

from . import command, mounts
from .command import Result
from .mounts import Mount, within

#: File systems that hold no files of the system: the copy gets its own, or none.
_VIRTUAL = frozenset(
    """proc sysfs devtmpfs devpts tmpfs ramfs cgroup cgroup2 mqueue hugetlbfs debugfs tracefs securityfs pstore bpf
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
)
_IDLE_TEXT = "#!/bin/sh\nexit 0\n"
#: Enabling and masking are links, which the real systemctl makes without a running systemd; running units are not.
_SYSTEMCTL_TEXT = """#!/bin/sh
verb=
for word in "$@"; do case $word in -*) ;; *) verb=$word; break ;; esac; done
case $verb in
enable|disable|reenable|preset|preset-all|mask|unmask|link|revert|is-enabled|get-default|set-default|add-wants|add-requires)
    SYSTEMD_OFFLINE=1 exec {real} "$@" ;;
is-active|is-failed|status) exit 3 ;;
esac
exit 0
"""
POLICY = "/usr/sbin/policy-rc.d"
POLICY_TEXT = "#!/bin/sh\nexit 101\n"


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


def layers(stage: str, table: t.Sequence[Mount]) -> dict[str, str]:
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
            _try_mount("none", target, None, "bind", source=entry.point)
            continue
        upper, work = (os.path.join(stage, "%s%d" % (kind, number)) for kind in "uw")
        os.mkdir(upper)
        os.mkdir(work)
        options = "lowerdir=%s,upperdir=%s,workdir=%s" % (_escaped(entry.point), _escaped(upper), _escaped(work))
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
    return uppers


def furnish(root: str, stage: str) -> None:
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
    tools = root + "/run/fleet-ota-rehearsal"
    os.mkdir(tools)
    for path in ("/usr/bin/systemctl", "/bin/systemctl"):
        if os.path.isfile(root + path) and not os.path.islink(root + path):
            real = "/run/fleet-ota-rehearsal/systemctl"
            _hold(root + real, "")
            if _try_mount("none", root + real, None, "bind", source=path) is None:
                _stand_in(root, stage, path, _SYSTEMCTL_TEXT.replace("{real}", real))
            break
    for path in _IDLE:  # not a link: what it leads to may be more than this program
        if os.path.isfile(root + path) and not os.path.islink(root + path):
            _stand_in(root, stage, path, _IDLE_TEXT)
    if not os.path.lexists(root + POLICY):
        os.makedirs(os.path.dirname(root + POLICY), exist_ok=True)
        _hold(root + POLICY, POLICY_TEXT)
    else:
        _stand_in(root, stage, POLICY, POLICY_TEXT)


def _stand_in(root: str, stage: str, path: str, text: str) -> None:
    """Bind a script over the program ``path``, so that it is no change of the copy."""
    script = os.path.join(stage, "stand-in%s" % path.replace("/", "-"))
    _hold(script, text)
    _try_mount("none", root + path, None, "bind", source=script)


def _hold(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as handle:
        handle.write(text)
        os.fchmod(handle.fileno(), 0o755)


def run(root: str, step: Step, room: int) -> Result:
    def enter() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        os.chroot(root)
        os.chdir("/")

    return command.run(step.argv, timeout=step.timeout, environment=step.environment, enter=enter)


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
