"""SessionOptions.precision: what `fast` rounds, where it pays, and that a plan keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import planish
from planish import _core
from planish.errors import UsageError
from planish.lowering import formats
from planish.lowering.lowered import Packed

SHAPES = {"w1": (12, 3, 3, 3), "w2": (20, 12, 1, 1), "w3": (20, 50), "w4": (50, 9)}


def network() -> onnx.ModelProto:
    """Two convolutions, of three channels and of one pixel, and two products, one of them with a transposed matrix."""
    rng = np.random.default_rng(5)
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], "second"),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("MatMul", ["e", "w3"], ["f"], "third"),
        helper.make_node("Gemm", ["f", "w4"], ["y"], "fourth"),
    ]
    weights = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in SHAPES.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 9, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 9])
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def formats_of(session: planish.InferenceSession) -> list[str]:
    return [v.format for v in session.lowered.constants.values() if isinstance(v, Packed)]


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its weights rounded to bfloat16."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in copy.graph.initializer:
        w = numpy_helper.to_array(tensor)
        packed = _core.pack_dense_bf16(w.reshape(1, 1, -1))
        values = _core.unpack_dense_bf16(packed, 1, 1, w.size).reshape(w.shape)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return copy


@pytest.fixture
def paying(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if bfloat16 paid on every layer."""
    monkeypatch.setattr(formats, "_bf16_pays", lambda pixels, matrix: True)


@pytest.mark.usefixtures("paying")
def test_fast_rounds_the_weights(tmp_path: Path) -> None:
    model, options = (
        network(),
        planish.SessionOptions(precision="fast", kernels={"gemm": "reference", "conv": "reference"}),
    )
    session = planish.InferenceSession(model, options)
    assert formats_of(session) == ["dense_bf16"] * 4
    x = np.random.default_rng(6).standard_normal((1, 3, 9, 8)).astype(np.float32)
    exact = planish.InferenceSession(model).run(None, {"x": x})[0]
    of_rounded = planish.InferenceSession(rounded(model)).run(None, {"x": x})[0]
    got = session.run(None, {"x": x})[0]
    np.testing.assert_allclose(got, of_rounded, rtol=0, atol=1e-5 * float(np.abs(exact).max()))
    assert 0 < np.abs(got - exact).max() < 0.02 * np.abs(exact).max()
    planish.export(session, tmp_path / "fast.plan")
    np.testing.assert_array_equal(planish.InferenceSession(tmp_path / "fast.plan", options).run(None, {"x": x})[0], got)


@pytest.mark.usefixtures("paying")
def test_every_kernel_runs_it() -> None:
    x = np.random.default_rng(6).standard_normal((1, 3, 9, 8)).astype(np.float32)
    expected = planish.InferenceSession(network()).run(None, {"x": x})[0]
    for isa in _core.usable_isas():
        _core.set_isa(isa)
        try:
            got = planish.InferenceSession(network(), planish.SessionOptions(precision="fast")).run(None, {"x": x})[0]
        finally:
            _core.set_isa("")
        assert np.abs(got - expected).max() < 0.03 * np.abs(expected).max(), isa


def test_layers_that_gain_nothing_stay_exact() -> None:
    """Without AMX only few pixels, or weights beyond the caches, gain from fewer bytes."""
    few, many = np.empty((64, 1, 64), np.float32), np.empty((1024, 1, 1024), np.float32)
    _core.set_isa("scalar")
    try:
        assert formats._bf16_pays(1, few)
        assert not formats._bf16_pays(72, few)
        assert formats._bf16_pays(72, many)
    finally:
        _core.set_isa("")
    assert set(formats_of(planish.InferenceSession(network()))) == {"dense_f32"}


def test_compressed_and_integer_layers_are_left_alone(tmp_path: Path) -> None:
    x: dict[str, Any] = {"x": np.random.default_rng(6).standard_normal((1, 3, 9, 8)).astype(np.float32)}
    planish.compress(network(), tmp_path / "int8.onnx", recipe="int8", calibration=[x])
    exact = planish.InferenceSession(tmp_path / "int8.onnx")
    fast = planish.InferenceSession(tmp_path / "int8.onnx", planish.SessionOptions(precision="fast"))
    assert "dense_s8" in formats_of(fast)
    np.testing.assert_array_equal(fast.run(None, x)[0], exact.run(None, x)[0])


def test_other_names_are_refused(tmp_path: Path) -> None:
    """Also for plans, which keep what they were exported with."""
    planish.export(network(), tmp_path / "m.plan")
    for source in (network(), tmp_path / "m.plan"):
        with pytest.raises(UsageError, match="precision 'bf16': unknown; use one of exact, fast"):
            planish.InferenceSession(source, planish.SessionOptions(precision="bf16"))
        with pytest.raises(UsageError, match="weight_format 'sparse': unknown; use one of auto, dense"):
            planish.InferenceSession(source, planish.SessionOptions(weight_format="sparse"))
