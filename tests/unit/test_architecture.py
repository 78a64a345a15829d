# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The map of the house (CONTRIBUTING.md), as a rule: which folder may import which, and how large a room may be."""

from __future__ import annotations

import ast
import collections
import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.fleet.ota"
DEVICE = "plugins/module_utils/_device"
CONTROL = "plugins/plugin_utils/_control"
#: From the top down, per engine: a folder imports itself and what stands below it.
FLOORS: dict[str, tuple[str, ...]] = {
    DEVICE: (
        "main",
        "verbs",
        "admission",
        "transaction",
        "records",
        "documents",
        "transfer",
        "kinds",
        "trust",
        "enrolment",
        "system",
        "base",
    ),
    CONTROL: (
        "reports",
        "client",
        "rollout",
        "integrations",
        "approvals",
        "planning",
        "repository",
        "gate",
        "policy",
        "journal",
        "schedule",
        "transports",
        "keys",
        "base",
    ),
}
#: What each part imports beside itself, of the collection. Plugins of Ansible's kinds stand above all of them.
PARTS: dict[str, tuple[str, ...]] = {
    DEVICE: (),
    CONTROL: (f"{DEVICE}/documents",),
    "plugins/plugin_utils/_targets": (CONTROL, f"{DEVICE}/base/protocol", f"{DEVICE}/base/states"),
    "plugins/plugin_utils/_actions": (CONTROL, "plugins/plugin_utils/_targets"),
    "plugins/plugin_utils/_workers": (CONTROL, "plugins/plugin_utils/_targets", "plugins/plugin_utils/_actions"),
}
#: What the control engine may use beside the standard library; requirements.txt gives the bounds.
CONTROL_LIBRARIES = {"apprise", "cronsim", "cryptography", "google", "icalendar", "in_toto_attestation", "jmespath"}
CONTROL_LIBRARIES |= {"paramiko", "recurring_ical_events", "requests", "securesystemslib", "tuf", "urllib3", "yaml"}
#: The device engine uses this one where a device has it.
DEVICE_LIBRARIES = {"cryptography"}
LIBRARIES = {DEVICE: DEVICE_LIBRARIES, CONTROL: CONTROL_LIBRARIES}
#: Ansible finds plugins by the names of files that lie side by side; these folders are as large as the public surface.
SURFACE = ("plugins/modules", "plugins/action")
MODULES_PER_FOLDER, LINES_PER_MODULE = 14, 350
#: How often a part says ``Any`` in 1,000 lines at most: nouns have types, and a value that is not checked is an object.
ANY_PER_1000_LINES: list[tuple[str, float]] = [(DEVICE, 8), (CONTROL, 8)]


