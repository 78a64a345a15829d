# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Publish, promote, renew and fetch releases."""

from __future__ import annotations

import hashlib
import pathlib
import typing as t

from ..plugin_utils._actions import options
from ..plugin_utils._actions.base import Arguments, Result, named
from ..plugin_utils._actions.controller import here, request, signing_ring
from ..plugin_utils._actions.repository import REPOSITORY, REPOSITORY_VARIABLES, RepositoryAction, fetched
from ..plugin_utils._control.base.errors import RepositoryError
from ..plugin_utils._control.client.bundle import Bundle
from ..plugin_utils._control.integrations import notify
from ..plugin_utils._control.policy import attestations
from ..plugin_utils._control.repository import overview, reproduce
from ..plugin_utils._control.repository.repository import Change


class ActionModule(RepositoryAction):
    """C(fleet.ota.release)."""

    argument_spec: t.ClassVar[options.Options] = {
        "state": {
            "type": "str",
            "choices": ["published", "promoted", "refreshed", "verified", "fetched"],
            "default": "published",
        },
        **options.RELEASE,
        # A text, because it may be an address for what is fetched.
        "repository": {"type": "str", "required": True},
        "trust_root": REPOSITORY["trust_root"],
        "source": {"type": "path"},
        "attachments": {"type": "list", "elements": "path", "default": []},
        "raise_versions": {"type": "int", "default": 0},
        "notify": {"type": "list", "elements": "dict", "default": []},
        **options.SIGNING,
        **options.PROPOSING,
    }
    constraints: t.ClassVar[Arguments] = {
        "required_if": [
            ("state", "published", ("source", "channel", "keys")),
            ("state", "promoted", ("release", "channel", "keys")),
            ("state", "refreshed", ("keys",)),
            ("state", "verified", ("source", "channel")),
            ("state", "fetched", ("release", "channel")),
        ]
    }
    variables: t.ClassVar[t.Mapping[str, str]] = {
        **REPOSITORY_VARIABLES,
        **named("source", "channel", "attachments", "raise_versions", "notify"),
        **options.SIGNING_VARIABLES,
        **options.PROPOSING_VARIABLES,
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Bring the release to the wanted state."""
        if arguments["state"] == "fetched":
            return self._fetch(arguments)
        if arguments["state"] == "verified":
            return self._verify(arguments)
        notify.require_valid(arguments["notify"])
        change = self._change(arguments)
        if arguments["state"] == "refreshed" and change.warnings and not self.check:
            self._tell(change.warnings)
        return {
            "changed": change.changed,
            "release": change.release.as_dict() if change.release else None,
            "releases": change.after,
            "expiring": [*change.warnings, *self._expiring(change)],
            "summary_lines": _lines(change, arguments),
            "proposal": change.proposal.as_dict() if change.proposal else None,
            **self.diff(change.before, change.after, arguments["repository"]),
        }

    def _change(self, arguments: Arguments) -> Change:
        repository = self.opened()
        ring, propose = signing_ring(arguments), request(arguments)
        if arguments["state"] == "refreshed":
            raised = arguments["raise_versions"]
            return repository.refresh(ring, check=self.check, propose=propose, raise_versions=raised)
        more: t.Any = {
            "attachments": [attestations.read(here(path)) for path in arguments["attachments"]],
            "check": self.check,
            "propose": propose,
        }
        if arguments["state"] == "published":
            return repository.publish(arguments["channel"], here(arguments["source"]), ring, **more)
        name, _slash, version = arguments["release"].partition("/")
        if not version:
            raise RepositoryError(f"release: {name!r} names no version; promote NAME/VERSION")
        return repository.promote(name, version, arguments["channel"], ring, **more)

    def _tell(self, warnings: list[str]) -> None:
        place = self.arguments["repository"]
        text = f"{place}: somebody has to bring keys: {'; '.join(warnings)}"
        message = notify.Message(notify.EXPIRING, place, text, {"repository": place, "expiring": warnings})
        for problem in notify.tell(None, self.arguments["notify"], message):
            self._display.warning(f"not notified: {problem}")

    def _expiring(self, change: Change) -> list[str]:
        """What ends soon, for whoever publishes: the job that refreshes has its own warnings."""
        if self.arguments["state"] == "refreshed" or self.check or not change.release:
            return []
        return overview.expiring(self.opened())

    def _verify(self, arguments: Arguments) -> Result:
        derived = reproduce.derive(self.opened(), arguments["channel"], here(arguments["source"]))
        return {"changed": False, "digest": derived.digest, "standing": derived.where, "payloads": derived.lines}

    def _fetch(self, arguments: Arguments) -> Result:
        bundle = fetched(arguments)
        path = bundle_path(bundle)
        changed = not path.is_file() or Bundle.load(path) != bundle
        # kept in check mode too: the cache is the controller's own, and later tasks need the file
        bundle.save(path)
        return {"changed": changed, "release": bundle.identity, "bundle": str(path), "document": bundle.document}


def _lines(change: Change, arguments: Arguments) -> list[str]:
    """What came of it, for people."""
    lines = []
    if change.release:
        one, done = change.release, "lists" if change.changed else "lists already"
        lines.append(
            f"channel {one.channel} {done} {one.name} {one.version} (counter {one.counter}, sha256 {one.digest})"
        )
    if change.proposal:
        lines = [f"{change.proposal} waits for signatures: fleet.ota.sign"]
    return lines


def bundle_path(bundle: Bundle) -> pathlib.Path:
    """Where the actions keep a bundle for the devices' tasks: two rollouts with different approvals keep out of each
    other's way."""
    more = hashlib.sha256("\n".join(bundle.approvals).encode()).hexdigest()[:8] if bundle.approvals else ""
    name = "-".join(filter(None, [bundle.channel, bundle.digest, more]))
    return pathlib.Path(bundle.cache) / "bundles" / f"{name}.json"
