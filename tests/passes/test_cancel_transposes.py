"""Transposes merged, moved and cancelled."""

from __future__ import annotations

from typing import Any

import pytest

from planish.importing.names import make_names_unique
from planish.passes.cancel_transposes import cancel_transposes
from planish.passes.eliminate_dead_nodes import eliminate_dead_nodes
from planish.passes.lift_constants import lift_constants
from planish.passes.resolve_shapes import resolve_shapes
from planish.passes.verify import signature_of, verify_model

BEFORE = (lift_constants, resolve_shapes)
IN = "t = Transpose <perm = [0, 3, 1, 2]> (x)"
OUT = "y = Transpose <perm = [0, 2, 3, 1]> (h)"


def settle(apply: Any, body: str, y: str = "2,3,4,5", x: str = "2,3,4,5") -> Any:
    """Run the pass until it changes nothing."""
    text = f'<ir_version: 10, opset_import: ["" : 21]> g (float[{x}] x) => (float[{y}] y) {{ {body} }}'
    model = apply(cancel_transposes, text, 1e-6, first=BEFORE)
    while cancel_transposes(model):
        pass
    eliminate_dead_nodes(model)
    return model


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("h = Relu(t)", ["Relu"]),
        ("k = Constant <value = float[5,1,1] {1.0, 2.0, 3.0, 4.0, 5.0}> () h = Mul(t, k)", ["Mul"]),
        (
            "k = Constant <value = float[3,4] {1,2,3,4,5,6,7,8,9,10,11,12}> () a = Add(k, t) h = Sigmoid(a)",
            ["Add", "Sigmoid"],
        ),
        ("a = Relu(t) b = Sigmoid(t) h = Mul(a, b)", ["Relu", "Sigmoid", "Mul"]),
        ("a = Relu(t) h = Softmax <axis = 1> (a)", ["Relu", "Softmax"]),
        ("p = Constant <value_ints = [0, 1, 0, 0, 0, -1, 0, 0]> () h = Pad(t, p)", ["Pad"]),
        ("i = Constant <value_ints = [1]> () m = ReduceMean(t, i) h = Sub(t, m)", ["ReduceMean", "Sub"]),
        ("a, b = Split <axis = 1, num_outputs = 2> (t) h = Concat <axis = 1> (b, a)", ["Split", "Concat"]),
        (
            "k = Constant <value = float[2,5,1,1] {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0}> ()"
            " r = Constant <value_ints = [2, 3]> () m = ReduceMax <keepdims = 1> (t, r) c = Concat <axis = -1> (m, k)"
            " s = ReduceSum <keepdims = 1> (c, r) h = Add(t, s)",
            ["ReduceMax", "Concat", "ReduceSum", "Add"],
        ),
        (
            "s = Constant <value_ints = [0, 0]> () e = Constant <value_ints = [9, 9]> () c = Slice(t, s, e) h = Neg(c)",
            ["Slice", "Neg"],
        ),
        ("z = Constant <value = bool[1] {1}> () h = Where(z, t, t)", ["Where"]),
    ],
)
def test_a_region_between_inverse_transposes(apply: Any, operators: Any, body: str, expected: list[str]) -> None:
    assert operators(settle(apply, f"{IN} {body} {OUT}")) == expected


def test_pairs_merge(apply: Any, operators: Any) -> None:
    model = settle(
        apply, "a = Transpose <perm = [1, 0, 2, 3]> (x) b = Transpose <perm = [0, 1, 3, 2]> (a) y = Relu(b)", "3,2,5,4"
    )
    assert operators(model).count("Transpose") == 1


def test_pairs_around_unit_axes_merge(apply: Any, operators: Any) -> None:
    body = """a = Transpose <perm = [0, 2, 1]> (x) i = Constant <value_ints = [1]> () b = Unsqueeze(a, i)
    y = Transpose <perm = [0, 3, 1, 2]> (b)"""
    assert operators(settle(apply, body, "2,3,1,4", "2,3,4")) == ["Unsqueeze"]
    body = """a = Transpose <perm = [3, 0, 2, 1]> (x) i = Constant <value_ints = [2]> () b = Squeeze(a, i)
    y = Transpose <perm = [1, 2, 0]> (b)"""
    assert operators(settle(apply, body, "2,3,4", "2,3,1,4")) == ["Squeeze"]


def test_a_joint_of_two_transposes_needs_one(apply: Any, operators: Any) -> None:
    body = "n = Neg(x) t = Transpose <perm = [3, 0, 1, 2]> (x) u = Transpose <perm = [3, 0, 1, 2]> (n) y = Mul(t, u)"
    assert operators(settle(apply, body, "5,2,3,4")) == ["Neg", "Mul", "Transpose"]


def test_a_region_that_would_cost_more_is_kept(apply: Any, operators: Any) -> None:
    body = (
        "t = Transpose <perm = [3, 0, 1, 2]> (x) s = Constant <value_ints = [5, 24]> () h = Relu(t) y = Reshape(h, s)"
    )
    assert operators(settle(apply, body, "5,24")) == ["Transpose", "Relu", "Reshape"]


def test_a_reduction_that_drops_the_axis_reads_the_original(apply: Any, operators: Any) -> None:
    body = (
        "t = Transpose <perm = [0, 1, 3, 2]> (x) a = Constant <value_ints = [2]> () y = ReduceMax <keepdims = 0> (t, a)"
    )
    assert operators(settle(apply, body, "2,3,4")) == ["ReduceMax"]


def test_quantization_stays_beside_its_layer(apply: Any, operators: Any) -> None:
    body = f"""{IN} s = Constant <value_float = 0.05> () z = Constant <value = uint8 {{128}}> ()
    q = QuantizeLinear(t, s, z) d = DequantizeLinear(q, s, z)
    w = Constant <value = float[1,5,1,1] {{1.0, 2.0, 3.0, 4.0, 5.0}}> () y = Conv(d, w)"""
    assert operators(settle(apply, body, "2,1,3,4")) == ["Transpose", "QuantizeLinear", "DequantizeLinear", "Conv"]


def test_transposes_around_quantization_cancel(apply: Any, operators: Any) -> None:
    body = f"""{IN} s = Constant <value_float = 0.05> () z = Constant <value = uint8 {{128}}> ()
    q = QuantizeLinear(t, s, z) h = DequantizeLinear(q, s, z) {OUT}"""
    assert operators(settle(apply, body)) == ["QuantizeLinear", "DequantizeLinear"]


def test_graph_outputs_keep_name_and_order(apply: Any, operators: Any) -> None:
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
    g (float[2,3,4,5] x) => (float[2,5,3,4] r, float[2,3,4,5] y, float[2,3,4,5] w) {{
      {IN} r = Relu(t) h = Abs(r) {OUT} u = Neg(r) w = Transpose <perm = [0, 2, 3, 1]> (u)
    }}"""
    model = apply(cancel_transposes, text, first=BEFORE)
    assert [v.name for v in model.graph.outputs] == ["r", "y", "w"]
    while cancel_transposes(model):
        make_names_unique(model)
    eliminate_dead_nodes(model)
    assert operators(model).count("Transpose") == 1
    verify_model(model, signature_of(model), "cancel_transposes")
