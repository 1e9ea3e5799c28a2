"""Activations in their expanded forms."""

from __future__ import annotations

from typing import Any

import pytest

from planish.passes.eliminate_dead_nodes import eliminate_dead_nodes
from planish.passes.fuse_activations import fuse_activations
from planish.passes.lift_constants import lift_constants
from planish.passes.resolve_shapes import resolve_shapes

BEFORE = (lift_constants, resolve_shapes)


def constants(**values: float) -> str:
    return " ".join(f"{name} = Constant <value_float = {value}> ()" for name, value in values.items())


RELU6 = constants(z=0.0, t=3.0, s=6.0) + " a = Add(x, t) r = Clip(a, z, s)"
ERF = constants(q=1.4142135, o=1.0, h=0.5) + " d = Div(x, q) e = Erf(d) p = Add(e, o)"
ERF_MUL = constants(q=0.70710677, o=1.0, h=0.5) + " d = Mul(q, x) e = Erf(d) p = Add(o, e)"
TANH = (
    constants(k=0.044715, v=3.0, q=0.7978846, o=1.0, h=0.5)
    + """
c = Pow(x, v) u = Mul(c, k) w = Add(x, u) d = Mul(w, q) e = Tanh(d) p = Add(e, o)"""
)

FORMS = {
    "paddle hard swish": (f"{RELU6} m = Mul(x, r) y = Div(m, s)", "HardSwish"),
    "torch hard swish": (f"{RELU6} m = Div(r, s) y = Mul(x, m)", "HardSwish"),
    "hard swish with 1/6": (f"{RELU6} {constants(i=0.16666667)} m = Mul(r, x) y = Mul(m, i)", "HardSwish"),
    "hard swish of x/6": (f"{RELU6} m = Div(x, s) y = Mul(m, r)", "HardSwish"),
    "hard swish of hard sigmoid": ("g = HardSigmoid <alpha = 0.16666667> (x) y = Mul(x, g)", "HardSwish"),
    "hard sigmoid of relu6": (f"{RELU6} y = Div(r, s)", "HardSigmoid"),
    "hard sigmoid": (
        constants(z=0.0, o=1.0, k=0.2, b=0.5) + " m = Mul(x, k) a = Add(m, b) y = Clip(a, z, o)",
        "HardSigmoid",
    ),
    "gelu: half last": (f"{ERF} m = Mul(x, p) y = Mul(m, h)", "Gelu"),
    "gelu: half of x": (f"{ERF} m = Mul(x, h) y = Mul(m, p)", "Gelu"),
    "gelu: half of the bracket": (f"{ERF_MUL} m = Mul(h, p) y = Mul(x, m)", "Gelu"),
    "gelu: divided by two": (f"{ERF_MUL} {constants(t=2.0)} m = Mul(x, p) y = Div(m, t)", "Gelu"),
    "gelu by tanh": (f"{TANH} m = Mul(x, h) y = Mul(m, p)", "Gelu"),
    "gelu by tanh, cube as product": (
        constants(k=0.044715, q=0.7978846, o=1.0, h=0.5)
        + " b = Mul(x, x) c = Mul(b, x) u = Mul(k, c) w = Add(x, u) d = Mul(w, q) e = Tanh(d) p = Add(e, o)"
        + " m = Mul(x, p) y = Mul(m, h)",
        "Gelu",
    ),
    "mish": ("s = Softplus(x) t = Tanh(s) y = Mul(x, t)", "Mish"),
    "leaky relu": (constants(k=0.1) + " m = Mul(x, k) y = Max(m, x)", "LeakyRelu"),
}


@pytest.mark.parametrize("name", FORMS)
def test_is_recognised(apply: Any, operators: Any, name: str) -> None:
    body, expected = FORMS[name]
    text = f'<ir_version: 10, opset_import: ["" : 21]> g (float[8,9] x) => (float[8,9] y) {{ {body} }}'
    model = apply(fuse_activations, text, 2e-6, first=BEFORE)
    for _ in range(2):
        fuse_activations(model)
        eliminate_dead_nodes(model)
    assert operators(model) == [expected]


@pytest.mark.parametrize(
    "body",
    [
        f"{RELU6.replace('6.0', '5.0')} m = Mul(x, r) y = Div(m, s)",
        f"{ERF.replace('1.4142135', '1.5')} m = Mul(x, p) y = Mul(m, h)",
        f"{ERF} m = Mul(x, p) n = Mul(m, h) y = Add(n, e)",
        f"{ERF} m = Mul(p, p) y = Mul(m, h)",
        constants(k=2.0) + " m = Mul(x, k) y = Max(m, x)",
        "s = Softplus(x) t = Tanh(s) y = Mul(s, t)",
    ],
)
def test_what_only_looks_alike_is_kept(apply: Any, body: str) -> None:
    text = f'<ir_version: 10, opset_import: ["" : 21]> g (float[8,9] x) => (float[8,9] y) {{ {body} }}'
    assert apply(fuse_activations, text, first=BEFORE).metadata_props["changed"] == "False"
