# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A playbook of the collection runs as a whole: tags and C(--start-at-task) do not choose parts of it.

Without a word, C(--tags canary) would do nothing and end with exit code 0. So the first task of a playbook has the tag
C(always), and the action finds out for which tags it was meant: those that a C(site.yml) gives to its import of the
playbook. Where it is imported, other tags leave it out, as they leave out everything else.
"""

from __future__ import annotations

import pathlib
import typing as t

from ansible import context
from ansible.errors import AnsibleActionFail

_OURS = "fleet.ota."
_PLAYBOOKS = pathlib.Path(__file__).resolve().parents[3] / "playbooks"
_INSTEAD = "choose devices with --limit or fleet_ota_hosts, and waves with fleet_ota_until_wave"


def is_chosen(tags: t.Sequence[str], task_vars: t.Mapping[str, t.Any]) -> bool:
    """Whether a task with ``tags`` is to run, and not only because it has the tag C(always).

    Raises AnsibleActionFail (C(PARTIAL)) where the command asks for a part of one of our playbooks.
    """
    run, skip = task_vars.get("ansible_run_tags") or ["all"], task_vars.get("ansible_skip_tags") or []
    start = context.CLIARGS.get("start_at_task")
    if start and _is_command():
        raise _partial(f"--start-at-task {start} leaves out the tasks before it, without which nothing is known")
    if "always" in skip:
        raise _partial("--skip-tags always leaves out tasks that belong to the whole")
    if "always" not in tags or _fits(set(tags) - {"always"}, run):
        return True
    if _is_command():
        raise _partial(f"--tags {','.join(run)} chooses no task of it, and nothing would be done")
    return False


def _fits(tags: set[str], run: t.Sequence[str]) -> bool:
    return "all" in run or bool(tags.intersection(run)) or (("tagged" if tags else "untagged") in run)


def _is_command() -> bool:
    """Whether one of our playbooks is what C(ansible-playbook) was told to run, not one that imports it."""
    given = [str(argument) for argument in context.CLIARGS.get("args") or ()]
    return any(text.startswith(_OURS) or pathlib.Path(text).resolve().parent == _PLAYBOOKS for text in given)


def _partial(why: str) -> AnsibleActionFail:
    return AnsibleActionFail(f"the playbook runs as a whole: {why}; {_INSTEAD}", result={"code": "PARTIAL"})
