# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""TLS of this device towards mirrors: a pinned CA and a client certificate, put here at enrolment for root only.

There is no switch that turns verification off: with a pinned CA only that one counts, without it the system's store.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import typing as t

from ..base import schema
from ..base.errors import OtaError, lacking
from ..system import durable
from ..system.layout import Layout

if t.TYPE_CHECKING:
    import ssl

#: What may be given, PEM texts, and where each lies below ``tls/``.
NAMES = ("ca", "certificate", "key")
Pem = t.Dict[str, str]


def context(layout: Layout) -> ssl.SSLContext:
    """How this device talks to https mirrors; OtaError ``FETCH`` when its own files cannot be used."""
    texts = load(layout)
    try:
        return _context(layout.file("tls"), texts)
    except (OSError, ValueError) as error:
        message = "%s cannot be used (%s); enroll the device again with its TLS files"
        raise OtaError("FETCH", message % (layout.file("tls"), error)) from error


def load(layout: Layout) -> Pem:
    """The texts that this device has."""
    texts = {}
    for name in NAMES:
        try:
            with open(_path(layout.file("tls"), name), encoding="ascii") as handle:
                texts[name] = handle.read()
        except FileNotFoundError:
            continue
    return texts


def parse(layout: Layout, value: object) -> Pem:
    """``value`` as texts that belong together; OtaError ``TLS`` otherwise. Nothing of a key is in the message."""
    problems = schema.Problems()
    problems.mapping("tls", value, dict.fromkeys(NAMES, _pem))
    texts = t.cast(Pem, value)
    if not problems.found and ("certificate" in texts) != ("key" in texts):
        problems.add("tls", "certificate and key belong together; give both")
    if problems.found:
        raise OtaError("TLS", "; ".join(problems.found))
    with tempfile.TemporaryDirectory(dir=layout.state if os.path.isdir(layout.state) else None) as folder:
        _write(folder, texts)
        try:
            _context(folder, texts)
        except (OSError, ValueError) as error:
            message = "these TLS files cannot be used (%s); give PEM files that belong together, the key without a"
            raise OtaError("TLS", (message + " passphrase") % (getattr(error, "reason", None) or error)) from error
    return dict(texts)


def store(layout: Layout, value: Pem) -> None:
    """Make ``value`` what this device has; what is not in it is removed."""
    folder = layout.file("tls")
    durable.make_directory(folder)
    for name in NAMES:
        if name not in value:
            durable.remove(_path(folder, name))
    _write(folder, value)


def shown(value: Pem) -> dict[str, str]:
    """What people may see of it: digests of what is public, and that there is a key."""
    return {
        name: "set" if name == "key" else "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:16]
        for name, text in sorted(value.items())
    }


def _context(folder: str, texts: Pem) -> ssl.SSLContext:
    try:
        import ssl
    except ImportError as error:
        raise lacking(error, "https") from None
    context = ssl.create_default_context(cafile=_path(folder, "ca") if "ca" in texts else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if "certificate" in texts:
        # An empty passphrase: a key that is encrypted is an error, and no prompt appears on a terminal.
        context.load_cert_chain(_path(folder, "certificate"), _path(folder, "key"), password="")
    return context


def _write(folder: str, value: Pem) -> None:
    for name, text in value.items():
        durable.write(_path(folder, name), text.encode())


def _path(folder: str, name: str) -> str:
    return os.path.join(folder, name + ".pem")


def _pem(value: object) -> str | None:
    if not isinstance(value, str) or not value.isascii() or "-----BEGIN " not in value:
        return "must be the text of a PEM file"
    return None
