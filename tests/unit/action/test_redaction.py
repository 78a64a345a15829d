# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments of a task as callbacks get them: without credentials, and whole for a task that is tried again."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._actions.controller import ControllerAction
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import urls


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
        ("HTTPS://user:secret@mirror/x", "HTTPS://***@mirror/x"),
        (" https://user:secret@mirror/x", " https://***@mirror/x"),
        (7, 7),
        (None, None),
    ],
)
def test_addresses_lose_their_credentials(value: object, expected: object) -> None:
    assert urls.hidden(value) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://hooks.example.com/services/T/B/SECRET?token=x#y", "https://hooks.example.com/***"),
        ("https://user:secret@hooks.example.com:8443?token=x", "https://***@hooks.example.com:8443/***"),
        ("http://[x/SECRET", "http://[x/***"),
        ("https://hooks.example.com", "https://hooks.example.com"),
    ],
)
def test_of_an_address_only_the_host_is_left(address: str, expected: str) -> None:
    assert urls.host_of(address) == expected


class Teller(ControllerAction):
    """Gives back whom it was to tell."""

    argument_spec: t.ClassVar[dict[str, t.Any]] = {"notify": {"type": "list", "elements": "dict", "default": []}}

    def perform(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        return {"told": arguments["notify"]}


@pytest.mark.parametrize("given", [[{"url": "https://h/S3CRET?a=b", "mode": "binary"}], "url=https://h/S3CRET?a=b"])
def test_callbacks_get_no_webhook(given: object) -> None:
    task = types.SimpleNamespace(args={"notify": given}, check_mode=False, async_val=0, tags=[], diff=False, action="x")
    connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None))
    plugin = Teller(task, connection, None, None, None, None)
    for _attempt in range(2):
        assert plugin.run(task_vars={})["told"][0]["url"] == "https://h/S3CRET?a=b"
        assert task.args["notify"][0]["url"] == "https://h/***"


class Reader(ControllerAction):
    """Gives back the repository that it was told."""

    argument_spec: t.ClassVar[dict[str, t.Any]] = {"repository": {"type": "str"}}

    def perform(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        return {"told": arguments["repository"]}


def test_a_task_that_is_tried_again_still_knows_them() -> None:
    url = "https://user:secret@mirror/x"
    task = types.SimpleNamespace(
        args={"repository": url}, check_mode=False, async_val=0, tags=[], diff=False, action="x"
    )
    connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None))
    plugin = Reader(task, connection, None, None, None, None)
    for _attempt in range(2):
        assert plugin.run(task_vars={})["told"] == url
        assert task.args == {"repository": "https://***@mirror/x"}
