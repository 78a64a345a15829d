# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""CloudEvents 1.0 over HTTP (cloudevents.io, HTTP protocol binding 3.1 and 3.2)."""

from __future__ import annotations

import json
import typing as t

from .. import web
from . import Message, Receiver, Refused, Temporary

TYPE = "fleet.ota.rollout."
#: Answers after which another attempt makes sense.
_AGAIN = frozenset({408, 425, 429})


def problems(receiver: Receiver) -> list[str]:
    """Nothing beyond the form can be wrong."""
    return []


def send(receiver: Receiver, message: Message, timeout: float) -> None:
    """One attempt. Raises :class:`Temporary` or :class:`Refused`."""
    headers, body = encode(message, binary=receiver.get("mode") == "binary")
    try:
        status, _content = web.ask(
            "POST",
            receiver["url"],
            timeout=timeout,
            headers=headers,
            body=body,
            token_file=receiver.get("token_file"),
            tls=receiver.get("tls"),
        )
    except web.WebError as error:
        raise Temporary(str(error)) from None
    if 200 <= status < 300:
        return
    raise (Temporary if status >= 500 or status in _AGAIN else Refused)(f"answered with status {status}")


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
    data: dict[str, t.Any] = {"text": message.text, **message.data}
    if binary:
        headers = {f"ce-{key}": value for key, value in attributes.items()}
        return {**headers, "Content-Type": "application/json"}, json.dumps(data).encode()
    event = {**attributes, "datacontenttype": "application/json", "data": data}
    return {"Content-Type": "application/cloudevents+json; charset=UTF-8"}, json.dumps(event).encode()
