# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Where things lie on a device; the whole engine takes a ``root`` so that a device can be a directory."""

from __future__ import annotations

import os
import re

from . import durable

#: The state directory on a device, below its root.
STATE_DIR = "/var/lib/fleet-ota"
#: No line of a unit file or of a boot hook can hold these.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]|\\\Z")


class Layout:
    """Paths of one device.

    ``root`` is ``/`` on a real device; ``state_dir`` is an absolute path below it.
    """

    def __init__(self, root: str = "/", state_dir: str = STATE_DIR) -> None:
        if not os.path.isabs(root) or not os.path.isabs(state_dir):
            raise ValueError("root and state_dir must be absolute paths, not %r and %r" % (root, state_dir))
        if _UNSAFE.search(state_dir) or state_dir != state_dir.strip():
            raise ValueError("state_dir must not begin or end with a blank nor hold control characters: %r" % state_dir)
        self.root = os.path.realpath(root)
        self.state_dir = os.path.normpath(state_dir)
        self.state = self.real(self.state_dir)

    @property
    def is_real(self) -> bool:
        """Whether this is a whole machine and not a directory that plays one."""
        return self.root == "/"

    def real(self, path: str) -> str:
        """The path in this process's file system of ``path`` as the device sees it."""
        return os.path.normpath(self.root.rstrip("/") + "/" + path.lstrip("/"))

    def file(self, *names: str) -> str:
        """A path below the state directory."""
        return os.path.join(self.state, *names)

    def transaction(self, identifier: str, *names: str) -> str:
        """A path below the folder of transaction ``identifier``."""
        return self.file("transactions", identifier, *names)

    def prepare(self) -> None:
        """Create the state directory, for its owner only."""
        for path in (
            self.state,
            self.file("inbox"),
            self.file("trust"),
            self.file("snapshots"),
            self.file("transactions"),
        ):
            durable.make_directory(path)