def files(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found, f"{folder} is empty; nothing would be checked"
    return found


def imports(path: Path, root: Path = ROOT) -> Iterator[tuple[int, str]]:
    """All modules and names that a file imports, with their line: of the collection as paths, others dotted."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (
                    node.lineno,
                    alias.name.removeprefix(f"{COLLECTION}.").replace(".", "/")
                    if alias.name.startswith(COLLECTION)
                    else alias.name,
                )
        elif isinstance(node, ast.ImportFrom):
            name = node.module or ""
            if node.level:
                parts = [*package[: len(package) - node.level + 1], *(name.split(".") if name else [])]
            elif name.startswith(COLLECTION):
                parts = name.removeprefix(COLLECTION).strip(".").split(".")
            else:
                yield node.lineno, name
                continue
            for alias in node.names:
                yield node.lineno, "/".join([*parts, alias.name])


def under(name: str, *parents: str) -> bool:
    return any(name == parent or name.startswith(parent + "/") for parent in parents)


def room(path: str, engine: str) -> str:
    """The folder (or the module beside the folders) of an engine that ``path`` belongs to."""
    return path.removeprefix(engine).strip("/").split("/")[0]


def problem(source: str, name: str) -> str | None:
    """What is wrong with the import of ``name`` in the file ``source`` (both below the root, without ``.py``)."""
    part = next(part for part in PARTS if under(source, part))
    if under(name, "plugins"):
        if not under(name, part):
            return None if under(name, *PARTS[part]) else f"{part} knows nothing of {name}"
        floors = FLOORS.get(part, ())
        here, there = room(source, part), room(name, part)
        if here == there or not there or not floors:
            return None
        unknown = [one for one in (here, there) if one not in floors]
        if unknown:
            return f"{unknown[0]} has no place in the list of {part}"
        return None if floors.index(here) < floors.index(there) else f"{here} stands below {there}"
    top = name.split(".")[0]
    if part not in LIBRARIES or top in sys.stdlib_module_names or top in LIBRARIES[part]:
        return None
    return f"{part} uses the standard library and {', '.join(sorted(LIBRARIES[part]))}, not {top}"


def problems(folders: Iterable[str], root: Path = ROOT) -> list[str]:
    found = []
    for path in [path for folder in folders for path in files(root / folder)]:
        source = path.relative_to(root).with_suffix("").as_posix()
        for line, name in imports(path, root):
            text = problem(source, name)
            if text:
                found.append(f"{source}.py:{line}: {text}")
    return found


@pytest.mark.parametrize("part", PARTS)
def test_imports_run_down_the_list_only(part: str) -> None:
    assert problems([part]) == []


def test_every_folder_has_its_place() -> None:
    for engine, floors in FLOORS.items():
        here = {path.name for path in (ROOT / engine).iterdir() if path.is_dir() and path.name != "__pycache__"}
        here |= {path.stem for path in (ROOT / engine).glob("*.py") if path.stem != "__init__"}
        assert here == set(floors)
    known = {Path(part).name for part in PARTS if part.startswith("plugins/plugin_utils")}
    assert {path.name for path in (ROOT / "plugins/plugin_utils").iterdir() if path.name != "__pycache__"} == known


def test_no_circle_of_modules() -> None:
    """Also not behind TYPE_CHECKING: who needs a type of a module that needs this one has cut it in the wrong place."""
    names = {path.relative_to(ROOT).with_suffix("").as_posix() for path in files(ROOT / "plugins")}
    arrows: dict[str, set[str]] = collections.defaultdict(set)
    for name in names:
        for _line, target in imports(ROOT / f"{name}.py"):
            arrows[name].update(one for one in (target, target.rpartition("/")[0]) if one in names and one != name)
    left = dict(arrows)
    while left:
        ends = [name for name in left if not left[name] & left.keys()]
        assert ends, "a circle among " + ", ".join(sorted(left))
        for name in ends:
            del left[name]


def test_a_folder_is_seen_at_a_glance() -> None:
    sizes = collections.Counter(path.parent for path in files(ROOT / "plugins") if path.stem != "__init__")
    large = {str(folder.relative_to(ROOT)): size for folder, size in sizes.items() if size > MODULES_PER_FOLDER}
    assert sorted(large) == sorted(SURFACE)


def test_a_folder_says_what_it_is() -> None:
    """In one sentence, where a reader of the tree looks first."""
    for folder in {path.parent for engine in PARTS for path in files(ROOT / engine)}:
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))
        assert text and text.partition("\n")[0].rstrip(".") != "", folder


def test_a_module_is_read_in_one_go() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in files(ROOT / "plugins")
        if (lines := path.read_text("utf-8").count("\n")) > LINES_PER_MODULE
    }
    assert long == {}


def count_any(text: str) -> int:
    """How often a module names ``Any``, in annotations that are quoted too."""
    count = 0
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name):
            count += node.id == "Any"
        elif isinstance(node, ast.Attribute):
            count += node.attr == "Any"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "Any" in node.value:
            with contextlib.suppress(SyntaxError):  # a sentence
                count += count_any(node.value)
    return count


@pytest.mark.parametrize(("part", "most"), ANY_PER_1000_LINES)
def test_nouns_have_types(part: str, most: float) -> None:
    texts = {path: path.read_text("utf-8") for path in files(ROOT / part)}
    counts = {str(path.relative_to(ROOT)): count for path, text in texts.items() if (count := count_any(text))}
    lines = sum(text.count("\n") for text in texts.values())
    assert 1000 * sum(counts.values()) / lines <= most, sorted(counts.items(), key=lambda pair: -pair[1])[:10]


def test_any_is_counted_wherever_it_stands() -> None:
    text = "import typing as t\nfrom typing import Any\na: t.Any = t.cast('list[t.Any]', Any)\n'''Not Any.'''\n"
    assert count_any(text) == 3


def test_one_place_knows_what_an_event_of_the_journal_means() -> None:
    """Nothing else of the controller's side compares with, or reads, the key ``event`` of a record."""
    owners = {f"{CONTROL}/journal/state.py", f"{CONTROL}/journal/record.py"}
    # ansible-runner's events have a key of this name too
    owners.add("plugins/plugin_utils/_workers/stream.py")
    # the argument of a task that says which event it records
    owners.add("plugins/plugin_utils/_actions/records/entries.py")
    readers = {
        f"{path.relative_to(ROOT)}: {ast.unparse(node)}"
        for folder in ("plugins/plugin_utils", "plugins/callback")
        for path in files(ROOT / folder)
        if str(path.relative_to(ROOT)) not in owners
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if reads_event(node)
    }
    assert readers == set()


def reads_event(node: ast.AST) -> bool:
    """Whether ``node`` is ``x["event"]``, ``x.get("event")``, or a comparison with the name of an event."""
    match node:
        case ast.Subscript(slice=ast.Constant(value="event"), ctx=ast.Load()):
            return True
        case ast.Call(func=ast.Attribute(attr="get" | "pop"), args=[ast.Constant(value="event"), *_]):
            return True
        case ast.Compare():
            names = re.compile(r"(rollout|wave|slice|device|audit|notify)\.[a-z]+")
            return any(
                isinstance(part, ast.Constant)
                and isinstance(part.value, str)
                and names.fullmatch(part.value) is not None
                for side in (node.left, *node.comparators)
                for part in ast.walk(side)
            )
    return False


@pytest.mark.parametrize(
    ("line", "reads"),
    [
        ("record['event']", True),
        ("record.get('event')", True),
        ("kind == 'wave.ended'", True),
        ("kind in ('wave.started', 'wave.ended')", True),
        ("entry = {'event': kind}", False),
        ("book.append('wave.ended')", False),
        ("entry['event'] = kind", False),
    ],
)
def test_what_reads_an_event(line: str, reads: bool) -> None:
    assert any(map(reads_event, ast.walk(ast.parse(line)))) is reads


@pytest.mark.parametrize(
    ("source", "line", "allowed"),
    [
        (f"{DEVICE}/system", "import os.path", True),
        (f"{DEVICE}/system", "from ansible.errors import AnsibleError", False),
        (f"{DEVICE}/system", "import yaml", False),
        (f"{DEVICE}/trust", "from cryptography.hazmat.primitives import hashes", True),
        (f"{DEVICE}/system", "from ..base import errors", True),
        (f"{DEVICE}/base", "from ..system import durable", False),
        (f"{DEVICE}/kinds/checks", "from ...system.units import show", True),
        (f"{DEVICE}/kinds/checks", "from ....plugin_utils._control.planning import plan", False),
        (f"{DEVICE}/elsewhere", "from ..base import errors", False),
        (f"{CONTROL}/gate", "import json", True),
        (f"{CONTROL}/gate", "from tuf.api import metadata", True),
        (f"{CONTROL}/gate", "from ansible.utils.display import Display", False),
        (f"{CONTROL}/gate", "import ansible", False),
        (f"{CONTROL}/gate", "from ..journal import journal", True),
        (f"{CONTROL}/journal", "from ..gate import decision", False),
        (f"{CONTROL}/policy", "from ....module_utils._device.documents import policy", True),
        (f"{CONTROL}/policy", "from ....module_utils._device.documents.policy import parse", True),
        (f"{CONTROL}/policy", f"from {COLLECTION}.plugins.module_utils._device.documents import policy", True),
        (f"{CONTROL}/policy", "from ....module_utils._device import trust", False),
        (f"{CONTROL}/policy", "from ....module_utils import _device", False),
        (f"{CONTROL}/policy", "from ..._targets import updater", False),
        ("plugins/plugin_utils/_targets", "from .._control.journal import journal", True),
        ("plugins/plugin_utils/_targets", "from .._actions import device", False),
    ],
)
def test_the_rule_itself(tmp_path: Path, source: str, line: str, allowed: bool) -> None:
    path = tmp_path / source / "example.py"
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n")
    assert (problems([source], tmp_path) == []) is allowed


def test_one_place_of_the_device_engine_walks_and_removes_trees() -> None:
    """By descriptor: whatever else does it by path follows what others exchange meanwhile."""
    allowed = (f"{DEVICE}/system/files/", f"{DEVICE}/system/overlay.py")
    names = {"rmtree", "walk", "removedirs", "copytree"}
    uses = {
        f"{path.relative_to(ROOT)}: {ast.unparse(node)}"
        for path in files(ROOT / DEVICE)
        if not str(path.relative_to(ROOT)).startswith(allowed)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in names and ast.unparse(node.value) in ("os", "shutil")
    }
    assert uses == set()


#: What opens or reads a repository, and the files that may call it.
OPENERS: dict[str, set[str]] = {
    "Repository": set(),
    "Session": set(),
    "from_pin": {"plugins/plugin_utils/_actions/repository.py"},
    "Store": {f"{CONTROL}/repository/metadata/session.py"},
    "prepare": {"plugins/plugin_utils/_actions/repository.py", f"{CONTROL}/client/renewal.py"},
    "DirectoryFetcher": {f"{CONTROL}/repository/metadata/store.py", f"{CONTROL}/client/updater.py"},
    "HttpFetcher": {f"{CONTROL}/client/updater.py", f"{CONTROL}/client/bundle.py"},
}


def opens(node: ast.AST) -> str | None:
    """Which of :data:`OPENERS` the call ``node`` is; None for anything else."""
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in OPENERS:
            return name
        case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in OPENERS:
            # an edit and a layout are prepared, too
            return None if name == "prepare" and ast.unparse(owner) != "updater" else name
    return None


def test_one_place_opens_a_repository() -> None:
    """By its pinned root: whatever opened one otherwise could forget it."""
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("plugins/action", "plugins/plugin_utils", "plugins/callback")
        for path in files(ROOT / folder)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (name := opens(node)) is not None and str(path.relative_to(ROOT)) not in OPENERS[name]
    }
    assert found == set()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Repository(place)", "Repository"),
        ("repository.Repository(place, trust_root=None)", "Repository"),
        ("Repository.from_pin(place, pin)", "from_pin"),
        ("updater.prepare(repository=place)", "prepare"),
        ("edit.prepare()", None),
        ("Repositories()", None),
    ],
)
def test_what_opens_a_repository(line: str, name: str | None) -> None:
    assert [one for one in map(opens, ast.walk(ast.parse(line))) if one] == ([name] if name else [])


def test_no_playbook_hands_the_trust_root_to_a_task() -> None:
    """It is read where the repository is opened; the role that pins it on devices is handed it."""
    told = [path.name for path in (ROOT / "playbooks").rglob("*.yml") if " trust_root:" in path.read_text("utf-8")]
    assert told == []
