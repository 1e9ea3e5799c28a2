"""Operators without a native kernel, evaluated by onnx.reference: correct, slow, and listed by `planish inspect`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from planish.errors import ModelError, first_line
from planish.lowering.lowered import Step

#: An array, a list of arrays (a sequence), or None (an absent input or an empty optional).
Value = Any


def evaluate(step: Step, values: Sequence[Value]) -> list[Value]:
    """The step's outputs; arrays are copies. Raises ModelError with the node where the reference evaluator fails."""
    node, evaluator = _evaluator(step, values)
    names = [*node.input, *step.attrs["captured"]]
    feeds = {name: value for name, value in zip(names, values, strict=True) if name}
    try:
        results = evaluator.run(None, feeds)
    except Exception as error:
        types = ", ".join(map(_describe, values))
        raise ModelError(f"{step.where(types)}: {first_line(error)}; check the node's attributes and inputs") from error
    found = dict(zip([o for o in node.output if o], results, strict=True))
    return [_owned(found[o]) if o else np.empty(0, np.float32) for o in node.output]


def _owned(value: Any) -> Value:
    """A result of the reference evaluator: an array, a list of arrays, or None for an empty optional."""
    if value is None or isinstance(value, list):
        return None if value is None else [_owned(v) for v in value]
    return np.array(value)


def _describe(value: Value) -> str:
    if isinstance(value, list):
        return f"sequence of {len(value)}"
    return "absent" if value is None else f"{value.dtype}{list(value.shape)}"


def check(step: Step) -> None:
    """Raises ModelError for an operator that neither ONNX nor the reference evaluator knows, or without onnx."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{step.where()}: runs through onnx.reference, and onnx is not installed here; install onnx"
        ) from error

    domain, _, op = step.attrs["op"].rpartition("::")
    if not onnx.defs.has(op, domain):
        try:
            _make_evaluator(step, [None] * len(step.inputs))
        except ModelError as error:
            why = step.attrs.get("reason") or "no native kernel"
            raise ModelError(
                f"{step.where()}: {why}, and the reference evaluator does not know this operator; replace it, or "
                "define it by a function in the model"
            ) from error


def _evaluator(step: Step, values: Sequence[Value]) -> tuple[Any, Any]:
    """The node and its evaluator, made once a step, for the element types of its first run."""
    cached = step.attrs.get("_evaluator")
    if cached is None:
        cached = step.attrs["_evaluator"] = _make_evaluator(step, values)
    node, evaluator = cached
    return node, evaluator


def _make_evaluator(step: Step, values: Sequence[Value]) -> tuple[Any, Any]:
    import onnx
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    from planish.runtime.evaluators import OPERATORS

    try:
        node = onnx.NodeProto.FromString(base64.b64decode(step.attrs["node"]))
        given = dict(zip([*node.input, *step.attrs["captured"]], values, strict=True))
        opsets = [helper.make_opsetid("", step.attrs["opset"])]
        if len(node.output) != len(step.outputs):
            raise ValueError("the number of outputs")
    except Exception as error:  # protobuf's own types, base64's, and names that do not fit the operands
        raise ModelError(f"{step.where()}: its description is damaged; export the plan again") from error
    inputs = [helper.make_value_info(name, _type_of(value)) for name, value in given.items() if name]
    outputs = [helper.make_value_info(n, onnx.TypeProto()) for n in node.output if n]
    graph = helper.make_graph([node], "fallback", inputs, outputs)
    if node.domain:
        opsets.append(helper.make_opsetid(node.domain, 1))
    model = helper.make_model(graph, opset_imports=opsets)
    try:
        return node, ReferenceEvaluator(model, new_ops=OPERATORS)
    except Exception as error:
        raise ModelError(
            f"{step.where()}: cannot run: {first_line(error)}; `planish inspect` lists what runs"
        ) from error


def _type_of(value: Value) -> Any:
    """The ONNX type of a value of unknown shape: functions that an operator stands for may depend on it."""
    import onnx
    from onnx import helper

    if isinstance(value, list):
        return helper.make_sequence_type_proto(_type_of(value[0] if value else np.empty(0, np.float32)))
    if value is None:
        return onnx.TypeProto()
    code = onnx.TensorProto.STRING if value.dtype.kind in "OUS" else helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_type_proto(code, None)
