# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Mail, chat and a hundred others by the library apprise (github.com/caronc/apprise), where it is installed."""

from __future__ import annotations

import importlib.util
import logging
import pathlib

from . import Message, Receiver, Refused, Temporary


def problems(receiver: Receiver) -> list[str]:
    """What keeps this receiver from ever getting anything."""
    if importlib.util.find_spec("apprise") is None:
        return [": needs the library apprise; install it for the Python that runs ansible: pip install apprise"]
    if receiver.get("url_file") and not (isinstance(receiver["url_file"], str) and _addresses(receiver)):
        return [f".url_file: {receiver['url_file']} names no address, or cannot be read; one apprise URL a line"]
    return []


def send(receiver: Receiver, message: Message, timeout: float) -> None:
    """One attempt at every address in the file. Raises :class:`Temporary` or :class:`Refused`."""
    import apprise

    # it logs addresses, and they hold secrets
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    sender = apprise.Apprise()
    for number, address in enumerate(_addresses(receiver), 1):
        if not sender.add(address):
            raise Refused(f"line {number} of {receiver['url_file']} is no address of apprise")
    if not len(sender):
        raise Refused(f"{receiver['url_file']} names no address")
    warning = message.event in ("halted", "held")
    kind = apprise.NotifyType.WARNING if warning else apprise.NotifyType.INFO
    title = f"rollout {message.rollout}: {message.event.replace('_', ' ')}"
    if not sender.notify(title=title, body=message.text, notify_type=kind):
        raise Temporary("apprise could not deliver it to every address")


def _addresses(receiver: Receiver) -> list[str]:
    try:
        lines = pathlib.Path(str(receiver["url_file"])).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
