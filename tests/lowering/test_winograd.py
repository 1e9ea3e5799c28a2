"""Which convolutions are lowered to family winograd, that they compute the same, and what inspection tells of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import planish
from planish import _core
from planish.inspection.weights import weight_facts
from planish.lowering.lowered import Packed

Array = NDArray[Any]
X = (1, 32, 10, 11)


def convolution(w: Array, x: tuple[Any, ...] = X, **attributes: Any) -> onnx.ModelProto:
    """x → Conv → Add of a tensor of its shape → Relu → y."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"], "conv", **{"pads": [1, 1, 1, 1], **attributes}),
        helper.make_node("Sigmoid", ["a"], ["other"]),
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "again", **{"pads": [1, 1, 1, 1], **attributes}),
        helper.make_node("Add", ["c", "other"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    return _model(nodes, {"w": w, "b": np.linspace(-1, 1, len(w), dtype=np.float32)}, x)


def quantized(zero: int = 0) -> onnx.ModelProto:
    """The same of bytes, by the operators that quantizers write."""
    rng = np.random.default_rng(2)
    tensors: dict[str, Any] = {
        "w": rng.integers(-127, 128, (32, 32, 3, 3)).astype(np.int8), "ws": np.float32(0.01), "wz": np.int8(zero),
        "s": np.float32(0.02), "z": np.uint8(117), "t": np.float32(0.1),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
        helper.make_node("Conv", ["d", "wd"], ["a"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["a", "t", "z"], ["e"]),
        helper.make_node("DequantizeLinear", ["e", "t", "z"], ["y"]),
    ]
    return _model(nodes, tensors, X)


def _model(nodes: list[Any], tensors: dict[str, Any], x: tuple[Any, ...]) -> onnx.ModelProto:
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", x), ("y", [None] * 4))]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def session(model: onnx.ModelProto, form: str = "auto") -> planish.InferenceSession:
    return planish.InferenceSession(model, planish.SessionOptions(weight_format=form))


def form_of(made: planish.InferenceSession) -> str:
    (form,) = {v.format for v in made.lowered.constants.values() if isinstance(v, Packed)}
    return form


def weights(n: int = 32, c: int = 32, *kernel: int) -> Array:
    return np.random.default_rng(0).standard_normal((n, c, *(kernel or (3, 3)))).astype(np.float32)


def feed(shape: tuple[int, ...] = X) -> dict[str, Array]:
    return {"x": np.random.default_rng(3).standard_normal(shape).astype(np.float32)}


def assert_same(got: Array, expected: Array) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_it_agrees_with_the_plain_sum(tmp_path: Path) -> None:
    model = convolution(weights())
    plain, made = session(model, "dense"), session(model)
    assert (form_of(plain), form_of(made)) == ("dense_f32", "winograd_f32")
    expected = plain.run(None, feed())[0]
    assert_same(made.run(None, feed())[0], expected)
    planish.export(made, tmp_path / "m.plan")
    np.testing.assert_array_equal(
        planish.InferenceSession(tmp_path / "m.plan").run(None, feed())[0], made.run(None, feed())[0]
    )


def test_shapes_may_be_left_open() -> None:
    model = convolution(weights(), ("B", 32, "H", "W"))
    plain, made = session(model, "dense"), session(model)
    assert form_of(made) == "winograd_f32"
    for shape in ((2, 32, 9, 4), (1, 32, 1, 1), (1, 32, 2, 30)):
        assert_same(made.run(None, feed(shape))[0], plain.run(None, feed(shape))[0])


@pytest.mark.parametrize(
    ("w", "attributes"),
    [
        (weights(), {"strides": [2, 2]}),
        (weights(), {"dilations": [2, 2]}),
        (weights(32, 16), {"group": 2}),
        (weights(32, 32, 3, 1), {}),
        (weights(32, 32, 5, 5), {}),
    ],
)  # fmt: skip
def test_other_windows_stay_dense(w: Array, attributes: dict[str, Any]) -> None:
    for form in ("auto", "winograd"):
        assert form_of(session(convolution(w, (1, 32, 12, 12), **attributes), form)) == "dense_f32"


@pytest.mark.parametrize("shape", [(1, 8, 10, 10), (1, 32, 5, 5), (64, 32, 1, 1), (1, 32, 1, 64), (1, 32, 2, 2)])
def test_little_work_stays_dense_unless_forced(shape: tuple[int, ...]) -> None:
    model = convolution(weights(32, shape[1]), shape)
    plain, forced = session(model), session(model, "winograd")
    assert (form_of(plain), form_of(forced)) == ("dense_f32", "winograd_f32")
    assert_same(forced.run(None, feed(shape))[0], plain.run(None, feed(shape))[0])


def test_masked_and_huge_weights_stay_dense() -> None:
    """What a causal convolution does not see must not change its results, however large it is."""
    masked, huge = weights(), weights()
    masked[:, :, :, 2] = 0
    huge[0, 0] = 1e38
    for form in ("auto", "winograd"):
        assert form_of(session(convolution(masked), form)) == "dense_f32"
        assert form_of(session(convolution(huge), form)) == "dense_f32"


def test_bytes_give_the_same_bits(tmp_path: Path) -> None:
    plain, forced = session(quantized(), "dense"), session(quantized(), "winograd")
    assert (form_of(plain), form_of(forced)) == ("dense_s8", "winograd_s16")
    expected = plain.run(None, feed())[0]
    np.testing.assert_array_equal(forced.run(None, feed())[0], expected)
    planish.export(forced, tmp_path / "m.plan")
    np.testing.assert_array_equal(planish.InferenceSession(tmp_path / "m.plan").run(None, feed())[0], expected)


@pytest.mark.parametrize(
    ("isas", "form"),
    [(["scalar"], "dense_s8"), (["scalar", "avx2"], "winograd_s16"), (["scalar", "avx2", "avxvnni"], "dense_s8")],
)
def test_bytes_take_it_where_products_of_bytes_are_slow(
    isas: list[str], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_core, "usable_isas", lambda: isas)
    assert form_of(session(quantized())) == form


def test_weights_with_a_zero_point_stay_dense() -> None:
    assert form_of(session(quantized(zero=3), "winograd")) == "dense_s8"


def test_inspection_sees_the_weights_behind_it() -> None:
    w = weights()
    w[np.random.default_rng(4).random(w.shape) < 0.3] = 0
    made = session(convolution(w), "winograd")
    step = next(s for s in made.lowered.steps if s.kind == "conv")
    facts = weight_facts(step, made.lowered.constants)
    assert facts is not None
    assert (facts.format, facts.shape, facts.dense) == ("winograd_f32", (32, 3, 3, 32), w.nbytes)
    assert facts.zeros == pytest.approx(np.mean(w == 0), abs=0.01)
