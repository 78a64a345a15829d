# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Every variable of the collection; one that is not among them is a mistake, and is told before anything begins.

Ansible ignores a variable that nothing reads: a window or a limit with a slip in its name would be no window and no
limit. So names that begin with ``fleet_ota_`` belong to the collection, wherever they are set.
"""

from __future__ import annotations

import difflib
import typing as t

from ansible.errors import AnsibleActionFail

PREFIX = "fleet_ota_"
_MOST = 10


class Variable(t.NamedTuple):
    """What a variable is: its ``text`` for people, its ``kind`` where no argument spec has it, and whether each host
    may have its own value.
    """

    text: str
    kind: str = ""
    per_host: bool = False


def _host(text: str, kind: str = "") -> Variable:
    return Variable(text, kind, per_host=True)


#: Variables that people set, by their names without the prefix; docs/reference/variables.md is made of them.
GIVEN: t.Mapping[str, Variable] = {
    # who and which release
    "hosts": Variable("hosts, groups or a pattern: the targets of the playbook", "str, `all:!localhost`"),
    "release": Variable("name of the release, or NAME/VERSION"),
    "channel": Variable("channel of the release"),
    "repository": Variable("directory or https address of the repository"),
    "trust_root": Variable("file with the root metadata that is pinned"),
    "cache": Variable("directory in which the controller keeps what it verified"),
    "tls_ca": Variable("CA of an https repository", "path"),
    "tls_certificate": Variable("client certificate for an https repository", "path"),
    "tls_key": Variable("key of that certificate", "path"),
    "bundle": Variable("file with a release that is verified already"),
    "journal_dir": Variable("directory of the journals"),
    "rollout_id": Variable("a rollout that exists"),
    # the plan
    "waves": Variable("the waves, see docs/reference/plan.md"),
    "limits": Variable("how many failures stop a rollout"),
    "conditions": Variable("what must hold before and after a wave"),
    "soak": Variable("seconds that a wave is watched, unless the conditions say so", "int"),
    "watch": Variable("seconds for which a rollout is watched after its completion (the last wave's soak)"),
    "order": Variable("groups, earliest first"),
    "after": _host("hosts and groups that are updated before this host", "list of str"),
    "together": Variable("a variable: hosts with one value of it share a batch"),
    "budget": Variable("how many hosts of a group are out of service at once"),
    "windows": _host("when a device is downloaded to and updated"),
    "freezes": _host("when no device is updated"),
    "timezone": _host("time zone of the device", "str"),
    "expected_minutes": _host("minutes that an update takes"),
    "back_minutes": _host("minutes that the way back takes"),
    "urgent": _host("whether windows and freezes are passed over"),
    "hold": _host("why the device is not updated now; a text", "str"),
    "penalty": _host("how long a device that failed is left alone"),
    "ask_devices": Variable("whether devices are queried for the plan", "bool, `false`"),
    "retry_rejected": _host("take a release that failed there before"),
    # a run
    "wave": Variable("the one wave of a rollout that is rolled back", "str"),
    "until_wave": Variable("the last wave of this run", "str"),
    "deferred_exit": Variable("exit code where deferrals are all that is not as planned: 4 or 0", "int, `4`"),
    "open_wave": Variable("a wave that other runs join"),
    "approved_wave": Variable("a wave that this run approves", "str"),
    "confirm": Variable("terminal: an operator approves waves", "str"),
    "plan_digest": Variable("digest of the plan that was approved", "str"),
    "take_over": _host("take over from a run that is lost"),
    "notify": Variable("who is told of what, see docs/notifications.md"),
    "by": Variable("who does it, where the login does not say it"),
    "remark": Variable("a remark for the record"),
    "action": Variable("what the role does: update, rollback, ..."),
    "hook_before": _host("file with tasks of the team before the update"),
    "hook_installed": _host("file with tasks after the installation, before the confirmation"),
    "hook_after": _host("file with tasks after the confirmation"),
    "workers": Variable("other machines that update devices"),
    "worker_files": Variable("files that workers need"),
    "worker_silence": Variable("seconds after which a silent worker is lost"),
    "check_health": Variable("whether the status asks for health", "bool, `false`"),
    "logs_dir": Variable("directory into which the logs of devices come", "path, `fleet-ota-logs`"),
    # one device
    "root": _host("the device's root directory"),
    "state_dir": _host("the engine's state directory on the device"),
    "deadline": _host("seconds in which the device must be confirmed once the release is in place"),
    "timeout": _host("seconds that one device may take"),
    "first_contact": _host("seconds to reach a device"),
    "guard": _host("what restores the device: auto, systemd, process, none"),
    "snapshot": _host("kind of snapshot"),
    "rehearsal": _host("whether packages are rehearsed: auto, required, off"),
    "protect": _host("more paths that a snapshot holds"),
    "keep_snapshots": _host("how many ways back are kept"),
    "data": _host("paths with data, and what becomes of them"),
    "interlocks": _host("what holds the device before an update"),
    "repair": _host("repair a broken package database first"),
    "overwrite": _host("roll back over changes of others"),
    "transfer": _host("push, or pull from mirrors"),
    "mirrors": _host("addresses of mirrors"),
    "splay": _host("seconds over which downloads are spread"),
    "name": _host("name of the release that is rolled back"),
    # enrolment
    "hardware": _host("hardware of the device, as releases name it"),
    "site": _host("site of the device"),
    "labels": _host("further words of the device's identity"),
    "device_tls": _host("TLS files for downloads of the device"),
    "sealed": _host("enrol in sealed mode"),
    "sealed_login": _host("login of a sealed device"),
    "sealed_keys": _host("SSH keys of that login"),
    "sealed_settings": _host("limits of a sealed device"),
    # publishing and approving
    "roles": Variable("who holds the roles of the repository"),
    "channels": Variable("who holds the channels, or where to publish"),
    "approvals": Variable("who holds the approvals roles"),
    "policy": Variable("file with the fleet's policy"),
    "expiry_days": Variable("days until metadata of each role expire"),
    "source": Variable("the author's release document"),
    "attachments": Variable("files that go with a release"),
    "keys": Variable("keys to sign with: files, folders, URIs"),
    "keys_dir": Variable("folder with keys to sign with"),
    "generate_keys": Variable("make keys that are missing"),
    "passphrase_file": Variable("file with the passphrase of the keys"),
    "pin_file": Variable("file with the PIN of a token"),
    "propose": Variable("propose the change, for others to sign too"),
    "proposal": Variable("id of a proposal", "str"),
    "proposal_state": Variable("what becomes of the proposal", "str"),
    "proposal_days": Variable("days in which a proposal can be signed"),
    "raise_versions": Variable("by how much versions are raised after a repository was restored from a backup"),
    "title": Variable("title of a proposal"),
    "requested_by": Variable("who asks for the change"),
    "requested_by_key": Variable("key of who asks"),
    "request_approval": Variable("ask for the approval of the plan", "bool, `false`"),
    "request_wave": Variable("the wave for which it is asked", "str"),
    "approval_hours": Variable("hours for which an approval holds"),
    "approver": Variable("who approves", "str"),
    "answer": Variable("sign or deny: the answer of fleet.ota.approve without a terminal", "str"),
    # mirrors
    "mirror_hosts": Variable("the mirrors", "str, `mirrors`"),
    "mirror_name": _host("server name"),
    "mirror_listen": _host("address and port"),
    "mirror_root": _host("directory of the mirror"),
    "mirror_certificate": _host("TLS certificate"),
    "mirror_key": _host("its key"),
    "mirror_client_ca": _host("CA of the clients"),
    "mirror_rate": _host("bytes per second for one connection"),
    "mirror_connections": _host("connections of one client"),
    "mirror_packages": _host("packages of the web server"),
    # AWX
    "awx_dest": Variable("file for the exported workflow"),
    "awx_organization": Variable("organization in AWX"),
    "awx_project": Variable("project in AWX"),
    "awx_inventory": Variable("inventory in AWX"),
    "awx_credentials": Variable("credentials in AWX"),
    "awx_plan_playbook": Variable("playbook of the plan"),
    "awx_rollout_playbook": Variable("playbook of the rollout"),
    "awx_schedule": Variable("schedule of the workflow"),
    "awx_slices": Variable("job slices"),
    "awx_execution_environment": Variable("execution environment in AWX"),
    "awx_prefix": Variable("prefix of names in AWX"),
    "awx_approval_timeout": Variable("seconds that an approval node waits"),
    "awx_become": Variable("whether the jobs become root"),
    "awx_forks": Variable("how many devices a job works on at a time"),
    "awx_join_playbook": Variable("playbook of job slices"),
}
#: Variables that playbooks and roles of the collection set for themselves.
OWN = frozenset(
    [
        "applied",
        "asked",
        "asked_devices",
        "back",
        "back_from",
        "back_hosts",
        "back_wave",
        "census",
        "concluded",
        "concluded_run",
        "confirmed",
        "decision",
        "end",
        "generation",
        "halted",
        "health",
        "info",
        "joined",
        "journal",
        "listed",
        "logs_folder",
        "mirror_installed",
        "mirror_metadata",
        "now",
        "own_rollout_id",
        "planned",
        "proposals",
        "revoked",
        "published",
        "refreshed",
        "reset",
        "restored",
        "rollout",
        "sealed_entry",
        "sealed_home",
        "shown",
        "signed",
        "slice",
        "started",
        "turn",
        "turns",
        "verified",
        "waiting",
    ]
)


def require(variables: t.Mapping[str, t.Iterable[str]]) -> None:
    """Raise AnsibleActionFail for names among ``variables`` (by host) that have our prefix and that nothing reads."""
    unknown: dict[str, list[str]] = {}
    for host, names in variables.items():
        for name in names:
            if name.startswith(PREFIX) and name[len(PREFIX) :] not in GIVEN and name[len(PREFIX) :] not in OWN:
                unknown.setdefault(name, []).append(host)
    if unknown:
        told = [f"{name}{_suggestion(name)} of {_some(hosts)}" for name, hosts in sorted(unknown.items())[:_MOST]]
        more = f"; and {len(unknown) - _MOST} more" if len(unknown) > _MOST else ""
        raise AnsibleActionFail(
            f"nothing reads {'; '.join(told)}{more}. Names that begin with {PREFIX} belong to the collection: correct "
            "the name or remove it (docs/reference/variables.md has them all)",
            result={"code": "VARIABLE", "unknown": sorted(unknown)},
        )


def _suggestion(name: str) -> str:
    near = difflib.get_close_matches(name[len(PREFIX) :], list(GIVEN), 1, 0.6)
    return f" (did you mean {PREFIX}{near[0]}?)" if near else ""


def _some(hosts: list[str]) -> str:
    more = f" and {len(hosts) - 3} more" if len(hosts) > 3 else ""
    return ", ".join(hosts[:3]) + more
