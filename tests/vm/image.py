# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of the virtual machine: root on an LVM thin volume, `/boot` on a disk of its own, GRUB before both.

Built from Debian's packages with debootstrap, once. Volumes of device-mapper can only be made where the kernel has
it, so the machine itself makes them: it starts from a plain disk, copies that to the thin volume and switches off.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from tests.lab import base, host

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "grub-mkimage": "grub-common",
    "debootstrap": "debootstrap",
}
#: What makes a Linux kernel of GRUB: no program, so it is looked for by its path.
LOADER = Path("/usr/lib/grub/i386-pc/lnxboot.img")
#: Software emulation, without a screen or devices that nobody asked for.
QEMU = (
    "qemu-system-x86_64",
    "-accel",
    "tcg,thread=multi",
    "-cpu",
    "max",
    "-m",
    "512",
    "-display",
    "none",
    "-nodefaults",
)
PACKAGES = (
    "initramfs-tools",
    "iproute2",
    "linux-image-cloud-amd64",
    "lvm2",
    "openssh-server",
    "openssl",
    "python3",
    "systemd-sysv",
    "thin-provisioning-tools",
    "udev",
    "zstd",
)
MODULES = "virtio_pci\nvirtio_blk\nvirtio_net\next4\ndm_mod\ndm_thin_pool\n"
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "systemd-networkd-wait-online.service",
    "systemd-timesyncd.service",
    "lvm2-monitor.service",
)
NETWORK = "[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\n"
FSTAB = "/dev/mapper/edge-root / ext4 defaults 0 1\n/dev/vda /boot ext4 defaults 0 2\n"
#: `entry.cfg` belongs to a package and says which kernel starts; `grub.cfg` only reads it.
GRUB = "serial --unit=0\nterminal_output serial\nset timeout=0\nsource /grub/entry.cfg\n"
#: Emulated on processors that are busy, a boot takes minutes: nothing in the machine may give up before we do.
PATIENT = "no_timer_check mitigations=off systemd.default_timeout_start_sec=900 systemd.default_device_timeout_sec=900"
OPTIONS = f"root=/dev/mapper/edge-root ro console=ttyS0 net.ifnames=0 quiet panic=5 {PATIENT}"
ENTRY = f"""\
menuentry "edge {{version}}" {{{{
 linux /{{kernel}} {OPTIONS} edge.version={{version}}
 initrd /{{initrd}}
}}}}
"""
# Copied past the page cache: 512 MB of memory, one emulated processor and a thin pool that allocates while hundreds of
# megabytes are written back have hung there for good (`task kworker blocked for more than 120 seconds`).
INSTALL = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run
modprobe dm_thin_pool
export LVM_SUPPRESS_FD_WARNINGS=1
C="activation/udev_sync=0 activation/udev_rules=0 backup/backup=0 backup/archive=0"
pvcreate --config "$C" -q /dev/vdb && vgcreate --config "$C" -q edge /dev/vdb &&
lvcreate --config "$C" -q --type thin-pool -Zn -L 1800M -n pool edge &&
lvcreate --config "$C" -q -V 1500M -T edge/pool -n root &&
dd if=/dev/vdc of=/dev/edge/root bs=1M iflag=direct oflag=direct conv=sparse &&
e2fsck -fp /dev/edge/root && sync && echo INSTALLED
vgchange --config "$C" -an edge
echo o >/proc/sysrq-trigger
sleep 60
"""
REVISION = 1  # raise it when the functions below make something else of the same
DISK, ROOT, BOOT = 2 << 30, "1500M", "128M"
#: Seconds for the machine to install itself (30 to 60 on a quiet machine), and how often it may be tried: a guest that
#: hangs is given up and switched on again from an empty disk, a build that fails says why each time.
INSTALL_TIMEOUT, INSTALL_TRIES = 300, 3
CONSOLE_END = 2000  # characters of the console that a failure shows


def ensure() -> Path:
    """The folder with `boot.ext4`, `root.img`, `grub.lkrn`, `kernel` and `id_ed25519`; built once."""
    host.need(PROGRAMS)
    if not LOADER.exists():
        host.install(["grub-pc-bin"])
    parts = (REVISION, PACKAGES, MODULES, MASKED, NETWORK, FSTAB, GRUB, ENTRY, INSTALL, DISK, ROOT, BOOT)
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
    done = base.cache() / f"vm-{key}"
    if not done.is_dir():
        with base.locked():
            if not done.is_dir():
                _build(done)
    return done


def _build(done: Path) -> None:
    work = done.with_name(done.name + ".tmp")
    host.run(["rm", "-rf", "--one-file-system", str(work)])
    work.mkdir(parents=True)
    root, log = work / "tree", work / "log"
    base.debootstrap(root, "bookworm", PACKAGES, log)
    _configure(work, root, log)
    boot = work / "boot"
    (root / "boot").rename(boot)
    (root / "boot").mkdir()
    kernel = next(boot.glob("vmlinuz-*")).name
    initrd = next(boot.glob("initrd.img-*")).name
    (work / "kernel").write_text(f"{kernel} {initrd}\n")
    (boot / "grub").mkdir(exist_ok=True)
    (boot / "grub/grub.cfg").write_text(GRUB)
    (boot / "grub/entry.cfg").write_text(ENTRY.format(version=0, kernel=kernel, initrd=initrd))
    for size, name, source in ((BOOT, "boot.ext4", boot), (ROOT, "seed.ext4", root)):
        with (work / name).open("wb") as stream:
            stream.truncate(int(size[:-1]) << 20)
        host.run(["mkfs.ext4", "-q", "-F", "-d", str(source), str(work / name)])
    _grub(work)
    _install(work, boot / kernel, boot / initrd)
    for path in (root, boot, work / "seed.ext4"):
        host.run(["rm", "-rf", "--one-file-system", str(path)])
    work.rename(done)


def _configure(work: Path, root: Path, log: Path) -> None:
    (root / "etc/initramfs-tools/modules").write_text(MODULES)
    (root / "etc/initramfs-tools/conf.d/edge").write_text("MODULES=list\nCOMPRESS=zstd\nCOMPRESSLEVEL=3\n")
    (root / "etc/fstab").write_text(FSTAB)
    host.run(["chroot", str(root), "update-initramfs", "-u"], log=log)
    (root / "etc/hostname").write_text("edge\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost edge\n")
    (root / "etc/apt/sources.list").write_text("")
    (root / "etc/systemd/network/edge.network").write_text(NETWORK)
    (root / "etc/machine-id").write_text(hashlib.md5(b"edge").hexdigest() + "\n")
    host.run(["chroot", str(root), "systemctl", "enable", "systemd-networkd"], log=log)
    for unit in MASKED:
        path = root / "etc/systemd/system" / unit
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/null")
    host.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vm", "-f", str(work / "id_ed25519")])
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    (root / "root/.ssh/authorized_keys").write_text((work / "id_ed25519.pub").read_text())
    for path in (root / "etc/ssh").glob("ssh_host_[re][sc]*"):
        path.unlink()
    shutil.copy(root / "etc/ssh/ssh_host_ed25519_key.pub", work / "host_key.pub")
    (root / "install").write_text(INSTALL)
    (root / "install").chmod(0o755)
    for pattern in ("var/cache/apt/archives/*.deb", "var/lib/apt/lists/*_*", "var/cache/apt/*.bin"):
        for path in root.glob(pattern):
            path.unlink()


def _grub(work: Path) -> None:
    """GRUB as a Linux kernel, which qemu starts: no partition table needed (`lnxboot.img` before the core image)."""
    early = work / "early.cfg"
    early.write_text("set root=hd0\nset prefix=(hd0)/grub\nconfigfile /grub/grub.cfg\n")
    modules = ["biosdisk", "ext2", "normal", "linux", "configfile", "serial", "terminal", "test", "echo"]
    core = work / "core.img"
    arguments = ["-O", "i386-pc", "-p", "(hd0)/grub", "-c", str(early), "-o", str(core)]
    host.run(["grub-mkimage", *arguments, *modules])
    (work / "grub.lkrn").write_bytes(LOADER.read_bytes() + core.read_bytes())


def _install(work: Path, kernel: Path, initrd: Path) -> None:
    """Let the machine copy itself to its thin volume; LabError with the end of each console if it never does."""
    argv = [*QEMU, "-no-reboot", "-serial", f"file:{work}/console", "-kernel", str(kernel)]
    argv += ["-initrd", str(initrd), "-append", "root=/dev/vdc ro init=/install console=ttyS0 quiet panic=-1"]
    for name in ("boot.ext4", "root.img", "seed.ext4"):
        argv += ["-drive", f"file={work}/{name},format=raw,if=virtio,cache=unsafe"]
    problems = []
    for attempt in range(1, INSTALL_TRIES + 1):
        with (work / "root.img").open("wb") as stream:  # empty again: nothing of an attempt that hung is used
            stream.truncate(DISK)
        try:
            code = subprocess.run(argv, check=False, timeout=INSTALL_TIMEOUT, stdin=subprocess.DEVNULL).returncode
            end = f"qemu ended with code {code}"
        except subprocess.TimeoutExpired:
            end = f"it was still at work after {INSTALL_TIMEOUT} s"
        console = (work / "console").read_text(errors="replace")
        if "INSTALLED" in console:
            return
        problems.append(f"attempt {attempt}: {end}; its console ends with\n{console[-CONSOLE_END:]}")
        print(problems[-1], flush=True)
    raise host.LabError("the virtual machine did not install itself; " + "\n".join(problems))
