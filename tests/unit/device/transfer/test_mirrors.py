# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pulling from hostile mirrors: whatever they do ends with the right bytes, or in FETCH, and in time."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base import protocol
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.enrolment import tls
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.transfer import download, staging

from .. import hostile

CONTENT = bytes(random.Random(1).randrange(256) for _index in range(100000))
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ENTRY: protocol.File = {"sha256": DIGEST, "length": len(CONTENT)}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT)


class Site:
    """An empty device, and mirrors that are closed when the test ends."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(str(folder / "device"))
        self.layout.prepare()
        self.stop = threading.Event()
        self.servers: list[hostile.Server] = []

    def mirror(self, behave: hostile.Behaviour, context: t.Any = None) -> hostile.Server:
        self.servers.append(hostile.Server(behave, context))
        return self.servers[-1]

    def close(self) -> None:
        self.stop.set()
        for server in self.servers:
            server.close()

    @property
    def part(self) -> Path:
        return Path(self.layout.file("inbox", DIGEST + ".part"))

    @property
    def whole(self) -> Path:
        return Path(self.layout.file("inbox", DIGEST))

    def pull(self, *urls: str) -> None:
        staging.pull(self.layout, ENTRY, urls)

    def refused(self, *urls: str) -> str:
        """The message of FETCH; nothing was taken."""
        with pytest.raises(OtaError) as caught:
            self.pull(*urls)
        assert (caught.value.code, caught.value.outcome) == ("FETCH", "deferred")
        assert not self.whole.exists()
        return caught.value.message


@pytest.fixture()
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Site]:
    """See :class:`Site`; half a second without progress is a standstill."""
    monkeypatch.setattr(download, "WINDOW", 0.5)
    found = Site(tmp_path)
    yield found
    found.close()


def drip(stop: threading.Event, first: bytes, then: bytes) -> hostile.Behaviour:
    return hostile.for_ever(first, then, stop, 0.05)


def stalls(stop: threading.Event, first: bytes = b"") -> hostile.Behaviour:
    def behave(stream: socket.socket, head: bytes) -> None:
        stream.sendall(first)
        stop.wait(20)

    return behave


HOSTILE: dict[str, t.Callable[[threading.Event], hostile.Behaviour]] = {
    "says nothing": stalls,
    "hangs up": lambda stop: hostile.says(b""),
    "garbage": lambda stop: hostile.says(b"\x00\xff" * 5000),
    "a banner": lambda stop: hostile.says(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "gone": lambda stop: hostile.says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    "broken": lambda stop: hostile.says(b"HTTP/1.1 500 Oh\r\n\r\n"),
    "nothing inside": lambda stop: hostile.says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "elsewhere": lambda stop: hostile.says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"),
    "from disk": lambda stop: hostile.says(b"HTTP/1.1 301 Moved\r\nLocation: file:///etc/passwd\r\n\r\n"),
    "cut": lambda stop: hostile.says(OK + CONTENT[:-7]),
    "short": lambda stop: hostile.says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
    "negative": lambda stop: hostile.says(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
    "other bytes": lambda stop: hostile.says(OK + bytes(len(CONTENT))),
    "one bit": lambda stop: hostile.says(OK + CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])),
    "chunks of garbage": lambda stop: hostile.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "an unasked range": lambda stop: hostile.says(
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-9/100000\r\n\r\nabcde"
    ),
    "packed": lambda stop: hostile.says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b" + bytes(50)),
    "headers for ever": lambda stop: hostile.for_ever(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", stop),
    "one header for ever": lambda stop: hostile.for_ever(b"HTTP/1.1 200 OK\r\nX-A: ", b"b" * 1000, stop),
    "a dripping status": lambda stop: drip(stop, b"HTTP/1.1 ", b"2"),
    "dripping headers": lambda stop: drip(stop, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "dripping bytes": lambda stop: drip(stop, OK, b"x"),
    "promises for ever": lambda stop: drip(stop, b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "stalls": lambda stop: stalls(stop, OK + CONTENT[:5000]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_mirror_costs_time_and_the_next_one_serves(site: Site, what: str) -> None:
    bad = site.mirror(HOSTILE[what](site.stop))
    started = time.monotonic()
    message = site.refused(bad.url + "/x")
    assert time.monotonic() - started < 6
    assert bad.url in message
    good = site.mirror(hostile.honest(CONTENT))
    site.pull(bad.url + "/x", good.url + "/x")
    assert site.whole.read_bytes() == CONTENT


def test_data_for_ever_is_not_read_for_ever(site: Site) -> None:
    sent = []

    def behave(stream: socket.socket, head: bytes) -> None:
        stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not site.stop.is_set():
            sent.append(stream.send(b"x" * 65536))

    message = site.refused(site.mirror(behave).url)
    assert "other bytes" in message
    assert site.part.stat().st_size == 0
    assert sum(sent) < 20 * len(CONTENT) + (8 << 20)  # what buffers between the two hold


def test_it_goes_on_from_what_is_here(site: Site) -> None:
    site.part.write_bytes(CONTENT[:60000])
    good = site.mirror(hostile.honest(CONTENT))
    site.pull(good.url)
    assert hostile.offset(good.requests[0]) == 60000
    assert len(good.requests) == 1
    assert site.whole.read_bytes() == CONTENT


def test_what_a_mirror_that_lied_left_is_not_held_against_the_next(site: Site) -> None:
    lie = site.mirror(hostile.says(OK + bytes(60000)))  # and hangs up: a part of nothing but zeros stays
    good = site.mirror(hostile.honest(CONTENT))
    site.pull(lie.url, good.url)
    assert [hostile.offset(head) for head in good.requests] == [60000, 0]
    assert site.whole.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "answered", [b"bytes 0-9/100000", b"bytes 60001-99999/100000", b"bytes 60000-99999/7", b"", b"x"]
)
def test_a_wrong_range_is_not_put_together(site: Site, answered: bytes) -> None:
    site.part.write_bytes(CONTENT[:60000])
    head = b"HTTP/1.1 206 Partial\r\nContent-Range: %s\r\nContent-Length: 40000\r\n\r\n" % answered
    message = site.refused(site.mirror(hostile.says(head + CONTENT[60000:])).url)
    assert "another range" in message
    assert site.part.read_bytes() == CONTENT[:60000]  # still good to go on from


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "http:///x", "x", "http://127.0.0.1:x/"]
)
def test_other_addresses_are_not_taken(site: Site, url: str) -> None:
    site.refused(url)


def test_a_line_break_in_an_address_makes_no_request(site: Site) -> None:
    server = site.mirror(hostile.honest(CONTENT))
    site.refused(server.url + "/x HTTP/1.1\r\nX: y\r\n\r\n")
    assert server.requests == []


# -- credentials -----------------------------------------------------------------------------------------------------


def test_user_and_password_of_an_address_are_sent_and_never_shown(site: Site) -> None:
    server = site.mirror(hostile.says(b"HTTP/1.1 401 No\r\n\r\n"))
    message = site.refused(server.url.replace("//", "//us%40er:s3cr3t@") + "/x")
    assert b"Authorization: Basic dXNAZXI6czNjcjN0" in server.requests[0]
    assert "s3cr3t" not in message
    assert "//***@127.0.0.1" in message


@pytest.mark.parametrize(
    "pair", ["user:s3cr3t", "user:p@s3cr3t", "user:p/s3cr3t", "user:p#s3cr3t", "s3cr3t", "u:s3cr3t\n"]
)
@pytest.mark.parametrize("scheme", ["http", "file", "https"])
def test_no_piece_of_odd_credentials_is_shown(site: Site, scheme: str, pair: str) -> None:
    assert "s3cr3t" not in site.refused("%s://%s@127.0.0.1:1/x" % (scheme, pair))


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> hostile.Authority:
    return hostile.Authority(tmp_path_factory.mktemp("ca"))


def give(site: Site, ca: Path | None = None, client: Path | None = None) -> None:
    """What enrolment does."""
    value = {"ca": ca.read_text()} if ca else {}
    if client:
        value.update(certificate=client.read_text(), key=client.with_suffix(".key").read_text())
    tls.store(site.layout, tls.parse(site.layout, value))


def test_mutual_tls(site: Site, authority: hostile.Authority) -> None:
    context = authority.server(authority.issue("server"), clients=authority.path)
    server = site.mirror(hostile.honest(CONTENT), context)
    give(site, authority.path, authority.issue("client"))
    site.pull(server.url + "/x")
    assert site.whole.read_bytes() == CONTENT
    folder = Path(site.layout.file("tls"))
    assert {oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {"0o600"}
    assert oct(folder.stat().st_mode & 0o777) == "0o700"


def test_without_a_client_certificate_a_mirror_says_no(site: Site, authority: hostile.Authority) -> None:
    context = authority.server(authority.issue("server"), clients=authority.path)
    server = site.mirror(hostile.honest(CONTENT), context)
    give(site, authority.path)
    site.refused(server.url)
    assert server.requests == []


def test_a_mirror_that_is_not_believed(site: Site, authority: hostile.Authority, tmp_path: Path) -> None:
    other = hostile.Authority(tmp_path, "other")
    expired = authority.issue("expired", days=-1)
    elsewhere = authority.issue("elsewhere", address="127.0.0.2")
    for certificate in (other.issue("foreign"), expired, elsewhere):
        give(site, authority.path, authority.issue("client"))
        server = site.mirror(hostile.honest(CONTENT), authority.server(certificate))
        assert "certificate" in site.refused(server.url).lower() or "match" in site.refused(server.url)
        assert server.requests == []
        good = site.mirror(hostile.honest(CONTENT))
        site.pull(server.url, good.url)
        site.whole.unlink()


def test_without_a_pinned_ca_the_systems_store_counts(site: Site, authority: hostile.Authority) -> None:
    server = site.mirror(hostile.honest(CONTENT), authority.server(authority.issue("server")))
    assert "certificate" in site.refused(server.url).lower()
    assert server.requests == []


def test_a_handshake_that_drips(site: Site) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _address = listener.accept()
        while not site.stop.wait(0.05):
            connection.sendall(b"\x16")

    threading.Thread(target=serve, daemon=True).start()
    started = time.monotonic()
    site.refused("https://127.0.0.1:%d/" % listener.getsockname()[1])
    assert time.monotonic() - started < 6
    listener.close()


def test_files_that_do_not_belong_together_are_refused(site: Site, authority: hostile.Authority) -> None:
    one, two = authority.issue("one"), authority.issue("two")
    secret = authority.issue("secret", passphrase=b"x")
    key = one.with_suffix(".key").read_text()
    wrong: list[t.Any] = [
        {"certificate": one.read_text()},
        {"key": key},
        {"certificate": two.read_text(), "key": key},
        {"certificate": secret.read_text(), "key": secret.with_suffix(".key").read_text()},
        {"ca": "no PEM"},
        {"ca": "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n"},
        {"ca": authority.path.read_text(), "verify": False},
        "text",
    ]
    for value in wrong:
        with pytest.raises(OtaError) as caught:
            tls.parse(site.layout, value)
        assert caught.value.code == "TLS"
        assert key.splitlines()[1] not in str(caught.value.as_dict())
    assert not Path(site.layout.file("tls")).exists()
    assert [path.name for path in Path(site.layout.state).iterdir() if path.name.startswith("tmp")] == []


def sometimes(*behaviours: hostile.Behaviour) -> hostile.Behaviour:
    """The first connection gets the first behaviour, and so on; the last one stays."""
    left = list(behaviours)

    def behave(stream: socket.socket, head: bytes) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(stream, head)

    return behave


def test_a_connection_that_broke_off_is_taken_up_again(site: Site) -> None:
    mirror = site.mirror(sometimes(hostile.says(b""), hostile.honest(CONTENT)))
    site.pull(mirror.url + "/x")
    assert site.whole.read_bytes() == CONTENT
    assert len(mirror.requests) == 2


def test_what_a_broken_connection_brought_is_not_asked_for_again(site: Site) -> None:
    mirror = site.mirror(sometimes(hostile.says(OK + CONTENT[:70000]), hostile.honest(CONTENT)))
    site.pull(mirror.url + "/x")
    assert [hostile.offset(head) for head in mirror.requests] == [0, 70000]


@pytest.mark.parametrize("piece", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nx"])
def test_a_mirror_that_always_hangs_up_is_asked_twice(site: Site, piece: bytes) -> None:
    mirror = site.mirror(hostile.says(piece))
    site.refused(mirror.url + "/x")
    assert len(mirror.requests) == 2
