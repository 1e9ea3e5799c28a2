"""Recipes: what is to be done to which layer. TOML, strict, versioned; the last match wins key by key."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import importlib.resources
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from planish.compress.graph import LAYER_OPS, Layer
from planish.compress.ranges import METHODS
from planish.errors import RecipeError

VERSION = 1
PATTERNS = ("element", "1x4", "16x4")
SCORES = ("magnitude", "magnitude*norm", "random")
ACTIVATIONS = ("float", "uint8", "int8", "dynamic")

#: The largest recipe file that is read, in bytes.
_LARGEST_FILE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Prune:
    """Which weights of a layer become zero."""

    #: A rate in [0, 1), "auto", or None where `threshold` or an N:M pattern decides.
    sparsity: float | Literal["auto"] | None = None
    #: Weights (or blocks' root mean squares) below this magnitude become zero.
    threshold: float | None = None
    #: "element", "1x4", "16x4", or "N:M": N of M consecutive inputs are kept.
    pattern: str = "element"
    #: "layer": the rate holds in each layer; "global": over all layers of this scope together.
    scope: Literal["layer", "global"] = "layer"
    score: str = "magnitude"

    @property
    def n_of_m(self) -> tuple[int, int] | None:
        """(N, M) of an N:M pattern."""
        found = re.fullmatch(r"(\d+):(\d+)", self.pattern)
        return (int(found[1]), int(found[2])) if found else None


@dataclasses.dataclass(frozen=True)
class Weights:
    """How the weights of a layer are stored."""

    kind: Literal["float", "int", "codebook"] = "float"
    bits: int = 32
    #: Inputs that share a scale (int); 0: one scale an output channel.
    block: int = 0
    #: Output channels that share a codebook; 0: one for the tensor.
    group: int = 0

    @property
    def stored_bits(self) -> int:
        """Bits of a stored element in ONNX, which has no type of three."""
        return 4 if self.bits == 3 else self.bits

    @property
    def opset(self) -> int:
        """The lowest ONNX opset that has the form's types and attributes."""
        if self.stored_bits == 2:
            return 25
        return 21 if self.stored_bits == 4 or (self.kind == "int" and self.block) else 13

    def __str__(self) -> str:
        if self.kind == "float":
            return "float32"
        if self.kind == "int":
            return f"int{self.bits}" + (f"/{self.block}" if self.block else "")
        return f"codebook{self.bits}" + (f"/{self.group}" if self.group else "")


@dataclasses.dataclass(frozen=True)
class LayerSpec:
    """What is to be done to one layer."""

    prune: Prune | None = None
    weights: Weights = dataclasses.field(default_factory=Weights)
    activations: str = "float"
    #: Why the layer stays as it is; None where it does not.
    keep: str | None = None

    @property
    def touched(self) -> bool:
        """Whether anything is done to the layer."""
        return self.keep is None and (
            self.prune is not None or self.weights.kind != "float" or self.activations != "float"
        )

    def kept(self, why: str) -> LayerSpec:
        """The same layer left in float, for the reason `why`."""
        return dataclasses.replace(self, keep=why)


