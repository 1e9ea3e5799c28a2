"""Operators that ONNX defines by others."""

from __future__ import annotations

from typing import Any

import onnx.defs
import pytest

from planish.lowering import rules  # noqa: F401  (fills RULES)
from planish.lowering.builder import RULES
from planish.passes.eliminate_dead_nodes import eliminate_dead_nodes
from planish.passes.expand_functions import EXPANDED, expand_functions
from planish.passes.lift_constants import lift_constants
from planish.passes.resolve_shapes import resolve_shapes

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'


def test_every_function_without_a_rule_is_expanded() -> None:
    """What is neither: random numbers."""
    functions = {
        (schema.domain, schema.name)
        for schema in onnx.defs.get_all_schemas()
        if schema.domain in ("", "ai.onnx.preview") and (schema.has_function or schema.has_context_dependent_function)
    }
    assert functions - EXPANDED - set(RULES) == {("", "Bernoulli")}


def test_operators_with_kernels_stay_whole() -> None:
    assert not EXPANDED & set(RULES)


@pytest.mark.parametrize(
    "text",
    [
        "(float[4] x) => (float[4] y) { y = Shrink <lambd = 0.5, bias = 0.2> (x) }",
        "(float[4] x) => (float[4] y) { y = Shrink (x) }",
        "(float[3, 5] x) => (float[3, 5] y) { y = MeanVarianceNormalization <axes = [1]> (x) }",
        "(float[3, 5, 7] x) => (float[3, 4, 9] y) { s = Constant <value = int64[2] {4, 9}> ()"
        " y = CenterCropPad <axes = [1, 2]> (x, s) }",
        "(float[2, 3, 5] x, float[5] s) => (float[2, 3, 5] y, float[2, 3, 1] m, float[2, 3, 1] d)"
        " { y, m, d = LayerNormalization (x, s) }",
        "(float[3, 9] x) => (float l, float[3, 9] p) { t = Constant <value = int64[3] {1, 8, 0}> ()"
        " l, p = SoftmaxCrossEntropyLoss (x, t) }",
    ],
)
def test_the_definition_takes_the_place(apply: Any, operators: Any, text: str) -> None:
    model = apply(expand_functions, f"{HEAD} g {text}", 1e-6, first=(lift_constants, resolve_shapes))
    assert model.metadata_props["changed"] == "True"
    assert not model.functions
    assert len(operators(model)) > 1


def test_two_calls_and_a_function_in_a_function(apply: Any, operators: Any) -> None:
    text = f"""{HEAD} g (float[3, 9] x, float[9] w) => (float a, float b) {{
        t = Constant <value = int64[3] {{1, 8, 0}}> ()
        a = SoftmaxCrossEntropyLoss (x, t)
        b = SoftmaxCrossEntropyLoss <reduction = "sum"> (x, t, w) }}"""
    model = apply(expand_functions, text, 1e-6, first=(lift_constants, resolve_shapes))
    assert operators(model).count("NegativeLogLikelihoodLoss") == 2
    resolve_shapes(model)
    assert expand_functions(model)
    assert "NegativeLogLikelihoodLoss" not in operators(model)
    assert not expand_functions(model)


def test_outputs_that_nothing_uses_may_be_left_out(apply: Any, operators: Any) -> None:
    text = f"""{HEAD} g (float[2, 3, 5] x, float[5] s) => (float[2, 3, 5] y, float[2, 3, 1] d) {{
        y, , d = LayerNormalization (x, s) }}"""
    model = apply(expand_functions, text, 1e-6, first=(lift_constants, resolve_shapes))
    assert "LayerNormalization" not in operators(model)


def test_a_layer_norm_without_statistics_stays(apply: Any, operators: Any) -> None:
    text = f"{HEAD} g (float[3, 5] x, float[5] s) => (float[3, 5] y) {{ y, m = LayerNormalization (x, s) }}"
    model = apply(expand_functions, text, first=(resolve_shapes, eliminate_dead_nodes))
    assert operators(model) == ["LayerNormalization"]


def test_the_body_of_an_if(apply: Any) -> None:
    text = f"""{HEAD} g (bool[1] c, float[4] x) => (float[4] y) {{
        y = If (c) <then_branch = t () => (float[4] a) {{ a = Shrink (x) }},
                    else_branch = e () => (float[4] b) {{ b = Neg (x) }}> }}"""
    model = apply(expand_functions, text, first=(resolve_shapes,))
    assert "Shrink" not in [node.op_type for node in model.graph.all_nodes()]


def test_a_node_of_unknown_type_stays(apply: Any, operators: Any) -> None:
    text = f"{HEAD} g (float[4] x) => (float[4] y) {{ n = Neg (x) y = Shrink (n) }}"
    assert operators(apply(expand_functions, text)) == ["Neg", "Shrink"]


@pytest.mark.parametrize("size", ["1, 2, 3, 4", "1, 1, 2, 3, 4"])
def test_a_grid_for_a_batch_of_one(apply: Any, size: str) -> None:
    """The standard's own body squeezes the batch away."""
    rank = size.count(",") - 1
    text = f"""{HEAD} g (float[1, {rank}, {rank + 1}] t) => (float[{"?, " * (rank + 1)}{rank}] y) {{
        s = Constant <value = int64[{rank + 2}] {{{size}}}> () y = AffineGrid (t, s) }}"""
    apply(expand_functions, text, 1e-6, first=(lift_constants, resolve_shapes))
