"""Pruning: exact counts, deterministic ties, patterns, scopes and scores."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from planish.compress.graph import Layer, Layout, find_layers, load_float
from planish.compress.prune import Candidate, input_norm, prune_layers, why_not
from planish.compress.recipe import Prune


def layer(shape: tuple[int, ...] = (32, 16, 3, 3), name: str = "layer", groups: int = 1) -> Layer:
    perm = (0, *range(2, len(shape)), 1)
    return Layer(name, "Conv", name, "x", "y", "w", None, Layout(shape, perm), groups)


def candidate(prune: Prune, of: Layer | None = None, seed: int = 0, **options: object) -> Candidate:
    of = of or layer()
    weights = np.random.default_rng(seed).standard_normal(of.layout.shape).astype(np.float32)
    return Candidate(of, prune, of.layout.matrix(weights), **options)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 0.999), st.sampled_from([("element", 1), ("1x4", 4), ("16x4", 64)]))
def test_counts_are_exact(rate: float, pattern: tuple[str, int]) -> None:
    name, unit = pattern
    kept = prune_layers([candidate(Prune(rate, pattern=name))])["layer"]
    gone = int((~kept).sum())
    assert gone == int(np.floor(rate * kept.size + 0.5)) // unit * unit


def test_the_least_weights_go_and_ties_fall_to_the_lower_index() -> None:
    of = layer((2, 4, 1, 1))
    matrix = np.array([[1, 1, 1, 1], [2, 1, 1, 1]], np.float32)
    kept = prune_layers([Candidate(of, Prune(0.5), matrix)])["layer"]
    np.testing.assert_array_equal(kept, [[False, False, False, False], [True, True, True, True]])


def test_blocks_are_whole_and_lie_within_a_tap() -> None:
    kept = prune_layers([candidate(Prune(0.7, pattern="16x4"))])["layer"]
    blocks = kept.reshape(2, 16, 9, 4, 4)
    whole = blocks.all(axis=(1, 4)) | (~blocks).all(axis=(1, 4))
    assert whole.all()


def test_n_of_m_keeps_the_greatest_of_each_run() -> None:
    made = candidate(Prune(pattern="2:4"))
    kept = prune_layers([made])["layer"].reshape(-1, 4)
    assert (kept.sum(axis=1) == 2).all()
    runs = np.abs(made.matrix).reshape(-1, 4)
    assert (np.where(kept, runs, np.inf).min(axis=1) >= np.where(kept, 0, runs).max(axis=1)).all()


def test_threshold() -> None:
    made = candidate(Prune(threshold=0.5))
    np.testing.assert_array_equal(prune_layers([made])["layer"], np.abs(made.matrix) >= 0.5)


def test_one_global_rate_takes_more_from_the_smaller_weights() -> None:
    prune = Prune(0.5, scope="global")
    small, large = candidate(prune, layer(name="small")), candidate(prune, layer(name="large"), seed=1)
    small.matrix[:] *= 0.1
    kept = prune_layers([small, large])
    total = sum(int((~mask).sum()) for mask in kept.values())
    assert total == small.matrix.size
    assert (~kept["small"]).mean() > 0.85


def test_automatic_rates_rank_by_score_times_gain() -> None:
    prune = Prune("auto")
    pair = [candidate(prune, layer(name="a"), gain=100.0), candidate(prune, layer(name="b"), gain=1.0)]
    kept = prune_layers(pair, rate=0.4)
    assert (~kept["b"]).mean() > 5 * (~kept["a"]).mean()
    assert sum(int((~mask).sum()) for mask in kept.values()) == round(0.4 * 2 * pair[0].matrix.size)


def test_random_is_seeded_and_ignores_magnitude() -> None:
    first = candidate(Prune(0.5, score="random"), seed=0)
    again = candidate(Prune(0.5, score="random"), seed=5)
    np.testing.assert_array_equal(prune_layers([first])["layer"], prune_layers([again])["layer"])


def test_the_input_norm_counts() -> None:
    of = layer((1, 4, 1, 1))
    matrix = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
    norm = input_norm(of, np.array([100.0, 1.0, 1.0, 0.1]))
    kept = prune_layers([Candidate(of, Prune(0.5, score="magnitude*norm"), matrix, norm)])["layer"]
    np.testing.assert_array_equal(kept, [[True, False, True, False]])


def test_the_input_norm_of_groups_and_taps() -> None:
    of = layer((4, 2, 1, 3), groups=2)
    norm = input_norm(of, np.array([1.0, 2.0, 3.0, 4.0]))
    assert norm.shape == (4, 6)
    np.testing.assert_array_equal(norm[0], [1, 2, 1, 2, 1, 2])
    np.testing.assert_array_equal(norm[3], [3, 4, 3, 4, 3, 4])


@pytest.mark.parametrize(
    ("shape", "pattern", "message"),
    [
        ((32, 3, 3, 3), "1x4", "multiples of 4"),
        ((8, 16, 1, 1), "16x4", "multiples of 16"),
        ((8, 6, 1, 1), "2:4", "of 4"),
    ],
)
def test_patterns_that_do_not_fit(shape: tuple[int, ...], pattern: str, message: str) -> None:
    assert message in (why_not(layer(shape), pattern) or "")
    assert why_not(layer((32, 16, 3, 3)), pattern) is None


def test_the_matrix_view_is_nhwc_and_invertible(cnn: onnx.ModelProto) -> None:
    source = load_float(cnn)
    deep = source.by_name["deep"]
    weights = source.weights["deep"]
    matrix = deep.layout.matrix(weights)
    assert matrix.shape == (32, 9 * 32)
    assert matrix[5, (1 * 3 + 2) * 32 + 7] == weights[5, 7, 1, 2]
    np.testing.assert_array_equal(deep.layout.stored(matrix), weights)


def test_normalisations_and_biases_are_no_layers(cnn: onnx.ModelProto) -> None:
    model = onnx.ModelProto.FromString(cnn.SerializeToString())
    model.graph.node.append(helper.make_node("Mul", ["scores", "b4"], ["scaled"]))
    names = {found.name for found in load_float(model).layers}
    assert names == {"first", "left", "right", "deep", "last"}
    assert find_layers(load_float(cnn).model.graph)[0].weight != "b0"