@dataclasses.dataclass(frozen=True)
class Rule:
    """One entry of `rules`: which layers, and the keys it sets."""

    number: int
    ops: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def matches(self, layer: Layer, index: int, count: int) -> bool:
        """Whether the rule speaks of `layer`, the `index`-th of `count`."""
        if self.ops and layer.op not in self.ops:
            return False
        if self.names and not any(fnmatch.fnmatchcase(layer.name, name) for name in self.names):
            return False
        places = {"first": index == 0, "last": index == count - 1}
        return not self.positions or any(places[position] for position in self.positions)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A whole recipe, checked."""

    name: str
    rules: tuple[Rule, ...]
    method: str = "mse"
    percentile: float = 99.99
    samples: int | None = None
    agreement: float = 0.95
    #: Whether matrix products of two activations, as in attention, run in integers too.
    products: bool = False
    bias_correction: bool = True

    @property
    def opset(self) -> int:
        """The lowest ONNX opset that has the types and operators of every form the recipe may write."""
        forms = [_weights("weights", rule.settings["weights"]) for rule in self.rules if "weights" in rule.settings]
        return max((form.opset for form in forms), default=13)

    def resolve(self, layers: Sequence[Layer]) -> dict[str, LayerSpec]:
        """What is done to each layer, by name. Raises RecipeError where a rule matches nothing."""
        settings: dict[str, dict[str, Any]] = {layer.name: {} for layer in layers}
        for rule in self.rules:
            matched = [layer for i, layer in enumerate(layers) if rule.matches(layer, i, len(layers))]
            if not matched:
                raise RecipeError(self._nothing_matches(rule, layers))
            for layer in matched:
                _merge(settings[layer.name], rule.settings)
        return {name: _spec(f"recipe '{self.name}', layer '{name}'", found) for name, found in settings.items()}

    def _nothing_matches(self, rule: Rule, layers: Sequence[Layer]) -> str:
        where = f"recipe '{self.name}', rule {rule.number}"
        if not layers:
            return f"{where}: the model has no layer with constant weights; there is nothing to compress"
        names = [layer.name for layer in layers]
        near = [close for name in rule.names for close in difflib.get_close_matches(name, names, 3, 0.0)]
        wanted = ", ".join([*rule.names, *rule.ops, *rule.positions])
        remedy = f"the nearest are {', '.join(near)}" if near else f"its operators are {', '.join(_ops(layers))}"
        return f"{where}: no layer matches {wanted}; {remedy}"


def _ops(layers: Sequence[Layer]) -> list[str]:
    return sorted({layer.op for layer in layers})


def recipe_names() -> list[str]:
    """The recipes that come with planish."""
    folder = importlib.resources.files("planish.compress") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(recipe: str | os.PathLike[str] | Recipe) -> Recipe:
    """A recipe by name, from a TOML file, or from TOML text (which has a line break). Raises RecipeError."""
    if isinstance(recipe, Recipe):
        return recipe
    text = str(recipe)
    if "\n" in text:
        return parse_recipe(text, "text")
    if text in recipe_names():
        shipped = importlib.resources.files("planish.compress") / "recipes" / f"{text}.toml"
        return parse_recipe(shipped.read_text("utf-8"), text)
    path = Path(text)
    if not path.is_file():
        near = difflib.get_close_matches(text, recipe_names(), 1) or recipe_names()
        raise RecipeError(f"recipe '{text}': neither a known name nor a file; try {', '.join(near)}")
    if path.stat().st_size > _LARGEST_FILE:
        raise RecipeError(f"{path}: too large for a recipe; give a TOML file")
    try:
        return parse_recipe(path.read_text("utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}; give a TOML file in UTF-8") from error


def parse_recipe(text: str, name: str) -> Recipe:
    """Parse and check the text of a recipe. Raises RecipeError naming the key that is wrong."""
    where = f"recipe '{name}'"
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecipeError(f"{where}: not TOML: {error}; correct the syntax") from error
    _known(where, table, ("version", "calibration", "goal", "correct", "products", "rules"))
    if table.get("version") != VERSION:
        raise RecipeError(f"{where}: version is {table.get('version')!r}; this planish reads version = {VERSION}")
    calibration = _table(where, table, "calibration", ("method", "percentile", "samples"))
    goal = _table(where, table, "goal", ("agreement",))
    correct = _table(where, table, "correct", ("bias",))
    rules = table.get("rules")
    if not isinstance(rules, list) or not rules or not all(isinstance(rule, dict) for rule in rules):
        raise RecipeError(f"{where}: has no rules; add [[rules]]")
    samples = calibration.get("samples")
    return Recipe(
        name=name,
        rules=tuple(_rule(f"{where}, rule {i}", i, rule) for i, rule in enumerate(rules, 1)),
        method=_choice(where, "calibration.method", calibration.get("method", "mse"), METHODS),
        percentile=_number(where, "calibration.percentile", calibration.get("percentile", 99.99), 50.0, 100.0),
        samples=None if samples is None else int(_number(where, "calibration.samples", samples, 1, 1e9, int)),
        agreement=_number(where, "goal.agreement", goal.get("agreement", 0.95), 0.0, 1.0),
        products=_choice(where, "products", table.get("products", "float"), ("float", "uint8")) == "uint8",
        bias_correction=_boolean(where, "correct.bias", correct.get("bias", True)),
    )


def _rule(where: str, number: int, table: Mapping[str, Any]) -> Rule:
    _known(where, table, ("match", "prune", "weights", "activations", "keep"))
    match = _table(where, table, "match", ("op", "name", "position"))
    if not match:
        raise RecipeError(f"{where}: matches nothing in particular; add match = {{op = [...]}} or name or position")
    settings = {key: value for key, value in table.items() if key != "match"}
    if not settings:
        raise RecipeError(f"{where}: changes nothing; add prune, weights, activations or keep")
    ops = _strings(where, "match.op", match.get("op", []))
    for op in ops:
        _choice(where, "match.op", op, LAYER_OPS)
    positions = _strings(where, "match.position", match.get("position", []))
    for position in positions:
        _choice(where, "match.position", position, ("first", "last"))
    _spec(where, settings, partial=True)
    return Rule(number, ops, _strings(where, "match.name", match.get("name", [])), positions, settings)


def _merge(into: dict[str, Any], settings: Mapping[str, Any]) -> None:
    """Set the keys of `settings`; the keys of a `prune` table one by one."""
    for key, value in settings.items():
        if key == "prune" and isinstance(value, Mapping) and isinstance(into.get(key), Mapping):
            merged = {**into[key], **value}
            if "threshold" in value:
                merged.pop("sparsity", None)
            if "sparsity" in value:
                merged.pop("threshold", None)
            into[key] = merged
        else:
            into[key] = value


def _spec(where: str, settings: Mapping[str, Any], partial: bool = False) -> LayerSpec:
    """The meaning of a layer's merged settings; `partial` settings may lack what another rule gives."""
    prune = settings.get("prune")
    keep = settings.get("keep")
    if keep is not None:
        _choice(where, "keep", keep, ("float", "none"))
    activations = _choice(where, "activations", settings.get("activations", "float"), ACTIVATIONS)
    weights = _weights(where, settings.get("weights", "float"))
    if activations != "float" and weights.kind == "int" and weights.bits != 8 and not partial:
        raise RecipeError(f"{where}: {weights} weights need float activations; use int8 or a codebook")
    if activations in ("uint8", "int8") and weights.kind == "float" and not partial:
        raise RecipeError(f"{where}: {activations} activations need int8 or codebook weights; set weights")
    if activations != "float" and weights.block and not partial:
        raise RecipeError(f"{where}: blocked weights need float activations; drop the block")
    pattern = str(prune.get("pattern", "element")) if isinstance(prune, Mapping) else "element"
    unblockable = weights.group or weights.block or (weights.kind == "int" and weights.bits < 8)
    if "x" in pattern and unblockable and not partial:
        raise RecipeError(f"{where}: {pattern} blocks cannot hold {weights}; use float, int8 or a codebook per tensor")
    return LayerSpec(
        prune=None if prune in (None, "none") else _prune(where, prune, partial),
        weights=weights,
        activations=activations,
        keep="the recipe keeps it" if keep == "float" else None,
    )


