# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mirrors that do what no mirror should, byte by byte over real sockets."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import re
import socket
import ssl
import threading
import typing as t
from pathlib import Path

#: What a server does with a connection: gets the request's head, and sends what it likes.
Behaviour = t.Callable[[socket.socket, bytes], None]


class Server:
    """Answers each connection by ``behave``; ``requests`` are the heads as they came, ``url`` is where it listens."""

    def __init__(self, behave: Behaviour, context: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.context = context
        self.requests: list[bytes] = []
        self.closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "%s://127.0.0.1:%d" % ("https" if context else "http", self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._listener.accept()
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.closing(connection):
            stream = self.context.wrap_socket(connection, server_side=True) if self.context else connection
            with contextlib.closing(stream):
                head = b""
                while b"\r\n\r\n" not in head:
                    block = stream.recv(4096)
                    if not block:
                        return
                    head += block
                self.requests.append(head)
                self.behave(stream, head)


def offset(head: bytes) -> int:
    """From where a request wants to have the bytes."""
    found = re.search(rb"Range: bytes=(\d+)-", head)
    return int(found.group(1)) if found else 0


def honest(content: bytes) -> Behaviour:
    """A mirror that knows ranges."""

    def behave(stream: socket.socket, head: bytes) -> None:
        start = offset(head)
        status = "206 Partial Content" if start else "200 OK"
        extra = "Content-Range: bytes %d-%d/%d\r\n" % (start, len(content) - 1, len(content)) if start else ""
        size = len(content) - start
        stream.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n" % (status.encode(), size, extra.encode()))
        stream.sendall(content[start:])

    return behave


def says(answer: bytes) -> Behaviour:
    """A mirror that always says the same, and hangs up."""
    return lambda stream, head: stream.sendall(answer)


def for_ever(first: bytes, then: bytes, stop: threading.Event, pause: float = 0.0) -> Behaviour:
    """A mirror that does not come to an end, at full speed or in drops."""

    def behave(stream: socket.socket, head: bytes) -> None:
        stream.sendall(first)
        while not stop.wait(pause):
            stream.sendall(then)

    return behave


class Authority:
    """A CA that issues certificates, by `cryptography`; PEM files in ``folder``."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self._x509, self._hashes, self._serialization, self._ec = x509, hashes, serialization, ec
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key.public_key(), 30)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.path = folder / (name + ".pem")
        self.path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, address: str = "127.0.0.1", days: float = 1, passphrase: bytes | None = None) -> Path:
        """``NAME.pem`` and ``NAME.key`` for servers at ``address`` and for clients; returns the first."""
        x509, serialization = self._x509, self._serialization
        key = self._ec.generate_private_key(self._ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, key.public_key(), days)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        signed = builder.add_extension(names, critical=False).sign(self._key, self._hashes.SHA256())
        path = self.folder / (name + ".pem")
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        encryption = serialization.NoEncryption()
        if passphrase:
            encryption = serialization.BestAvailableEncryption(passphrase)
        form = serialization.PrivateFormat.PKCS8
        path.with_suffix(".key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))
        return path

    def server(self, path: Path, *, clients: Path | None = None) -> ssl.SSLContext:
        """The context of a server with the certificate ``path``, which asks for one of ``clients``' if given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(path), str(path.with_suffix(".key")))
        if clients:
            context.load_verify_locations(str(clients))
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _builder(self, subject: t.Any, public: t.Any, days: float) -> t.Any:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = self._x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(public)
        builder = builder.serial_number(self._x509.random_serial_number())
        start = now - datetime.timedelta(days=10)
        return builder.not_valid_before(start).not_valid_after(now + datetime.timedelta(days=days))
