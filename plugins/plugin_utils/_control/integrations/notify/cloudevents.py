# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""CloudEvents 1.0 over HTTP (cloudevents.io, HTTP protocol binding 3.1 and 3.2)."""

from __future__ import annotations

import json
import re

from ...base.errors import ControlError
from ...transports import http, tuf
from . import Message, Receiver, Refused, Temporary

TYPE = "fleet.ota.rollout."
#: Answers after which another attempt makes sense.
_AGAIN = frozenset({408, 425, 429})
_TLS = ("ca", "certificate", "key")


def problems(receiver: Receiver) -> list[str]:
    """What keeps this receiver from ever getting anything: its address, its token, its TLS files."""
    mistakes = []
    if receiver.get("url") and (not http.split(receiver["url"]) or re.search(r"[\s\\]", receiver["url"])):
        # without the address, whose end is often the secret
        mistakes.append(".url: must be an http or https address with a host, such as https://events.example.com/ota")
    if receiver.get("token_file") is not None:
        mistakes += _token_problems(receiver["token_file"])
    if receiver.get("tls") is not None:
        mistakes += _tls_problems(receiver["tls"])
    return mistakes


def send(receiver: Receiver, message: Message, timeout: float) -> None:
    """One attempt. Raises :class:`Temporary` or :class:`Refused`."""
    headers, body = encode(message, binary=receiver.get("mode") == "binary")
    try:
        status, _content = http.ask(
            "POST",
            receiver["url"],
            timeout=timeout,
            headers=headers,
            body=body,
            token_file=receiver.get("token_file"),
            tls=receiver.get("tls"),
            read=False,  # its status says whether it took the event; some do not end what they say beside it
        )
    except http.WebError as error:
        raise Temporary(str(error)) from None
    if 200 <= status < 300:
        return
    raise (Temporary if status >= 500 or status in _AGAIN else Refused)(f"answered with status {status}")


def _token_problems(path: object) -> list[str]:
    if not isinstance(path, str) or not path:
        return [f".token_file: must be the path of a file with a bearer token, not {path!r}"]
    try:
        http.token(path)
    except http.WebError as error:
        return [f".token_file: {error}; correct the path, or let the controller's user read it"]
    return []


def _tls_problems(tls: object) -> list[str]:
    if not isinstance(tls, dict) or set(tls) - set(_TLS) or not all(isinstance(path, str) for path in tls.values()):
        return [f".tls: must be a mapping with paths as {', '.join(_TLS)}"]
    if "key" in tls and "certificate" not in tls:
        return [".tls: has a key without its certificate; give both"]
    try:
        tuf.tls_context(tls)
    except ControlError as error:
        return [f".tls: {error.message}"]
    return []


def encode(message: Message, *, binary: bool) -> tuple[dict[str, str], bytes]:
    """Headers and body of the event."""
    attributes = {
        "specversion": "1.0",
        "id": message.id,
        "source": message.source,
        "type": TYPE + message.event,
        "subject": message.rollout,
        "time": message.time,
    }
    data: dict[str, object] = {"text": message.text, **message.data}
    if binary:
        headers = {f"ce-{key}": value for key, value in attributes.items()}
        return {**headers, "Content-Type": "application/json"}, json.dumps(data).encode()
    event = {**attributes, "datacontenttype": "application/json", "data": data}
    return {"Content-Type": "application/cloudevents+json; charset=UTF-8"}, json.dumps(event).encode()