def _weights(where: str, value: Any) -> Weights:
    named = {
        "float": Weights(),
        "int8": Weights("int", 8),
        "int4": Weights("int", 4, 32),
        "int2": Weights("int", 2, 16),
    }
    if isinstance(value, str):
        return named[_choice(where, "weights", value, tuple(named))]
    if not isinstance(value, Mapping) or ("int" in value) == ("codebook" in value):
        raise RecipeError(f"{where}: weights is {value!r}; give a name, {{int = 4, block = 32}} or {{codebook = 4}}")
    if "int" in value:
        _known(f"{where}, weights", value, ("int", "block"))
        bits = _choice(where, "weights.int", value["int"], (8, 4, 2))
        block = value.get("block", named[f"int{bits}"].block)
        return Weights("int", bits, int(_number(where, "weights.block", block, 0, 65536, int)))
    _known(f"{where}, weights", value, ("codebook", "per", "group"))
    bits = _choice(where, "weights.codebook", value["codebook"], (8, 4, 3, 2))
    per = _choice(where, "weights.per", value.get("per", "tensor"), ("tensor", "group"))
    if per == "tensor" and "group" in value:
        raise RecipeError(f'{where}: weights.group is for per = "group"; drop it')
    group = int(_number(where, "weights.group", value.get("group", 16), 1, 1 << 20, int)) if per == "group" else 0
    return Weights("codebook", bits, group=group)


