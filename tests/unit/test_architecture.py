# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The arrows between the parts (docs/reference): they run one way, and this is where that is checked."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEVICE = ROOT / "plugins" / "module_utils" / "_device"
CONTROL = ROOT / "plugins" / "plugin_utils" / "_control"
COLLECTION = "ansible_collections.fleet.ota"
#: The documents that both sides read, and so read alike.
SHARED = ("release", "policy", "approval")
#: What the control engine may use beside the standard library; requirements.txt gives the bounds.
CONTROL_LIBRARIES = {"apprise", "cronsim", "cryptography", "google", "icalendar", "in_toto_attestation", "jmespath"}
CONTROL_LIBRARIES |= {"paramiko", "recurring_ical_events", "requests", "securesystemslib", "tuf", "urllib3", "yaml"}


def imports(path: Path, root: Path = ROOT) -> Iterator[tuple[int, str]]:
    """All modules that a file imports, with their line, relative ones under their full name."""
    package = ".".join((COLLECTION, *path.relative_to(root).parent.parts))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def under(name: str, *parents: str) -> bool:
    return any(name == parent or name.startswith(parent + ".") for parent in parents)


def device_problem(name: str) -> str | None:
    if under(name, f"{COLLECTION}.plugins.module_utils._device"):
        return None
    if name.split(".")[0] in sys.stdlib_module_names:
        return None
    # The one library that a device may have and that is used when it is there.
    if under(name, "cryptography"):
        return None
    return f"{name}: the device engine uses the standard library and itself, nothing else"


def control_problem(name: str) -> str | None:
    device = f"{COLLECTION}.plugins.module_utils._device"
    if under(name, *(f"{device}.{part}" for part in SHARED)) or under(
        name, f"{COLLECTION}.plugins.plugin_utils._control"
    ):
        return None
    if name.split(".")[0] in sys.stdlib_module_names | CONTROL_LIBRARIES:
        return None
    return f"{name}: the control engine never imports Ansible, and of the device engine only the documents"


def problems(folder: Path, judge: object) -> list[str]:
    assert callable(judge)
    found = []
    for path in sorted(folder.rglob("*.py")):
        for line, name in imports(path):
            problem = judge(name)
            if problem:
                found.append(f"{path.relative_to(ROOT)}:{line}: {problem}")
    return found


@pytest.mark.parametrize(
    ("folder", "judge"), [(DEVICE, device_problem), (CONTROL, control_problem)], ids=["device", "control"]
)
def test_engines_import_only_what_they_may(folder: Path, judge: object) -> None:
    assert list(folder.rglob("*.py")), f"{folder} is empty; nothing would be checked"
    assert problems(folder, judge) == []


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("import os.path", True),
        ("from ansible.errors import AnsibleError", False),
        ("import yaml", False),
        ("from . import errors", True),
        ("from .checks import http", True),
        ("from ...plugin_utils._control import plan", False),
        ("from cryptography.hazmat.primitives import hashes", True),
    ],
)
def test_the_device_rule_itself(tmp_path: Path, line: str, allowed: bool) -> None:
    assert (device_problem(_one_import(tmp_path, "module_utils/_device", line)) is None) is allowed


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("import json", True),
        ("from tuf.api import metadata", True),
        ("from ansible.utils.display import Display", False),
        ("import ansible", False),
        ("from . import journal", True),
        ("from ...module_utils._device import release", True),
        ("from ...module_utils._device.release import parse", True),
        ("from ...module_utils._device import policy", True),
        ("from ...module_utils._device import trust", False),
        ("from ...module_utils import _device", False),
    ],
)
def test_the_control_rule_itself(tmp_path: Path, line: str, allowed: bool) -> None:
    assert (control_problem(_one_import(tmp_path, "plugin_utils/_control", line)) is None) is allowed


def _one_import(root: Path, folder: str, line: str) -> str:
    path = root / "plugins" / folder / "example.py"
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n")
    [(_line, name)] = imports(path, root)
    return name
