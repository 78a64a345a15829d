# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root file system all devices start from: made once with debootstrap and kept in a cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import host
from .errors import LabError

PACKAGES = (
    "btrfs-progs",
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "libpam-systemd",
    "openssh-server",
    "openssl",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
    "xz-utils",
    "zstd",
)

# Jobs of a desktop or server that would only make noise in a test, and a console that nobody looks at.
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "ssh.socket",
)

SSHD = """\
UseDNS no
PermitRootLogin prohibit-password
PasswordAuthentication no
MaxStartups 100:30:200
"""

REVISION = 1  # raise it when `_finish` makes something else of the same packages


def cache() -> Path:
    """The cache's folder: `$FLEET_OTA_LAB_CACHE` or /var/cache/fleet-ota-lab."""
    return Path(os.environ.get("FLEET_OTA_LAB_CACHE", "/var/cache/fleet-ota-lab"))


def packages() -> list[str]:
    """Packages in the base system: ours, and those named in `$FLEET_OTA_LAB_PACKAGES` (blanks or commas between)."""
    extra = os.environ.get("FLEET_OTA_LAB_PACKAGES", "").replace(",", " ").split()
    return sorted({*PACKAGES, *extra})


def suite() -> str:
    """The Debian release devices run: `$FLEET_OTA_LAB_SUITE` or bookworm."""
    return os.environ.get("FLEET_OTA_LAB_SUITE", "bookworm")


def ensure() -> Path:
    """Return the base system's folder, and build it first when the cache has none.

    The folder's name holds a digest of all that goes into it, so a changed list of packages makes a new one.

    :raises LabError: when debootstrap fails; its log lies beside the base system
    """
    key = hashlib.sha256(repr((REVISION, packages(), SSHD, MASKED)).encode()).hexdigest()[:12]
    base = cache() / f"base-{suite()}-{key}"
    if base.is_dir():
        return base
    with locked():
        if not base.is_dir():
            _build(base)
    return base


def image(base: Path, kind: str, size: int) -> Path:
    """Return a disk image with the base system on it, to be copied for each device.

    :param base: what `ensure` returned
    :param kind: ``ext4`` or ``btrfs``; btrfs has the root in subvolume ``@``, which is the default subvolume
    :param size: bytes (the file is sparse)
    :raises LabError: when the file system cannot be made
    """
    done = base.with_name(f"{base.name}-{size}.{kind}")
    if done.exists():
        return done
    with locked():
        if done.exists():
            return done
        unfinished = done.with_name(done.name + ".tmp")
        unfinished.unlink(missing_ok=True)
        with unfinished.open("wb") as stream:
            stream.truncate(size)
        if kind == "ext4":
            host.run(["mkfs.ext4", "-q", "-F", "-L", "root", "-d", str(base), str(unfinished)])
        else:
            host.run(["mkfs.btrfs", "-q", "-L", "root", str(unfinished)])
            mountpoint = done.with_name(done.name + ".mnt")
            mountpoint.mkdir(exist_ok=True)
            private(
                'mount -o loop,compress=zstd:1 "$1" "$2"; btrfs -q subvolume create "$2/@"; cp -a "$3/." "$2/@/";'
                'btrfs subvolume set-default "$2/@"; umount "$2"',
                str(unfinished),
                str(mountpoint),
                str(base),
            )
            mountpoint.rmdir()
        unfinished.rename(done)
    return done


def private(script: str, *arguments: str) -> None:
    """Run shell commands in a mount namespace that ends with them, so that a killed run leaves no mounts.

    :raises LabError: when a command fails
    """
    host.run(["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", *arguments])


def debootstrap(root: Path, suite: str, packages: Sequence[str], log: Path) -> None:
    """Install a Debian with these packages into a folder; once more from the begin if a mirror breaks off.

    :raises LabError: when it fails twice
    """
    options = ["--variant=minbase", f"--include={','.join(packages)}", suite, str(root), host.mirror(suite)]
    for last in (False, True):
        host.run(["rm", "-rf", "--one-file-system", str(root)])
        try:
            host.run(["unshare", "--mount", "--propagation", "private", "debootstrap", *options], log=log)
        except LabError:
            if last:
                raise
        else:
            return


@contextmanager
def locked() -> Iterator[None]:
    """Hold the cache's lock; a second fleet waits here instead of building the same thing again."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _build(base: Path) -> None:
    unfinished = base.with_name(base.name + ".tmp")
    log = cache() / "debootstrap.log"
    log.unlink(missing_ok=True)
    debootstrap(unfinished, suite(), packages(), log)
    _finish(unfinished)
    unfinished.rename(base)


def _finish(root: Path) -> None:
    """Turn what debootstrap made into a device: a user with sudo, no package sources, no keys, no identity."""
    host.run(["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", "edge"])
    sudo = root / "etc/sudoers.d/edge"
    sudo.write_text("edge ALL=(ALL) NOPASSWD:ALL\n")
    sudo.chmod(0o440)
    (root / "etc/ssh/sshd_config.d/lab.conf").write_text(SSHD)
    (root / "etc/apt/sources.list").write_text("")
    (root / "etc/machine-id").write_text("")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for package in (root / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    for lists in (root / "var/lib/apt/lists").iterdir():
        if lists.is_dir():
            shutil.rmtree(lists)
        elif lists.name != "lock":
            lists.unlink()
    for unit in MASKED:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
