"""Small models, and their results in planish and in a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import planish

Array = np.ndarray[Any, Any]


def parse(
    body: str,
    inputs: str,
    outputs: str,
    opset: int = 17,
    constants: Mapping[str, Array] | None = None,
    ms: bool = False,
) -> onnx.ModelProto:
    """A model in ONNX's text form: `inputs` and `outputs` are typed lists, `body` the nodes, `constants` the initializers."""
    domains = f'"" : {opset}' + (', "com.microsoft" : 1' if ms else "")
    text = f"<ir_version: 8, opset_import: [{domains}]> g ({inputs}) => ({outputs}) {{ {body} }}"
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items())
    return model


def node_model(
    op: str,
    feeds: Mapping[str, Array],
    constants: Mapping[str, Array],
    opset: int,
    outputs: int = 1,
    domain: str = "",
    **attrs: Any,
) -> onnx.ModelProto:
    """One node with dynamic input shapes; feeds, then constants, are its inputs in order."""
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, [*feeds, *constants], names, name="node", domain=domain, **attrs)
    ports = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), [None] * v.ndim)
        for k, v in feeds.items()
    ]
    results = [helper.make_empty_tensor_value_info(n) for n in names]
    graph = helper.make_graph(
        [node], "g", ports, results, [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def by_reference(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    return [np.asarray(r) for r in ReferenceEvaluator(model).run(None, dict(feeds))]


def by_onnxruntime(model: onnx.ModelProto, feeds: Mapping[str, Array], optimize: bool = False) -> list[Array]:
    from tests.exact_onnxruntime import exact_session

    return exact_session(model, optimize).run(None, dict(feeds))


def assert_close(results: list[Array], expected: list[Array], scale: float = 1e-5) -> None:
    """Floats within `scale` of the largest magnitude, everything else equal."""
    assert len(results) == len(expected)
    for got, want in zip(results, expected, strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        if want.dtype.kind == "f" and want.size:
            finite = want[np.isfinite(want)]
            np.testing.assert_allclose(got, want, rtol=0, atol=scale * max(1.0, np.abs(finite).max(initial=0.0)))
        else:
            np.testing.assert_array_equal(got, want)


def fallbacks(session: planish.InferenceSession) -> list[str]:
    return [s.attrs["op"] for s in session.lowered.walk() if s.kind == "onnx"]


def native(
    model: onnx.ModelProto, *feeds: Mapping[str, Array], reference: Any = by_reference, scale: float = 1e-5
) -> planish.InferenceSession:
    """Asserts that the model runs natively and agrees with the reference for each set of feeds, in one session."""
    session = planish.InferenceSession(model)
    assert not fallbacks(session)
    for feed in feeds:
        assert_close(session.run(None, feed), reference(model, feed), scale)
    return session
