# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command: ``python -m tests.lab up 6``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from . import network
from .errors import LabError
from .fleet import DISK_SIZE, KINDS, Fleet


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m tests.lab", description="Real devices on this machine (needs root).")
    name = os.environ.get("FLEET_OTA_LAB_NAME", "lab")
    top.add_argument("--name", default=name, help=f"the fleet's name (default: {name}, or $FLEET_OTA_LAB_NAME)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="bring up N devices and write an inventory")
    up.add_argument("count", type=int, metavar="N")
    up.add_argument("--fs", choices=KINDS, default="overlay", help="root file system (default: overlay)")
    up.add_argument("--disk", type=int, default=DISK_SIZE // 1024**2, metavar="MIB", help="size of an image")
    commands.add_parser("down", help="remove the fleet and everything it made")
    commands.add_parser("status", help="one line per device")
    for word, text in (
        ("start", "power on, wait until it is up"),
        ("reboot", "reboot in good order"),
        ("reset", "factory reset"),
        ("unplug", "pull the network cable"),
        ("plug", "put the cable back"),
    ):
        commands.add_parser(word, help=text).add_argument("devices", type=int, nargs="+", metavar="I")
    cut = commands.add_parser("cut", help="power off without warning")
    cut.add_argument("devices", type=int, nargs="+", metavar="I")
    cut.add_argument("--lose-unsynced", action="store_true", help="lose writes that were not synced (ext4)")
    ssh = commands.add_parser("ssh", help="log in, or run a command, over SSH")
    ssh.add_argument("device", type=int, metavar="I")
    ssh.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD")
    inside = commands.add_parser("run", help="run a command inside without SSH (also when unplugged)")
    inside.add_argument("device", type=int, metavar="I")
    inside.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD")
    execute = commands.add_parser("exec", help="run a command in the controller's network namespace")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD")
    serve = commands.add_parser("serve", help="serve a folder to the devices over HTTP until interrupted")
    serve.add_argument("folder", type=Path)
    serve.add_argument("--port", type=int, default=8000)
    return top


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line says; returns the exit code."""
    fleet = Fleet(arguments.name)
    command: str = arguments.command
    argv: list[str] = getattr(arguments, "argv", [])
    if argv[:1] == ["--"]:
        argv = argv[1:]
    if command == "up":
        begin = time.monotonic()
        fleet.up(arguments.count, kind=arguments.fs, size=arguments.disk * 1024**2)
        print(f"{arguments.count} devices up in {time.monotonic() - begin:.1f} s; inventory: {fleet.inventory}")
        print(f"try: ansible -i {fleet.inventory} all -m ansible.builtin.ping")
    elif command == "down":
        fleet.down()
    elif command == "status":
        _print_status(fleet)
    elif command == "cut":
        for number in arguments.devices:
            fleet[number].cut(lose_unsynced=arguments.lose_unsynced)
    elif command in ("start", "reboot", "reset", "unplug", "plug"):
        fleet.each(lambda device: getattr(device, command)(), [fleet[number] for number in arguments.devices])
    elif command == "ssh":
        return subprocess.run(fleet[arguments.device].ssh(*argv), check=False).returncode
    elif command == "run":
        done = fleet[arguments.device].run(argv, check=False)
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        return done.returncode
    elif command == "exec":
        if not network.exists(fleet.namespace):
            raise LabError(f"fleet {fleet.name} is not up")
        return subprocess.run(fleet.enter(argv), check=False).returncode
    elif command == "serve":
        _serve(fleet, arguments.folder, arguments.port)
    return 0


def _print_status(fleet: Fleet) -> None:
    if not fleet.devices:
        print(f"fleet {fleet.name} is not up")
    for device in fleet.devices:
        now = device.status()
        power = f"on   pid {now.pid}, boot {now.boots}" if now.power else "off"
        print(f"{now.name:8} {now.address:15} {'plugged' if now.cable else 'unplugged':9} {power}")


def _serve(fleet: Fleet, folder: Path, port: int) -> None:
    with fleet.serve(folder, port) as url:
        print(f"{folder} is at {url} for the devices; interrupt to end", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    try:
        return run(parser().parse_args(argv))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
