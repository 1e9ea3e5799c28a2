"""What passes and the lowering ask of a graph."""

from __future__ import annotations

import numpy as np
import onnx.parser
import onnx_ir

from planish.importing import load_model
from planish.passes import patterns
from planish.passes.lift_constants import lift_constants
from planish.passes.resolve_shapes import resolve_shapes
from planish.passes.shape_arithmetic import known_elements

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[batch,3] x) => (float[batch,3] y, float[k] z) {
  two = Constant <value_float = 2.0> ()
  p = Mul(two, x)
  y = Relu(p)
  s = Shape(x)
  i = Constant <value_ints = [1]> ()
  c = Gather(s, i)
  f = Constant <value_ints = [4]> ()
  m = Mul(c, f)
  v = Concat <axis = 0> (s, m)
  z = Cast <to = 1> (v)
}"""


def values() -> dict[str, onnx_ir.Value]:
    model = load_model(onnx.parser.parse_model(TEXT))
    lift_constants(model)
    resolve_shapes(model)
    computed = {str(v.name): v for node in model.graph for v in node.outputs}
    return computed | {str(v.name): v for v in [*model.graph.inputs, *model.graph.initializers.values()]}


def test_constants() -> None:
    v = values()
    assert patterns.constant_of(v["x"]) is None
    assert np.array_equal(patterns.constant_of(v["i"]), [1])
    assert patterns.scalar_of(v["two"]) == 2.0
    assert patterns.scalar_of(v["p"]) is None
    assert patterns.ints_of(v["f"]) == [4]
    assert patterns.ints_of(v["two"]) is None


def test_neighbours() -> None:
    v = values()
    product = v["p"].producer()
    assert product is not None
    assert patterns.split_constant(product) == (v["x"], v["two"])
    assert patterns.producer_of(v["p"], "Mul") is product
    assert patterns.producer_of(v["p"], "Add") is None
    assert patterns.single_consumer(v["p"], "Relu") is v["y"].producer()
    assert patterns.single_consumer(v["y"]) is None
    assert patterns.single_consumer(v["s"]) is None


def test_shapes() -> None:
    v = values()
    assert patterns.dims_of(v["p"]) == (None, 3)
    assert patterns.static_shape(v["p"]) is None
    assert patterns.same_shape(v["p"], v["x"])
    assert not patterns.same_shape(v["p"], v["s"])


def test_half_known_vectors() -> None:
    assert known_elements(values()["v"]) == ["batch", 3, 12]
