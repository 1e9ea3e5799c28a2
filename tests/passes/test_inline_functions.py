"""Calls of model-local functions."""

from __future__ import annotations

from typing import Any

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
