"""Recipes: strict, versioned, last match wins key by key."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.compress.graph import load_float
from planish.compress.recipe import Weights, load_recipe, parse_recipe, recipe_names
from planish.errors import RecipeError

RULE = '[[rules]]\nmatch = {op = ["Conv", "Gemm"]}\n'


def parse(body: str) -> object:
    return parse_recipe("version = 1\n" + body, "test")


def test_the_shipped_recipes_are_valid_and_match(cnn: onnx.ModelProto) -> None:
    expected = {"codebook", "int4-weights", "int8", "int8-dynamic", "int8-weights", "pruned", "pruned-int8"}
    assert set(recipe_names()) == expected
    layers = load_float(cnn).layers
    for name in recipe_names():
        assert any(spec.touched for spec in load_recipe(name).resolve(layers).values())


def test_last_match_wins_key_by_key(cnn: onnx.ModelProto) -> None:
    recipe = parse_recipe(
        "version = 1\n"
        + RULE
        + 'prune = {sparsity = 0.8, pattern = "1x4"}\nweights = "int8"\nactivations = "uint8"\n'
        + '[[rules]]\nmatch = {name = "ri*"}\nprune = {sparsity = 0.5}\nweights = {codebook = 4}\n'
        + '[[rules]]\nmatch = {position = ["first", "last"]}\nkeep = "float"\n',
        "test",
    )
    specs = recipe.resolve(load_float(cnn).layers)
    right = specs["right"]
    assert right.prune is not None
    assert (right.prune.sparsity, right.prune.pattern) == (0.5, "1x4")
    assert right.weights == Weights("codebook", 4)
    assert right.activations == "uint8"
    assert specs["first"].keep is not None
    assert specs["last"].keep is not None
    assert specs["deep"].keep is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "has no rules"),
        (RULE, "changes nothing"),
        ('[[rules]]\nweights = "int8"\n', "matches nothing in particular"),
        (RULE + 'weigths = "int8"\n', "unknown key 'weigths'; use weights"),
        (RULE + 'weights = "int7"\n', "weights is 'int7'"),
        (RULE + "weights = {codebook = 5}\n", "weights.codebook is 5"),
        (RULE + "weights = {codebook = true}\n", "weights.codebook is True"),
        (RULE + "weights = {codebook = 4, group = 2}\n", "weights.group is for per"),
        (RULE + "prune = {sparsity = 1.5}\n", "prune.sparsity is 1.5"),
        (RULE + 'prune = {sparsity = 0.5, pattern = "4:2"}\n', "N must be below M"),
        (RULE + 'prune = {sparsity = 0.5, pattern = "2:4"}\n', "exactly one of"),
        (RULE + 'prune = {sparsity = 0.5, pattern = "3x3"}\n', "prune.pattern is '3x3'"),
        (RULE + 'prune = {sparsity = 0.5, score = "size"}\n', "prune.score is 'size'"),
        ('[[rules]]\nmatch = {op = "Relu"}\nweights = "int8"\n', "match.op is 'Relu'"),
        ('[[rules]]\nmatch = {position = "middle"}\nweights = "int8"\n', "match.position is 'middle'"),
        ('calibration = {method = "guess"}\n' + RULE + 'weights = "int8"\n', "calibration.method is 'guess'"),
        ("calibration = {samples = 0}\n" + RULE + 'weights = "int8"\n', "calibration.samples is 0"),
        ("version = [", "not TOML"),
    ],
)
def test_mistakes_are_named(body: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("(", r"\(").replace("[", r"\[")):
        parse(body)


def test_another_version_is_refused() -> None:
    with pytest.raises(RecipeError, match="reads version = 1"):
        parse_recipe("version = 2\n" + RULE + 'weights = "int8"\n', "test")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('activations = "uint8"', "activations need int8 or codebook weights"),
        ('weights = "int4"\nactivations = "uint8"', "need float activations"),
        ("prune = {}", "needs exactly one of"),
        ('prune = {sparsity = 0.5, pattern = "16x4"}\nweights = "int4"', "16x4 blocks cannot hold int4"),
    ],
)
def test_settings_that_do_not_go_together(cnn: onnx.ModelProto, settings: str, message: str) -> None:
    recipe = parse_recipe("version = 1\n" + RULE + settings, "test")
    with pytest.raises(RecipeError, match=message):
        recipe.resolve(load_float(cnn).layers)


def test_a_rule_that_matches_nothing_names_the_nearest_layers(cnn: onnx.ModelProto) -> None:
    recipe = parse_recipe('version = 1\n[[rules]]\nmatch = {name = "rigth"}\nweights = "int8"\n', "test")
    with pytest.raises(RecipeError, match="no layer matches rigth; the nearest are right"):
        recipe.resolve(load_float(cnn).layers)
    recipe = parse_recipe('version = 1\n[[rules]]\nmatch = {op = "ConvTranspose"}\nweights = "int8"\n', "test")
    with pytest.raises(RecipeError, match="its operators are Conv, Gemm"):
        recipe.resolve(load_float(cnn).layers)


def test_recipes_come_from_names_files_and_text(tmp_path: Path) -> None:
    text = "version = 1\n" + RULE + 'weights = "int8"\n'
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert load_recipe(path).rules == load_recipe(text).rules
    with pytest.raises(RecipeError, match="neither a known name nor a file; try int8"):
        load_recipe("int88")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(path)


VALUES = st.recursive(
    st.one_of(st.integers(-3, 300), st.booleans(), st.floats(), st.sampled_from(["int8", "2:4", "auto", "16x4", ""])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["int", "codebook", "sparsity", "pattern", "op", "name"]), inner, max_size=3),
    ),
    max_leaves=6,
)


def as_toml(value: object) -> str:
    """`value` as an inline TOML value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["prune", "weights", "activations", "keep", "match"]), VALUES)
def test_any_value_is_a_recipe_or_a_recipe_error(key: str, value: object) -> None:
    match = "" if key == "match" else 'match = {op = "Conv"}\n'
    text = f'version = 1\n[[rules]]\n{match}{key} = {as_toml(value)}\nweights = "int8"\n'
    try:
        recipe = parse_recipe(text, "fuzz")
    except RecipeError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert recipe.rules
