"""Evaluation of what does not depend on inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as onh
import onnx_ir
import pytest

from planish.importing import load_model
from planish.passes.eliminate_dead_nodes import eliminate_dead_nodes
from planish.passes.evaluate import evaluate, evaluate_by_reference
from planish.passes.fold_constants import fold_constants
from planish.passes.lift_constants import lift_constants
from planish.passes.resolve_shapes import resolve_shapes

BEFORE = (lift_constants, resolve_shapes)


def model_of(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], shape: list[int]) -> onnx.ModelProto:
    """A model that adds the value `c`, computed by `nodes` from constants, to its input."""
    value = [oh.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in "xy"]
    tensors = [onh.from_array(a, n) for n, a in constants.items()]
    graph = oh.make_graph([*nodes, oh.make_node("Add", ["x", "c"], ["y"])], "g", value[:1], value[1:], tensors)
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10)


def test_arithmetic_of_constants(apply: Any, operators: Any) -> None:
    a, b = np.array([1, 2], np.float32), np.array([3, 5], np.float32)
    nodes = [oh.make_node("Mul", ["a", "b"], ["p"]), oh.make_node("Sqrt", ["p"], ["c"])]
    model = apply(fold_constants, model_of(nodes, {"a": a, "b": b}, [2]), first=BEFORE)
    assert operators(model) == ["Add"]
    assert np.array_equal(model.graph.initializers["c"].const_value.numpy(), np.sqrt(a * b))


def test_shape_arithmetic_on_known_dimensions(apply: Any, operators: Any) -> None:
    model = apply(
        fold_constants,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[batch,6,4] x) => (float[24,m] y) {
          s = Shape(x)
          one = Constant <value_int = 1> ()
          two = Constant <value_int = 2> ()
          zero = Constant <value_ints = [0]> ()
          c = Gather(s, one)
          w = Gather(s, two)
          area = Mul(c, w)
          areas = Unsqueeze(area, zero)
          rest = Constant <value_ints = [-1]> ()
          t = Concat <axis = 0> (areas, rest)
          y = Reshape(x, t)
        }""",
        first=BEFORE,
    )
    eliminate_dead_nodes(model)
    assert operators(model) == ["Reshape"]


def test_large_results_stay_computed(apply: Any, operators: Any) -> None:
    nodes = [oh.make_node("Expand", ["a", "s"], ["c"])]
    constants = {"a": np.ones(1, np.float32), "s": np.array([512, 1024], np.int64)}
    assert operators(apply(fold_constants, model_of(nodes, constants, [512, 1024]), first=BEFORE)) == ["Expand", "Add"]
    constants["s"] = np.array([16, 16], np.int64)
    assert operators(apply(fold_constants, model_of(nodes, constants, [16, 16]), first=BEFORE)) == ["Add"]


def test_a_hostile_size_allocates_nothing() -> None:
    nodes = [oh.make_node("ConstantOfShape", ["s"], ["c"])]
    model = load_model(model_of(nodes, {"s": np.array([1 << 40, 1 << 20], np.int64)}, [1]))
    assert not fold_constants(model)


def test_dequantized_weights_stay(apply: Any, operators: Any) -> None:
    nodes = [oh.make_node("DequantizeLinear", ["q", "s"], ["d"]), oh.make_node("Identity", ["d"], ["c"])]
    constants = {"q": np.arange(8, dtype=np.int8).reshape(2, 4), "s": np.array(0.5, np.float32)}
    model = apply(fold_constants, model_of(nodes, constants, [2, 4]), first=BEFORE)
    assert operators(model) == ["DequantizeLinear", "Identity", "Add"]


def test_quantized_constants_become_integers(apply: Any, operators: Any) -> None:
    nodes = [
        oh.make_node("QuantizeLinear", ["f", "s", "z"], ["q"], axis=0),
        oh.make_node("DequantizeLinear", ["q", "s", "z"], ["c"], axis=0),
    ]
    constants = {
        "f": np.array([[0.3, -9.0], [1.25, 400]], np.float32),
        "s": np.array([0.1, 0.5], np.float32),
        "z": np.array([3, -2], np.int8),
    }
    model = apply(fold_constants, model_of(nodes, constants, [2, 2]), first=BEFORE)
    assert operators(model) == ["DequantizeLinear", "Add"]
    assert model.graph.initializers["q"].const_value.numpy().tolist() == [[6, -87], [0, 127]]


