# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every way in which one check can be left out of, or turned around in, a module."""

from __future__ import annotations

import ast
import dataclasses
import types
import typing as t
from collections import Counter
from pathlib import Path

_OTHER: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change: ``lines`` are touched by it, tests that reach one of ``sharp`` probably notice it.

    ``quick`` ones leave something out as a whole; the others turn a condition or move a limit.
    """

    path: Path
    name: str
    quick: bool
    function: str
    lines: frozenset[int]
    sharp: frozenset[int]
    code: types.CodeType


def of(path: Path, label: str) -> list[Mutant]:
    """All mutants of the functions in a module; ``label`` names the module in their names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: list[Mutant] = []
    seen: Counter[str] = Counter()
    for function, qualname in _functions(tree):
        for place, before, after, sharp in _changes(function):
            original = place.get()
            name = f"{label} {qualname}: {_short(before)} -> {_short(after)}"
            seen[name] += 1
            if seen[name] > 1:
                name = f"{name} #{seen[name]}"
            place.set(after)
            ast.fix_missing_locations(tree)
            code = _code(compile(tree, str(path), "exec"), qualname)
            place.set(original)
            lines = {node.lineno for node in ast.walk(before) if hasattr(node, "lineno")}
            quick = isinstance(after, (ast.Pass, ast.Return)) or _is(after, False)
            found.append(Mutant(path, name, quick, qualname, frozenset(lines), frozenset(sharp), code))
    return found


@dataclasses.dataclass
class Place:
    """Where a node hangs in the tree."""

    parent: ast.AST
    field: str
    index: int | None

    def get(self) -> t.Any:
        """The node that hangs there."""
        value = getattr(self.parent, self.field)
        return value if self.index is None else value[self.index]

    def set(self, node: t.Any) -> None:
        """Hang another node there."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


Change = tuple[Place, ast.AST, ast.AST, set[int]]


def _functions(tree: ast.Module) -> t.Iterator[tuple[Function, str]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node, node.name
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield inner, f"{node.name}.{inner.name}"


def _places(node: ast.AST) -> t.Iterator[tuple[Place, ast.AST]]:
    """Every node below, with its place; annotations, decorators and defaults are not code that runs."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST):
                yield Place(node, field, index), child
                yield from _places(child)


def _changes(function: Function) -> t.Iterator[Change]:
    for place, node in _places(function):
        if isinstance(node, (ast.If, ast.While, ast.IfExp)):
            body = node.body[0] if isinstance(node.body, list) else node.body
            test = Place(node, "test", None)
            for value in (False, True):
                if not (isinstance(node, ast.While) and value):
                    yield test, node.test, ast.Constant(value), {body.lineno} if not value else set()
        elif isinstance(node, ast.Compare) and len(node.ops) == 1:
            changed = ast.Compare(node.left, [_OTHER[type(node.ops[0])]()], node.comparators)
            yield place, node, ast.copy_location(changed, node), set()
        elif isinstance(node, ast.BoolOp):
            for index in range(len(node.values)):
                rest = node.values[:index] + node.values[index + 1 :]
                without = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
                yield place, node, without, set()
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield place, node, node.operand, set()
        elif isinstance(node, (ast.Raise, ast.Break, ast.Continue)) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        ):
            yield place, node, ast.Pass(), {node.lineno}
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, bool):
                yield place, node, ast.Return(ast.Constant(not node.value.value)), {node.lineno}
        elif isinstance(node, ast.Return) and isinstance(node.value, (ast.Compare, ast.BoolOp, ast.Call)):
            yield place, node, ast.Return(ast.Constant(True)), {node.lineno}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("all", "any"):
            other = ast.Name("any" if node.func.id == "all" else "all", ast.Load())
            yield Place(node, "func", None), node.func, other, set()
            yield place, node, ast.Constant(node.func.id == "all"), set()
        elif isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool):
            yield place, node, ast.Constant(node.value + 1), set()


def _is(node: ast.AST, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else text[:87] + "..."


def _code(module: types.CodeType, qualname: str) -> types.CodeType:
    found = module
    for name in qualname.split("."):
        found = next(one for one in found.co_consts if isinstance(one, types.CodeType) and one.co_name == name)
    return found
