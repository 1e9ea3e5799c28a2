"""inline_functions: calls of the model's own functions are replaced by their bodies."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

import onnx_ir
import onnx_ir.passes.common

from planish.errors import ModelError
from planish.passes.node_index import drop_index

#: Nodes that calls may become: functions that call others twice, to some depth, would fill any memory.
MOST_NODES = 1_000_000


def inline_functions(model: onnx_ir.Model) -> bool:
    """Replace every call of a model-local function by the function's nodes, to any depth.

    Guarantees: the model has no functions.
    Raises ModelError for recursive functions, for functions of another opset than the model's and for what would become
    more than MOST_NODES nodes.
    """
    if not model.functions:
        return False
    size = _size_when_inlined(model)
    if size > MOST_NODES:
        raise ModelError(
            f"functions of the model: become {size:.1e} nodes, more than {MOST_NODES}; let them call one another less"
        )
    try:
        onnx_ir.passes.common.InlinePass()(model)
    except (ValueError, onnx_ir.passes.PassError) as error:
        detail = " ".join(str(error).split())[:200]
        raise ModelError(f"functions of the model: cannot be inlined: {detail}; inline them when exporting") from None
    model.functions.clear()
    drop_index()
    return True


def _size_when_inlined(model: onnx_ir.Model) -> float:
    functions = model.functions
    calls = {key: {node.op_identifier() for node in f.all_nodes()} & functions.keys() for key, f in functions.items()}
    try:
        order = list(TopologicalSorter(calls).static_order())  # callees first
    except CycleError as error:
        names = " calls ".join(":".join(filter(None, key)) for key in reversed(error.args[1]))
        raise ModelError(f"functions of the model: {names}; write the model without recursion") from None
    sizes: dict[onnx_ir.OperatorIdentifier, float] = {}

    def size_of(nodes: Iterable[onnx_ir.Node]) -> float:
        return sum(sizes.get(node.op_identifier(), 1.0) for node in nodes)

    for key in order:
        sizes[key] = size_of(functions[key].all_nodes())
    return size_of(model.graph.all_nodes())