CODEBOOK = {
    "book": np.linspace(-1, 1, 16).astype(np.float32),
    "index": np.arange(24, dtype=np.uint8).reshape(4, 6) % 16,
}
BLOCKS = {
    "shape": np.array([4, 2, 3], np.int64),
    "ids": np.array([[0, 1], [3, 0]], np.uint16),
    "values": np.arange(6, dtype=np.float32).reshape(2, 3),
    "flat": np.array([4, 6], np.int64),
}


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([("Cast", ["index"], "i", {"to": 6}), ("Gather", ["book", "i"], "c", {})], CODEBOOK),
        (
            [
                ("ConstantOfShape", ["shape"], "zeros", {}),
                ("Cast", ["ids"], "i", {"to": 7}),
                ("ScatterND", ["zeros", "i", "values"], "w", {}),
                ("Reshape", ["w", "flat"], "c", {}),
            ],
            BLOCKS,
        ),
    ],
)
def test_compressed_forms_survive(apply: Any, operators: Any, nodes: Any, constants: Any) -> None:
    protos = [oh.make_node(op, inputs, [out], **attributes) for op, inputs, out, attributes in nodes]
    model = apply(fold_constants, model_of(protos, constants, [4, 6]), first=BEFORE)
    assert operators(model) == [node[0] for node in nodes] + ["Add"]


def test_integers_times_zero(apply: Any, operators: Any) -> None:
    model = apply(
        fold_constants,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (int64 n, float[2] x) => (float[2] y) {
          zero = Constant <value_int = 0> ()
          p = Mul(n, zero)
          f = Cast <to = 1> (p)
          y = Add(x, f)
        }""",
        first=BEFORE,
    )
    assert operators(model) == ["Add"]


def test_random_operators_stay_random() -> None:
    nodes = [oh.make_node("RandomNormal", [], ["c"], shape=[2])]
    assert not fold_constants(load_model(model_of(nodes, {}, [2])))


I, F = np.array([7, -7, 4], np.int64), np.array([[1.5, -2.5], [0.25, 4]], np.float32)

CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Div", [I, np.array([2, 2, -3])], {}),
    ("Mod", [I, np.array([3, 3, -3])], {}),
    ("Mod", [I, np.array([3, 3, -3])], {"fmod": 1}),
    ("Slice", [F, np.array([1]), np.array([-9]), np.array([1]), np.array([-1])], {}),
    ("Slice", [I, np.array([0]), np.array([2**62])], {}),
    ("Range", [np.array(2), np.array(9), np.array(3)], {}),
    ("Range", [np.array(3.0, np.float32), np.array(0.0, np.float32), np.array(-0.5, np.float32)], {}),
    ("Where", [np.array([True, False, True]), I, I + 1], {}),
    ("Split", [np.arange(7)], {"num_outputs": 3}),
    ("Tile", [F, np.array([2, 1])], {}),
    ("Unsqueeze", [F, np.array([0, -1])], {}),
    ("Squeeze", [F[None], np.array([0])], {}),
    ("ReduceProd", [I], {"keepdims": 0}),
    ("ReduceMax", [F, np.array([-1])], {}),
    ("ReduceSum", [F, np.array([], np.int64)], {"noop_with_empty_axes": 1}),
    ("Gather", [F, np.array([-1, 0])], {"axis": 1}),
    ("Transpose", [F[None]], {"perm": [2, 0, 1]}),
    ("Flatten", [F[None]], {"axis": 2}),
    ("Expand", [F, np.array([3, 1, 2])], {}),
    ("Erf", [F], {}),
    ("Cast", [F], {"to": 7}),
    ("Cast", [I], {"to": 9}),
    ("Min", [F, F.T, np.array(0.5, np.float32)], {}),
    ("Shape", [F], {"start": -1}),
    ("Size", [F], {}),
    ("Concat", [F, F], {"axis": -1}),
    ("Reshape", [F, np.array([0, -1, 1])], {}),
]


@pytest.mark.parametrize(("op_type", "arrays", "attributes"), CASES)
def test_own_evaluation_equals_the_reference(op_type: str, arrays: list[Any], attributes: dict[str, Any]) -> None:
    outputs = 3 if op_type == "Split" else 1
    attrs = onnx_ir.convenience.convert_attributes(attributes)
    values = [onnx_ir.Value(name=f"i{n}") for n in range(len(arrays))]
    node = onnx_ir.Node("", op_type, values, attrs, outputs=[onnx_ir.Value(name=f"o{n}") for n in range(outputs)])
    own, reference = evaluate(node, arrays), evaluate_by_reference(node, arrays, 21)
    assert own is not None
    assert reference is not None
    for a, b in zip(own, reference, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-6)
