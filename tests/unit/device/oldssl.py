# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""openssl 1.1.1 as Debian 11 has it, on a machine with a newer one: unpacked beside it, installed nowhere."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "openssl-1.1.1"
SUITE = "bullseye"
_WRAPPER = """#!/bin/sh
export LD_LIBRARY_PATH={libraries} OPENSSL_CONF={tree}/etc/ssl/openssl.cnf
exec {tree}/usr/bin/openssl "$@"
"""


class NotHere(Exception):
    """Why it cannot be had on this machine."""


def folder() -> Path:
    """A folder with the command ``openssl``, version 1.1.1; fetched once, by this machine's own apt.

    Raises NotHere with the reason.
    """
    done = CACHE / "bin"
    if os.geteuid() != 0 or shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotHere("openssl 1.1.1 is unpacked from Debian's packages, by root on Debian")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.is_dir():
            tree = CACHE / "tree"
            for package in _packages():
                _run(["dpkg-deb", "--extract", str(package), str(tree)])
            unfinished = CACHE / "bin.new"
            unfinished.mkdir(exist_ok=True)
            libraries = next(tree.glob("usr/lib/*/libcrypto.so.1.1")).parent
            command = unfinished / "openssl"
            command.write_text(_WRAPPER.format(tree=tree, libraries=libraries))
            command.chmod(0o755)
            unfinished.rename(done)
    if not _run([str(done / "openssl"), "version"]).startswith("OpenSSL 1.1.1"):
        raise NotHere("the unpacked openssl is not 1.1.1")
    return done


def _packages() -> list[Path]:
    """The packages, fetched with lists and settings of their own: nothing of the machine's apt changes."""
    state, place = CACHE / "apt", CACHE / "packages"
    for path in (state / "lists/partial", state / "archives/partial", place):
        path.mkdir(parents=True, exist_ok=True)
    sources = state / "sources.list"
    sources.write_text("deb %s %s main\n" % (_mirror(), SUITE))
    (state / "status").touch()
    settings = {
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Acquire::Check-Valid-Until": "false",  # the release is finished: its lists are as old as they look
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq"]
    for name, value in settings.items():
        apt += ["-o", "%s=%s" % (name, value)]
    _run([*apt, "update"])
    _run([*apt, "download", "openssl", "libssl1.1"], place)
    return sorted(place.glob("*.deb"))


def _mirror() -> str:
    """The package mirror that this machine uses."""
    wanted = ["Created-By: Packages", "Origin: Debian", "Component: main"]
    found = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted]).split()
    if not found:
        raise NotHere("apt knows no Debian mirror here")
    return found[0]


def _run(command: list[str], place: Path | None = None) -> str:
    result = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise NotHere("%s failed: %s" % (" ".join(command[:2]), result.stderr.strip()[-300:]))
    return result.stdout
