# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments of a task as callbacks get them: without credentials, and whole for a task that is tried again."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control import fetchers
from ansible_collections.fleet.ota.plugins.plugin_utils._controller_action import ControllerAction


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://user:secret@mirror/x", "https://***@mirror/x"),
        ("https://user:se@cret@mirror/x", "https://***@mirror/x"),
        ("https://user:se/cret@mirror/x", "https://***@mirror/x"),
        (["http://a:secret@b", {"c": "http://secret@d"}], ["http://***@b", {"c": "http://***@d"}]),
        ("https://mirror/x", "https://mirror/x"),
        ("somebody@mirror", "somebody@mirror"),
        ("/srv/a@b//c@d", "/srv/a@b//c@d"),
        (7, 7),
        (None, None),
    ],
)
def test_addresses_lose_their_credentials(value: object, expected: object) -> None:
    assert fetchers.hidden(value) == expected


class Reader(ControllerAction):
    """Gives back the repository that it was told."""

    argument_spec: t.ClassVar[dict[str, t.Any]] = {"repository": {"type": "str"}}

    def perform(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        return {"told": arguments["repository"]}


def test_a_task_that_is_tried_again_still_knows_them() -> None:
    url = "https://user:secret@mirror/x"
    task = types.SimpleNamespace(args={"repository": url}, check_mode=False, async_val=0, diff=False, action="x")
    connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None))
    plugin = Reader(task, connection, None, None, None, None)
    for _attempt in range(2):
        assert plugin.run(task_vars={})["told"] == url
        assert task.args == {"repository": "https://***@mirror/x"}
