"""Calls of model-local functions."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

import planish
from planish.passes.inline_functions import inline_functions


def test_nested_functions_disappear(apply: Any, operators: Any) -> None:
    model = apply(
        inline_functions,
        """<ir_version: 10, opset_import: ["" : 21, "local" : 1]>
        g (float[2] x) => (float[2] y) { h = local.twice(x)  y = local.twice(h) }
        <domain: "local", opset_import: ["" : 21, "local" : 1]>
        twice (a) => (b) { t = local.once(a)  b = local.once(t) }
        <domain: "local", opset_import: ["" : 21]>
        once (a) => (b) { n = Neg(a)  b = Relu(n) }""",
    )
    assert operators(model) == ["Neg", "Relu"] * 4
    assert not model.functions


def _calling(bodies: list[str]) -> onnx.ModelProto:
    """A model that calls the first of local functions f0, f1, .. with these bodies."""
    functions = "".join(
        f'<domain: "local", opset_import: ["" : 21, "local" : 1]> f{i} (a) => (b) {{ {body} }}'
        for i, body in enumerate(bodies)
    )
    model = '<ir_version: 10, opset_import: ["" : 21, "local" : 1]> g (float[2] x) => (float[2] y) { y = local.f0(x) }'
    return onnx.parser.parse_model(model + functions)


@pytest.mark.parametrize("depth", [1, 3])
def test_recursive_functions(depth: int) -> None:
    model = _calling([f"b = local.f{(i + 1) % depth}(a)" for i in range(depth)])
    with pytest.raises(planish.ModelError, match=r"^functions of the model: .* calls .*; write the model"):
        planish.InferenceSession(model)


@pytest.mark.parametrize("depth", [40, 2000])
def test_functions_that_multiply(depth: int) -> None:
    twice = [f"c = local.f{i}(a) b = local.f{i}(c)" for i in range(1, depth)]
    with pytest.raises(planish.ModelError, match=r"become .* nodes, more than 1000000; let them call"):
        planish.InferenceSession(_calling([*twice, "b = Abs(a)"]))
