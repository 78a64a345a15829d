# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How every action comes to a repository: by its pinned root, or not at all."""

from __future__ import annotations

import os
import pathlib
import typing as t

from .._control.base import urls
from .._control.base.errors import RepositoryError
from .base import Arguments, Options, named
from .controller import ControllerAction, here

if t.TYPE_CHECKING:
    from .._control.client.bundle import Bundle
    from .._control.repository.repository import Repository

#: The options of an action that opens a repository. No playbook passes the root: it is read where the repository is.
REPOSITORY: Options = {
    "repository": {"type": "path", "required": True},
    "trust_root": {"type": "path", "required": True},
}
REPOSITORY_VARIABLES = named(*REPOSITORY)


class RepositoryAction(ControllerAction):
    """An action that reads or changes a repository on this machine, in the directory that ``place`` names."""

    place: t.ClassVar[str] = "repository"

    def opened(self) -> Repository:
        """The repository of the arguments. Raises :class:`RepositoryError` or :class:`TrustError`."""
        from .._control.repository.repository import Repository

        directory = folder(self.arguments[self.place])
        pin = trust_root(self.arguments)
        if directory in pin.parents:
            self._display.warning(
                f"the trust root {pin} lies in the repository: whoever can write there can exchange both; copy it to a "
                "place of your own and set fleet_ota_trust_root"
            )
        return Repository.from_pin(directory, pin)


def folder(text: str) -> pathlib.Path:
    """The directory that ``text`` names. Raises :class:`RepositoryError` for an address."""
    if urls.is_address(text):
        raise RepositoryError(
            f"{urls.shown(text)} is no directory of this machine, and only there a repository can be opened and "
            "changed, not over HTTP or another protocol; give the directory that is served there"
        )
    return here(os.path.expanduser(text))


def trust_root(arguments: Arguments) -> pathlib.Path:
    """The file with the pinned root."""
    return here(arguments["trust_root"])


def fetched(arguments: Arguments) -> Bundle:
    """The verified bundle that the options :data:`options.RELEASE` name, from a directory or over HTTP."""
    # This is asked for in a fork for each device; what verifies a repository takes long to import.
    from .._control.client import updater

    repository = arguments["repository"]
    return updater.prepare(
        repository=repository if urls.is_url(repository) else str(folder(repository)),
        trust_root=trust_root(arguments),
        channel=arguments["channel"],
        release=arguments["release"],
        cache=here(arguments["cache"]),
        tls={name: str(here(path)) for name, path in (arguments["tls"] or {}).items() if path} or None,
    )
