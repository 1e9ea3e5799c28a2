"""The stub engine/planish/_core.pyi describes the native module: the same names, the same parameters."""

from __future__ import annotations

import ast
import re
from importlib.resources import files
from typing import Any

from planish import _core

#: Special methods, which pybind11 adds to more classes than mean them: checked by use.
SPECIAL = {"__buffer__", "__call__", "__init__", "__len__"}


def parameters(node: ast.FunctionDef) -> list[tuple[str, bool]]:
    """(name, whether it has a default) of each parameter that is passed by name."""
    defaults = [False] * (len(node.args.args) - len(node.args.defaults)) + [True] * len(node.args.defaults)
    return [(a.arg, d) for a, d in zip(node.args.args, defaults, strict=True)]


def described(body: list[ast.stmt], prefix: str = "") -> dict[str, list[tuple[str, bool]] | None]:
    """The public names of the stub; for functions their parameters, for everything else None."""
    names: dict[str, list[tuple[str, bool]] | None] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            is_property = any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)
            names[prefix + node.name] = None if is_property else parameters(node)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            names[prefix + node.name] = None
            names |= described(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id[0] != "_":
            names[prefix + node.target.id] = None
    return names


def split_parameters(text: str) -> list[str]:
    """Splits at the commas outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [p.strip() for p in parts if p.strip()]


def signature(function: Any) -> list[tuple[str, bool]]:
    """The parameters of a native function, from the first line of its docstring, as pybind11 writes it."""
    match = re.match(r"\w+\((.*)\)(?: -> .*)?$", function.__doc__.splitlines()[0])
    assert match, function.__doc__
    found = []
    for part in split_parameters(match[1]):
        name, _, rest = part.partition(":")
        found.append((name.strip(), " = " in rest))
    return found


def existing(owner: Any, prefix: str = "") -> dict[str, list[tuple[str, bool]] | None]:
    names: dict[str, list[tuple[str, bool]] | None] = {}
    for name, value in vars(owner).items():
        if name.startswith("_"):
            continue
        if isinstance(value, staticmethod):
            value = value.__func__
        if isinstance(value, type):
            names[prefix + name] = None
            names |= existing(value, f"{prefix}{name}.")
        elif callable(value):
            names[prefix + name] = signature(value)
        else:
            names[prefix + name] = None
    return names


def test_the_stub_names_what_the_module_has() -> None:
    stub = described(ast.parse(files("planish").joinpath("_core.pyi").read_text()).body)
    module = existing(_core)
    special = {name for name in stub if name.rsplit(".", 1)[-1] in SPECIAL}
    assert set(module) - set(stub) == set(), "missing from engine/planish/_core.pyi"
    assert set(stub) - special - set(module) == set(), "not in the native module"
    wrong = {name for name, found in module.items() if found is not None and stub[name] != found}
    assert {n: (stub[n], module[n]) for n in wrong} == {}


def test_special_methods_of_the_stub_exist() -> None:
    memory = _core.Memory.copy_of(b"abc")
    assert (len(memory), bytes(memoryview(memory))) == (3, b"abc")
    assert callable(_core.Call.__call__)
    assert signature(_core.Program.__init__) == [
        ("self", False),
        ("threads", True),
        ("byte_budget", True),
        ("step_budget", True),
    ]
