# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The protocol of a link: what a controller may ask of a device, whatever the way there is."""

from __future__ import annotations

import abc
import pathlib
import typing as t

from .errors import DeviceRefusal

Reply = dict[str, t.Any]

#: The verbs of the engine's protocol (docs/reference/engine.md); a link offers those that its way allows.
VERBS = frozenset(
    [
        "apply",
        "confirm",
        "enroll",
        "extend",
        "health",
        "info",
        "install",
        "restore",
        "rollback",
        "snapshot",
        "stage",
        "status",
        "verify",
    ]
)


class Link(abc.ABC):
    """One way to one device.

    ``device`` is the device's name, ``kind`` the link's name in messages, ``verbs`` what can be asked over it.
    """

    kind: t.ClassVar[str]
    verbs: t.ClassVar[frozenset[str]] = VERBS

    def __init__(self, device: str) -> None:
        self.device = device
        #: Whether the device has answered at all.
        self.answered = False

    def call(self, verb: str, data: bytes = b"", /, *, fresh: bool = False, **request: t.Any) -> Reply:
        """The device's reply to ``verb``; ``data`` follows the request.

        ``fresh`` takes a new connection instead of a shared one. Raises DeviceLost, or DeviceRefusal with the code of
        an ``error`` reply; with ``UNSUPPORTED``, and nothing asked of the device, for a verb that the link lacks.
        """
        if verb not in self.verbs:
            raise DeviceRefusal(
                "UNSUPPORTED",
                f"the link to {self.device} ({self.kind}) does not offer {verb}, only {', '.join(sorted(self.verbs))}; "
                "use another link for this device, or leave the step out",
            )
        return self.ask(verb, data, fresh=fresh, **request)

    @abc.abstractmethod
    def ask(self, verb: str, data: bytes = b"", /, *, fresh: bool = False, **request: t.Any) -> Reply:
        """What :meth:`call` does with a verb that the link has."""

    @abc.abstractmethod
    def push(self, sha256: str, length: int, offset: int, path: pathlib.Path) -> None:
        """Bring the payload file ``path`` to the device, from byte ``offset`` on. Raises like :meth:`call`."""

    @abc.abstractmethod
    def forget_connection(self) -> None:
        """Drop a shared connection that may be dead; the next call makes a new one."""
