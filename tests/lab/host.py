# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab needs of the machine it runs on, and the few ways it calls programs there."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import LabError

# program -> Debian package that brings it
PROGRAMS: Mapping[str, str] = {
    "apt-ftparchive": "apt-utils",
    "debootstrap": "debootstrap",
    "dpkg-deb": "dpkg",
    "ip": "iproute2",
    "losetup": "mount",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.ext4": "e2fsprogs",
    "nsenter": "util-linux",
    "rpmbuild": "rpm",
    "ssh": "openssh-client",
    "systemd-nspawn": "systemd-container",
}

# Each systemd takes a few inotify instances; with the kernel's default of 128 the seventeenth hangs while booting.
INOTIFY_INSTANCES = 16384

APT_LOCK = Path("/run/fleet-ota-apt.lock")
APT_PATIENCE = 600  # seconds


def run(argv: Sequence[str], *, stdin: str | None = None, log: Path | None = None) -> str:
    """Run a program and return its standard output.

    :param argv: program and arguments
    :param stdin: text for its standard input
    :param log: file that gets standard output and standard error instead; the result is then empty
    :raises LabError: when it ends with another code than 0
    """
    if log is not None:
        with log.open("ab") as stream:
            done = subprocess.run(argv, input=stdin, stdout=stream, stderr=stream, text=True, check=False)
        hint = f"see {log}"
    else:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
        hint = (done.stderr or done.stdout).strip()
    if done.returncode:
        raise LabError(f"{' '.join(map(str, argv))} ended with {done.returncode}: {hint}")
    return done.stdout or ""


def why_not() -> str | None:
    """Say why no lab can run on this machine, or None when one can (missing programs are installed by `prepare`)."""
    if os.geteuid() != 0:
        return "the lab needs root: namespaces, mounts and devices of its own"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing and shutil.which("apt-get") is None:
        return f"the lab needs {', '.join(missing)} and knows no way but apt-get to install them"
    if cgroup_mount() is None:
        return "the lab needs a cgroup2 file system to end a device's processes all at once; none is mounted"
    return None


def prepare() -> None:
    """Install missing programs and raise the kernel's limit that a crowd of systemds meets.

    :raises LabError: when this is not possible here
    """
    reason = why_not()
    if reason:
        raise LabError(reason)
    need(PROGRAMS)
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    if int(limit.read_text()) < INOTIFY_INSTANCES:
        limit.write_text(str(INOTIFY_INSTANCES))


def need(programs: Mapping[str, str]) -> None:
    """Install what is missing of `programs`: name or path -> Debian package.

    :raises LabError: when that fails
    """
    packages = sorted({package for program, package in programs.items() if shutil.which(program) is None})
    if packages:
        install(packages)


def install(packages: list[str]) -> None:
    """Install Debian packages with apt-get.

    :raises LabError: when that fails
    """
    apt(["install", "--no-install-recommends", *packages])


def apt(arguments: Sequence[str]) -> None:
    """Call apt-get on this machine, after a failure once more with new lists of packages.

    One of all test runs at a time: of two that install something, apt refuses the second.

    :param arguments: its command and options; it asks nobody, and waits for a stranger who installs packages here
    :raises LabError: when that fails
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={APT_PATIENCE}", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    with APT_LOCK.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        if call(*arguments).returncode:
            call("update")
            done = call(*arguments)
            if done.returncode:
                raise LabError(f"apt-get {' '.join(arguments)}: {done.stderr.strip()}; do it by hand")


def memory(folder: Path) -> int:
    """Bytes that can still be kept in a folder in memory (tmpfs); 0 where there is none."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    if [str(folder), "tmpfs"] not in [line.split()[1:3] for line in lines]:
        return 0
    (available,) = (line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:"))
    disk = os.statvfs(folder)
    return min(disk.f_bavail * disk.f_frsize, int(available.split()[1]) * 1024)


def cgroup_mount() -> Path | None:
    """Where this machine's cgroup2 hierarchy is mounted (also beside version 1 hierarchies), or None."""
    found = None
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _source, mountpoint, kind = line.split()[:3]
        if kind == "cgroup2":
            found = Path(mountpoint)  # the last one lies on top of the others
    return found


def mirror(suite: str) -> str:
    """The package mirror this machine itself uses.

    :param suite: Debian release to be found there
    :raises LabError: when apt knows no mirror
    """
    wanted = ["Created-By: Packages", "Origin: Debian", "Component: main"]
    for filters in ([*wanted, f"Codename: {suite}"], wanted, wanted[:1]):
        found = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", *filters]).split()
        if found:
            return found[0]
    raise LabError("apt knows no package mirror on this machine; run apt-get update, or look at /etc/apt/sources.list*")
