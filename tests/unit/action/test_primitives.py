# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How Ansible's own primitives behave where the playbooks depend on it, or stay away from them because of it.

A test that fails on a new ansible-core says that a rollout there may do something else than on the others: read what
the test names before supporting that version.
"""

from __future__ import annotations

import hashlib
import json
import re
import typing as t

if t.TYPE_CHECKING:
    from .conftest import Play, Ran, Result

HOSTS = ["h1", "h2", "h3", "h4", "h5", "h6"]
#: Hosts in the variable ``dead`` are unreachable: nobody listens on that port.
REACH: Result = {
    "dead": [],
    "bad": [],
    "ansible_connection": "{{ 'ansible.builtin.ssh' if inventory_hostname in dead else 'ansible.builtin.local' }}",
    "ansible_host": "127.0.0.1",
    "ansible_port": 1,
    "ansible_ssh_retries": 0,
}
FAIL_BAD: Result = {"name": "work", "ansible.builtin.fail": {"msg": "bad"}, "when": "inventory_hostname in bad"}
TOUCH: Result = {"name": "contact", "ansible.builtin.raw": "true"}


def say(name: str, **more: t.Any) -> Result:
    return {"name": name, "ansible.builtin.debug": {"msg": "{{ inventory_hostname }}"}, **more}


def a_play(*tasks: Result, **more: t.Any) -> Result:
    variables = {**REACH, **more.pop("vars", {})}
    return {"hosts": HOSTS, "gather_facts": False, "vars": variables, "tasks": list(tasks), **more}


def did(ran: Ran, task: str) -> list[str]:
    """The hosts on which a task came to ``ok`` or ``changed``, batch by batch."""
    parts = re.split(r"^(?:TASK|RUNNING HANDLER) \[(.*?)\] \**$", ran.text, flags=re.M)
    found = []
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        if name == task:
            found += sorted(re.findall(r"^(?:ok|changed): \[(\w+)", text, flags=re.M))  # workers answer in any order
    return found


def said(ran: Ran) -> dict[str, str]:
    """What each host said last in a task with a message."""
    return dict(re.findall(r'^ok: \[(\w+)\] => \{\n    "msg": "?(.*?)"?$', ran.text, flags=re.M))


# -- why gates read outcomes and not Ansible's failures ----------------------------------------------------------------


def test_unreachable_hosts_do_not_count_for_max_fail_percentage(play: Play) -> None:
    ran = play(a_play(TOUCH, say("after"), serial=3, max_fail_percentage=0, vars={"dead": ["h1"]}), hosts=HOSTS)
    assert did(ran, "after")[-3:] == ["h4", "h5", "h6"], ran.text
    assert ran.rc == 4


def test_rescued_hosts_do_not_count_for_max_fail_percentage(play: Play) -> None:
    block = {"block": [FAIL_BAD], "rescue": [say("restore")]}
    ran = play(a_play(block, say("after"), serial=3, max_fail_percentage=0, vars={"bad": HOSTS}), hosts=HOSTS)
    assert did(ran, "restore") == HOSTS, ran.text
    assert ran.rc == 0


def test_any_errors_fatal_with_an_unreachable_host_begins_the_next_batch(play: Play) -> None:
    ran = play(a_play(TOUCH, say("after"), serial=3, any_errors_fatal=True, vars={"dead": ["h1"]}), hosts=HOSTS)
    assert not {"h2", "h3"} & set(did(ran, "after")), "healthy peers are dropped"
    assert {"h4", "h5", "h6"} <= set(did(ran, "after")), ran.text


def test_max_fail_percentage_cuts_healthy_peers_off(play: Play) -> None:
    ran = play(a_play(FAIL_BAD, say("commit"), serial=3, max_fail_percentage=0, vars={"bad": ["h1"]}), hosts=HOSTS)
    assert did(ran, "commit") == [], ran.text
    assert ran.rc == 2


def test_an_unreachable_host_gets_neither_rescue_nor_always(play: Play) -> None:
    block = {"block": [TOUCH], "rescue": [say("restore")], "always": [say("always")]}
    ran = play(a_play(block, vars={"dead": ["h1"]}), hosts=HOSTS)
    assert did(ran, "restore") == [], ran.text
    assert did(ran, "always") == HOSTS[1:]


def test_percentages_of_serial_are_computed_once_and_zero_takes_all(play: Play) -> None:
    # so a plan gives whole numbers, and leaves empty waves out
    size = {"ansible.builtin.debug": {"msg": "{{ ansible_play_batch | length }}"}}
    ran = play(a_play(size, serial=[1, 0]), hosts=HOSTS)
    assert said(ran) == {"h1": "1", **dict.fromkeys(HOSTS[1:], "5")}, ran.text
    ran = play(a_play(size, serial=[1, "50%"]), hosts=HOSTS)
    assert said(ran) == {"h1": "1", "h2": "3", "h3": "3", "h4": "3", "h5": "2", "h6": "2"}, ran.text


# -- what the playbooks are built on -----------------------------------------------------------------------------------


def test_end_play_ends_all_batches_blames_nobody_and_later_plays_run(play: Play) -> None:
    gate = {"ansible.builtin.debug": {"msg": "x"}, "run_once": True, "register": "gate"}
    stop = {"ansible.builtin.meta": "end_play", "when": "gate is defined and 'h3' in ansible_play_batch"}
    ran = play(a_play(say("before"), gate, stop, say("after"), serial=2), a_play(say("conclude")), hosts=HOSTS)
    assert did(ran, "before") == HOSTS[:4], ran.text
    assert did(ran, "after") == HOSTS[:2]
    assert did(ran, "conclude") == HOSTS
    assert ran.rc == 0


def test_a_gate_that_says_nothing_must_stop_by_default(play: Play) -> None:
    stop = {"ansible.builtin.meta": "end_play", "when": "gate.stop | default(true)"}
    ran = play(a_play(say("before"), stop, say("after"), serial=2), hosts=HOSTS)
    assert (did(ran, "before"), did(ran, "after"), ran.rc) == (HOSTS[:2], [], 0), ran.text


def test_a_failing_handler_flushed_in_a_block_enters_its_rescue(play: Play) -> None:
    change = {"name": "change", "ansible.builtin.raw": "true", "changed_when": True, "notify": "check device health"}
    flush = {"ansible.builtin.meta": "flush_handlers"}
    block = {"block": [change, flush, say("confirm")], "rescue": [say("restore")]}
    check = {**FAIL_BAD, "listen": "check device health"}
    ran = play(a_play(block, handlers=[check], vars={"bad": ["h2"]}), hosts=HOSTS)
    assert did(ran, "restore") == ["h2"], ran.text
    assert sorted(did(ran, "confirm")) == ["h1", "h3", "h4", "h5", "h6"]


def test_a_run_once_result_is_known_to_all_hosts_of_the_batch_and_to_no_other(play: Play) -> None:
    once = {"name": "gate", "ansible.builtin.debug": {"msg": "x"}, "run_once": True, "register": "gate"}
    tasks = [once, say("knows", when="gate.msg is defined")]
    ran = play(a_play(*tasks, serial=2), hosts=HOSTS)
    assert did(ran, "gate") == ["h1", "h3", "h5"], ran.text
    assert did(ran, "knows") == HOSTS


def test_facts_of_the_controller_reach_the_keywords_of_later_plays(play: Play) -> None:
    fact = {"ansible.builtin.set_fact": {"order": ["h6", "h1", "h2"], "sizes": [2, 1]}}
    first = a_play({**fact, "run_once": True, "delegate_to": "localhost", "delegate_facts": True})
    keywords = {"hosts": "{{ hostvars['localhost'].order }}", "serial": "{{ hostvars['localhost'].sizes }}"}
    told = {"ansible.builtin.debug": {"msg": "{{ ansible_play_batch | join }}"}}
    ran = play(first, a_play(told, **keywords), hosts=HOSTS)
    assert said(ran) == {"h6": "h6h1", "h1": "h6h1", "h2": "h2"}, "hosts keep the order of the list"


def test_hosts_that_ansible_dropped_are_missing_from_the_batch_but_not_from_all(play: Play) -> None:
    told = {"ansible.builtin.debug": {"msg": "{{ ansible_play_batch | join }} {{ ansible_play_hosts_all | length }}"}}
    ran = play(a_play(TOUCH, told, vars={"dead": ["h1"]}), hosts=HOSTS)
    assert said(ran) == dict.fromkeys(HOSTS[1:], "h2h3h4h5h6 6"), ran.text


def test_files_included_one_host_at_a_time_run_one_after_the_other_in_the_order_of_hosts(play: Play) -> None:
    """Turns: every host includes its own, and without ``throttle`` that of a fast worker would come first."""
    turns = [{"index": 0, "hosts": ["h5", "h6"]}, {"index": 1, "hosts": ["h1"]}, {"index": 2, "hosts": ["h2", "h3"]}]
    of: Result = {}
    for turn in turns:
        for name in t.cast("list[str]", turn["hosts"]):
            of.setdefault(hashlib.sha256(name.encode()).hexdigest()[:2], {})[name] = [turn["index"]]
    work: list[Result] = [{"block": [FAIL_BAD, say("commit")], "rescue": [say("restore")]}]
    gate = {"name": "gate", "ansible.builtin.debug": {"msg": "x"}, "run_once": True, "register": "gate"}
    (play.folder / "turn.json").write_text(json.dumps([{"throttle": 0, "block": [gate, *work]}]))
    include = {
        "ansible.builtin.include_tasks": "turn.json",
        # the first worker answers last
        "loop": "{{ (lookup('pipe', 'sleep 0.3') if inventory_hostname == 'h5' else '') or"
        " of[(inventory_hostname | hash('sha256'))[:2]][inventory_hostname] | default([]) | map('extract', turns) }}",
        "loop_control": {"loop_var": "turn"},
    }
    hosts = ["h5", "h6", "h1", "h2", "h3", "h4"]
    first = a_play({"ansible.builtin.set_fact": {"order": hosts}, "run_once": True})
    tasks = [{"throttle": 1, "block": [include]}, say("after", when="gate.msg is defined")]
    second = a_play(*tasks, hosts="{{ hostvars['h1'].order }}", vars={"bad": ["h6", "h2"], "turns": turns, "of": of})
    ran = play(first, second, hosts=HOSTS)
    assert did(ran, "commit") == ["h5", "h1", "h3"], ran.text
    assert did(ran, "restore") == ["h6", "h2"]
    assert did(ran, "gate") == ["h5", "h1", "h2"], "once for each turn"
    assert sorted(did(ran, "after")) == HOSTS, "what ran once is known to all"
    gates = [match.start() for match in re.finditer(r"^TASK \[gate\]", ran.text, flags=re.M)]
    ends = [match.start() for match in re.finditer(r"^TASK \[(commit|restore)\]", ran.text, flags=re.M)]
    assert gates[0] < ends[0] < ends[1] < gates[1] < ends[2] < gates[2] < ends[3] < ends[4], ran.text
    assert ran.rc == 0


def test_group_variables_are_not_seen_by_keywords_of_a_play(play: Play) -> None:
    """``serial`` comes from the controller's facts because variables of a group or host are not there for it."""
    fact = {"ansible.builtin.set_fact": {"sizes": [1, 5]}}
    ran = play(a_play(fact), a_play(say("batch"), serial="{{ sizes | default([6]) }}"), hosts=HOSTS)
    assert len(re.findall(r"^TASK \[batch\]", ran.text, flags=re.M)) == 1, ran.text
