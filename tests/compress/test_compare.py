"""`planish.compare`: errors, agreement, flips with their interval, and layers worst first."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from planish.compare import compare
from planish.compare.statistics import net_flips_interval
from planish.compress import compress
from planish.errors import UsageError


def altered(model: onnx.ModelProto, name: str, factor: float) -> onnx.ModelProto:
    """A copy with one initializer scaled."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in copy.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), name))
    return copy


def test_equal_models(cnn: onnx.ModelProto, images: np.ndarray) -> None:
    found = compare(cnn, cnn, inputs={"x": images}, labels=np.zeros(48, int), layers=True)
    (output,) = found.outputs
    assert (output.max_error, output.relative_error, output.top1_agreement) == (0.0, 0.0, 1.0)
    assert output.cosine == pytest.approx(1.0)
    assert (found.samples, found.lost, found.won, found.net) == (48, 0, 0, 0.0)
    assert {layer.sqnr for layer in found.layers} == {np.inf}


def test_flips_are_counted_both_ways(cnn: onnx.ModelProto, images: np.ndarray) -> None:
    swapped = onnx.ModelProto.FromString(cnn.SerializeToString())
    negate = helper.make_node("Neg", ["raw"], ["scores"], name="negate")
    swapped.graph.node[-1].output[0] = "raw"
    swapped.graph.node.append(negate)
    plain = compare(cnn, swapped, inputs={"x": images})
    assert plain.outputs[0].top1_agreement == 0.0
    assert plain.outputs[0].cosine == pytest.approx(-1.0)
    assert plain.accuracy is None
    labels = np.full(48, 3)
    found = compare(cnn, swapped, inputs={"x": images}, labels=labels)
    assert found.accuracy_reference is not None
    assert found.accuracy is not None
    assert found.lost == round(48 * found.accuracy_reference)
    assert found.won == round(48 * found.accuracy)
    assert found.net == pytest.approx(found.accuracy - found.accuracy_reference)


def test_layers_come_worst_first(cnn: onnx.ModelProto, images: np.ndarray) -> None:
    found = compare(cnn, altered(cnn, "w2", 1.5), inputs={"x": images}, layers=True)
    ratios = {layer.name: layer.sqnr for layer in found.layers}
    assert ratios["r1"] == np.inf
    assert ratios["c2"] == pytest.approx(20 * np.log10(1 / 0.5), abs=2.5)
    assert [layer.sqnr for layer in found.layers] == sorted(ratios.values())


def test_a_compressed_model_is_compared_tensor_by_tensor(cnn: onnx.ModelProto, images: np.ndarray) -> None:
    model = compress(cnn, calibration={"x": images}).model
    assert model is not None
    found = compare(cnn, model, inputs={"x": images}, layers=True)
    names = {layer.name for layer in found.layers}
    assert names >= {"r0", "r1", "r2", "joined", "pooled", "r3", "scores"}
    assert all(20 < layer.sqnr < 80 for layer in found.layers)
    assert json.loads(found.to_json())["samples"] == 48
    assert "top-1 agreement" in str(found)


def test_what_does_not_fit(cnn: onnx.ModelProto, mlp: onnx.ModelProto, images: np.ndarray) -> None:
    with pytest.raises(UsageError, match="output 'scores' is not in the other model, which has y"):
        compare(cnn, mlp, inputs={"x": images})
    with pytest.raises(UsageError, match="5 labels for more samples"):
        compare(cnn, cnn, inputs={"x": images}, labels=np.zeros(5))
    with pytest.raises(UsageError, match="a plan has no tensors"):
        compare(cnn, "model.plan", inputs={"x": images}, layers=True)


def test_the_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        lost, won, _ = rng.multinomial(200, [0.05, 0.03, 0.92])
        low, high = net_flips_interval(int(lost), int(won), 200)
        covered += low <= -0.02 <= high
    assert 0.93 <= covered / 2000 <= 0.98
    assert net_flips_interval(0, 0, 100)[0] < 0 < net_flips_interval(0, 0, 100)[1]