def _prune(where: str, value: Any, partial: bool) -> Prune:
    if not isinstance(value, Mapping):
        raise RecipeError(f'{where}: prune is {value!r}; give {{sparsity = 0.5}} or "none"')
    _known(f"{where}, prune", value, ("sparsity", "threshold", "pattern", "scope", "score"))
    pattern = str(value.get("pattern", "element"))
    fixed = re.fullmatch(r"([1-9]\d?):([1-9]\d?)", pattern)
    if fixed is None:
        _choice(where, "prune.pattern", pattern, (*PATTERNS, "N:M"))
    if fixed is not None and int(fixed[1]) >= int(fixed[2]):
        raise RecipeError(f"{where}: prune.pattern {pattern} keeps every weight; N must be below M")
    sparsity, threshold = value.get("sparsity"), value.get("threshold")
    if sparsity is not None and sparsity != "auto":
        sparsity = _number(where, "prune.sparsity", sparsity, 0.0, 1.0)
    if threshold is not None:
        threshold = _number(where, "prune.threshold", threshold, 0.0, 1e30)
    given = sum(choice is not None for choice in (sparsity, threshold, fixed))
    if given > 1 or (given == 0 and not partial):
        raise RecipeError(f"{where}: prune needs exactly one of sparsity, threshold and an N:M pattern")
    return Prune(
        sparsity=sparsity,
        threshold=threshold,
        pattern=pattern,
        scope=_choice(where, "prune.scope", value.get("scope", "layer"), ("layer", "global")),
        score=_choice(where, "prune.score", value.get("score", "magnitude"), SCORES),
    )


def _known(where: str, table: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in table:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1) or list(keys)
            raise RecipeError(f"{where}: unknown key '{key}'; use {', '.join(near)}")


def _table(where: str, table: Mapping[str, Any], key: str, keys: Sequence[str]) -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise RecipeError(f"{where}: {key} is {value!r}; give a table with {', '.join(keys)}")
    _known(f"{where}, {key}", value, keys)
    return value


def _choice(where: str, key: str, value: Any, choices: Sequence[Any]) -> Any:
    if isinstance(value, bool) or value not in choices:
        raise RecipeError(f"{where}: {key} is {value!r}; use one of {', '.join(map(str, choices))}")
    return value


def _number(where: str, key: str, value: Any, least: float, most: float, kind: type = float) -> float:
    allowed = (int,) if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed) or not least <= value <= most:
        raise RecipeError(f"{where}: {key} is {value!r}; give {kind.__name__} from {least:g} to {most:g}")
    return value


def _boolean(where: str, key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise RecipeError(f"{where}: {key} is {value!r}; give true or false")
    return value


def _strings(where: str, key: str, value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(entry, str) for entry in values):
        raise RecipeError(f"{where}: {key} is {value!r}; give a string or a list of strings")
    return tuple(values)
