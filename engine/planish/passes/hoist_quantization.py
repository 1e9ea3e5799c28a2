"""hoist_quantization: QuantizeLinear moves up past operators that only rearrange elements."""

from __future__ import annotations

import onnx_ir

from planish.passes.patterns import nodes_of, producer_of, scalar_of, single_consumer
from planish.passes.rewrite import insert_before, make_node, remove_nodes

_REARRANGING = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "DepthToSpace", "SpaceToDepth")


def hoist_quantization(model: onnx_ir.Model) -> bool:
    """Let QuantizeLinear with one scale read what a Reshape, Transpose or their like reads, and rearrange the integers.

    Quantizing is element by element, so the result is the same; the layer before can then write integers, and fewer
    bytes are moved. Left alone where the rearranged value comes from DequantizeLinear: there the chain is integer
    anyway, and is recognised as such.

    Guarantees: no QuantizeLinear with constant scalar parameters reads a rearranged value that nothing else reads,
    except behind DequantizeLinear.
    """
    changed = False
    for node in nodes_of(model, "QuantizeLinear"):
        while _hoist(node):
            changed = True
    return changed


def _hoist(quantize: onnx_ir.Node) -> bool:
    """Move `quantize` above the node that it reads from."""
    mover = producer_of(quantize.inputs[0], *_REARRANGING)
    if mover is None or single_consumer(mover.outputs[0]) is not quantize or mover.graph is not quantize.graph:
        return False
    if any(scalar_of(value) is None for value in quantize.inputs[1:]) or _is_dequantized(mover.inputs[0]):
        return False
    source, result = mover.inputs[0], quantize.outputs[0]
    if source is None or source.is_initializer():
        return False
    early = make_node("QuantizeLinear", [source, *quantize.inputs[1:]], name=quantize.name)
    for attribute in quantize.attributes.values():
        early.attributes.add(attribute)
    early.outputs[0].type, early.outputs[0].shape = result.type, source.shape
    integers = insert_before(mover, early)
    _rearrange(mover, integers, quantize)
    return _hoist(early) or True


def _rearrange(mover: onnx_ir.Node, integers: onnx_ir.Value, quantize: onnx_ir.Node) -> None:
    """Let `mover` work on the integers and give what `quantize` gave."""
    result, moved = quantize.outputs[0], mover.outputs[0]
    name, value_type = result.name, result.type
    mover.replace_input_with(0, integers)
    result.replace_all_uses_with(moved, replace_graph_outputs=True)
    remove_nodes(quantize)
    result.name = None
    moved.name, moved.type = name, value_type


def _is_dequantized(value: onnx_ir.Value | None) -> bool:
    """Whether `value` is a rearrangement of a dequantized tensor."""
    node = producer_of(value, "DequantizeLinear", *_REARRANGING)
    return node is not None and (node.op_type == "DequantizeLinear" or _is_dequantized(node.inputs[0]))
