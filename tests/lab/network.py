# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet's network: one namespace for the controller's side with a bridge, one for each device, cables between.

No namespace has a route out. Addresses exist only inside, so fleets do not disturb each other.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from . import host
from .errors import LabError

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")
CONTROLLER = "10.213.255.254"
SUBNET_BITS = 16


def address(number: int) -> str:
    """The address of device `number` (1 ...)."""
    return f"10.213.{number // 250}.{number % 250 + 1}"


def hardware_address(number: int) -> str:
    """The hardware address of device `number`, the same each time: neighbours keep what they learnt."""
    high, low = divmod(number, 256)
    return f"02:00:00:00:{high:02x}:{low:02x}"


def inside(namespace: str, function: Callable[[], T]) -> T:
    """Call a function inside a network namespace: sockets it makes stay there, whoever uses them later.

    A thread has its own network namespace, so the calling thread does not move.

    :raises LabError: when the namespace does not exist
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def enter() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            with (NAMESPACES / namespace).open("rb") as handle:
                if libc.setns(handle.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter network namespace {namespace}")
            results.append(function())
        except BaseException as error:  # handed to the caller below
            errors.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if errors:
        if isinstance(errors[0], FileNotFoundError):
            raise LabError(f"network namespace {namespace} does not exist; is the fleet up?") from errors[0]
        raise errors[0]
    return results[0]


def listen(namespace: str, host_address: str, port: int = 0) -> socket.socket:
    """Return a listening TCP socket inside a namespace (port 0: any free one)."""
    return inside(namespace, lambda: socket.create_server((host_address, port), backlog=128))


def wait_for_banner(namespace: str, addresses: Iterable[str], timeout: float) -> None:
    """Wait until an SSH server has greeted at every address.

    :param timeout: seconds
    :raises LabError: naming the addresses that stayed silent
    """
    pending = set(addresses)
    deadline = time.monotonic() + timeout

    async def greeted(target: str) -> None:
        while True:
            try:
                reader, writer = await asyncio.wait_for(asyncio.open_connection(target, 22), 2)
                try:
                    if (await asyncio.wait_for(reader.readexactly(4), 10)) == b"SSH-":
                        pending.discard(target)
                        return
                finally:
                    writer.close()
            except (TimeoutError, OSError, asyncio.IncompleteReadError):
                pass
            await asyncio.sleep(0.05)

    async def everyone() -> None:
        jobs = [greeted(target) for target in pending]
        try:
            await asyncio.wait_for(asyncio.gather(*jobs), max(deadline - time.monotonic(), 0.1))
        except TimeoutError:
            pass

    if pending:
        inside(namespace, lambda: asyncio.run(everyone()))
    if pending:
        raise LabError(f"no SSH server answered within {timeout:.0f} s at {', '.join(sorted(pending))}; see the log")


def exists(namespace: str) -> bool:
    """Whether a named network namespace exists."""
    return (NAMESPACES / namespace).exists()


def make_controller(namespace: str) -> None:
    """Make the controller's namespace with its bridge; does nothing when it is complete."""
    if exists(namespace):
        try:
            host.run(["ip", "-n", namespace, "link", "show", "br0"])
            return
        except LabError:  # left half made by a killed run
            remove(namespace)
    host.run(["ip", "netns", "add", namespace])
    commands = [
        "link set lo up",
        "link add br0 type bridge forward_delay 0 mcast_snooping 0",
        f"addr add {CONTROLLER}/{SUBNET_BITS} dev br0",
        "link set br0 up",
    ]
    host.run(["ip", "-n", namespace, "-b", "-"], stdin="\n".join(commands) + "\n")


def attach(controller: str, namespace: str, number: int, *, plugged: bool) -> None:
    """Make a device's namespace and the cable from it to the bridge, new in every case.

    A namespace made anew knows nothing of earlier connections, as after a power cut: old peers get a reset.

    :param plugged: whether the cable's end at the controller is up
    """
    pull(controller, number)
    remove(namespace)
    host.run(["ip", "netns", "add", namespace])
    cable = f"dev{number}"
    link = ["ip", "link", "add", cable, "netns", controller, "type", "veth"]
    host.run([*link, "peer", "name", "eth0", "address", hardware_address(number), "netns", namespace])
    commands = ["link set lo up", f"addr add {address(number)}/{SUBNET_BITS} dev eth0", "link set eth0 up"]
    host.run(["ip", "-n", namespace, "-b", "-"], stdin="\n".join(commands) + "\n")
    host.run(["ip", "-n", controller, "link", "set", cable, "master", "br0", "up" if plugged else "down"])


def pull(controller: str, number: int) -> None:
    """Take a device's cable away for good, so that nobody at its other end hears of the device's end.

    By name, because the kernel removes a namespace's interfaces only some time after the namespace.
    """
    cable = f"dev{number}"
    if exists(controller) and cable in host.run(["ip", "-n", controller, "-o", "link"]).replace("@", " ").split():
        host.run(["ip", "-n", controller, "link", "del", cable])


def switch(controller: str, number: int, *, plugged: bool) -> None:
    """Let a device's cable carry something, or nothing."""
    host.run(["ip", "-n", controller, "link", "set", f"dev{number}", "up" if plugged else "down"])
    if plugged:
        # Who looked for it meanwhile asked "who has ..." three times, and whoever comes before that is given up is
        # told "no route to host" with it, cable or not. So the controller is told where the device is.
        found = ["lladdr", hardware_address(number), "dev", "br0", "nud", "reachable"]
        host.run(["ip", "-n", controller, "neigh", "replace", address(number), *found])


def mislead(namespace: str, target: str) -> None:
    """Let what a device sends to one address get lost without a sign, until it boots; all else goes on."""
    nobody = "02:00:00:ff:ff:ff"
    host.run(["ip", "-n", namespace, "neigh", "replace", target, "lladdr", nobody, "dev", "eth0", "nud", "permanent"])


def remove(namespace: str) -> None:
    """Remove a namespace and end what still runs in it (SSH masters, test servers); fine when there is none."""
    if not exists(namespace):
        return
    try:
        members = [int(word) for word in host.run(["ip", "netns", "pids", namespace]).split()]
    except LabError:  # a name without a namespace behind it, left by a killed `ip netns add`
        members = []
    for pid in members:
        if pid != os.getpid():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    host.run(["ip", "netns", "del", namespace])
