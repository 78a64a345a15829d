# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that do not want to serve: endless, slow, broken. A client ends, with what it trusted before."""

from __future__ import annotations

import itertools
import threading
import time
import typing as t

import pytest

from .conftest import Client
from .simulator import TOP, Answer, Simulator

ROLES = ["root", "timestamp", "snapshot", "targets", "A", "file"]


@pytest.fixture()
def hostile(client: Client, repository: Simulator) -> Client:
    """Everything was downloaded once, and everything has a newer version."""
    repository.delegate("targets", "A")
    repository.add_target("A", "file", b"content")
    repository.publish("targets", "A")
    assert client.init(repository) == 0
    assert client.download("file") == 0
    repository.add_target("A", "file", b"newer content")
    repository.publish("root", "targets", "A")
    client.deadline = 1.0
    return client


def attack(repository: Simulator, role: str, answer: Answer) -> None:
    names = [path for path in repository.files if path.startswith("targets/")]
    repository.files[names[-1] if role == "file" else repository.name(role)] = answer


def endless() -> t.Iterator[bytes]:
    return itertools.repeat(b" " * 65536)


@pytest.mark.parametrize("role", ROLES)
def test_endless_data(hostile: Client, repository: Simulator, role: str) -> None:
    sent = 0

    def answer() -> t.Iterator[bytes]:
        nonlocal sent
        for piece in endless():
            sent += len(piece)
            yield piece

    hostile.deadline = 20
    attack(repository, role, answer)
    assert hostile.download("file") == 1
    assert sent < 20_000_000
    assert hostile.got() == [b"content"]


@pytest.mark.parametrize("role", ROLES)
def test_slow_drip(hostile: Client, repository: Simulator, role: str) -> None:
    """Never silent for long, and never done: only a limit in all ends it."""
    stop = threading.Event()

    def answer() -> t.Iterator[bytes]:
        while not stop.wait(0.05):
            yield b" "

    attack(repository, role, answer)
    started = time.monotonic()
    try:
        assert hostile.download("file") == 1
    finally:
        stop.set()
    assert time.monotonic() - started < 10
    assert hostile.got() == [b"content"]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("answer", [403, 404, 500, 302, b"<html>", b""])
def test_other_answers(hostile: Client, repository: Simulator, role: str, answer: Answer) -> None:
    """A root that is said not to be there is the end of the chain; everything else that is missing is an error."""
    attack(repository, role, answer)
    code = hostile.download("file")
    if role == "root" and answer in (403, 404):
        assert code == 0
    else:
        assert code == 1
        assert hostile.got() == [b"content"]


@pytest.mark.parametrize("role", TOP)
def test_nobody_is_there(hostile: Client, repository: Simulator, role: str) -> None:
    before = hostile.versions()
    hostile.url = "http://127.0.0.1:9/"  # discard: nobody listens
    assert hostile.refresh() == 1
    assert hostile.versions() == before
