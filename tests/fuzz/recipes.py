"""Mutated recipes: text and structure of the ones that come with planish, resolved on a small model."""

from __future__ import annotations

import importlib.resources
import json
import re

import planish
from planish.compress.recipe import parse_recipe, recipe_names
from tests.fuzz import corpus
from tests.fuzz.case import Case, Reach, Rng, chance, pick
from tests.fuzz.plans import flipped

_WORDS = ("version", "rules", "match", "op", "name", "position", "prune", "sparsity", "pattern", "scope", "score",
          "weights", "activations", "keep", "calibration", "method", "percentile", "samples", "codebook", "per",
          '"int8"', '"int4"', '"float"', '"uint8"', '"dynamic"', '"16x4"', '"1x4"', '"2:4"', '"0:0"', '"9:4"',
          '"element"', '"global"', '"layer"', '"magnitude*norm"', '"auto"', "[[rules]]", "[rules]", "= ", "{", "}", "[",
          "]", "0", "1", "-1", "0.5", "1.0", "2", "1e400", "nan", "inf", "99999999999999999999", "true", '""', '"*"',
          '"["', "1979-05-27", "\n", "#", '"\\u0000"')  # fmt: skip


class Recipes:
    """Reads a recipe that a stranger wrote, and compresses a small model by it where it can be read."""

    name = "recipes"
    stages = ("parsed", "resolved", "compressed")

    def __init__(self) -> None:
        folder = importlib.resources.files("planish.compress") / "recipes"
        self.texts = [(folder / f"{name}.toml").read_text() for name in recipe_names()]

    def make(self, rng: Rng) -> Case:
        text = pick(rng, self.texts)
        if chance(rng, 0.1):
            return Case(flipped(rng, text.encode()), ".toml")
        for _ in range(int(rng.geometric(0.5))):
            text = _mutated(rng, text)
        return Case(text.encode(), ".toml")

    def run(self, case: Case, rng: Rng, reach: Reach) -> None:
        text = case.data.decode("utf-8", errors="replace")
        recipe = parse_recipe(text, "fuzzed")
        reach("parsed")
        model = corpus.uncompressed()
        planish.compress(model, recipe=recipe, dry_run=True)
        reach("resolved")
        if chance(rng, 0.2):
            planish.compress(model, recipe=recipe, calibration="random", samples=2)
            reach("compressed")


def _mutated(rng: Rng, text: str) -> str:
    """A token or line replaced, removed, doubled or moved."""
    pieces = re.split(r"(\s+|[\[\]{}=,])", text) if chance(rng, 0.7) else text.splitlines(keepends=True)
    i, j = (int(n) for n in rng.integers(len(pieces), size=2))
    kind = int(rng.integers(5))
    if kind < 2:
        pieces[i] = pick(rng, _WORDS)
    elif kind == 2:
        del pieces[i]
    elif kind == 3:
        pieces.insert(j, pieces[i])
    else:
        pieces[i], pieces[j] = pieces[j], json.dumps(pieces[i]) if chance(rng, 0.1) else pieces[i]
    return "".join(pieces)
