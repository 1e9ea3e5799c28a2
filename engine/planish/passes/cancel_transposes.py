"""cancel_transposes: Transposes are merged, moved past operators that do not care, and cancelled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir

from planish.passes.layout_rules import Adapt, adapt, data_inputs, reduced_order
from planish.passes.patterns import (
    dims_of,
    input_at,
    ints_of,
    is_constant,
    is_permutation_identity,
    nodes_of,
    normal_axis,
    producer_of,
    rank_of,
    single_consumer,
)
from planish.passes.rewrite import (
    add_constant,
    bypass,
    insert_before,
    make_node,
    remove_nodes,
    replace_node,
    set_input,
)

Perm = tuple[int, ...]

#: What a symbolic dimension counts when the cost of a Transpose is estimated.
_TYPICAL_DIM = 64
_MAX_REGION = 256


def cancel_transposes(model: onnx_ir.Model) -> bool:
    """Merge consecutive Transposes, also around a Squeeze or Unsqueeze, and let regions between Transposes run in
    the order of the data before them.

    A region is a set of connected nodes that compute the same in any axis order (element-wise, Concat, Softmax,
    reductions, Slice, Pad, …, their axes and constants adapted). It is rewritten if that costs fewer elements
    transposed than it saves: Transposes that feed it vanish, those behind it merge with the order that it now has,
    other inputs and outputs of the region get a new Transpose. Models born channels-last lose nearly all of theirs.

    Guarantees: no Transpose follows another; no region is left where moving would save elements, as far as regions
    below one Transpose are concerned.
    """
    changed = False
    for node in nodes_of(model, "Transpose"):
        changed |= _merge_pair(node) or _merge_around_unit_axes(node)
    for node in nodes_of(model, "Transpose"):
        changed |= _move(node)
    return changed


def _perm_of(node: onnx_ir.Node) -> Perm | None:
    perm = node.attributes.get_ints("perm")
    if perm is not None:
        return tuple(perm)
    rank = rank_of(node.inputs[0])
    return None if rank is None else tuple(range(rank))[::-1]


def _merge_pair(node: onnx_ir.Node) -> bool:
    """Transpose after Transpose: one, or none."""
    first = producer_of(node.inputs[0], "Transpose")
    if first is None:
        return False
    inner, outer = _perm_of(first), _perm_of(node)
    source = first.inputs[0]
    if inner is None or outer is None or source is None or len(inner) != len(outer):
        return False
    perm = [inner[axis] for axis in outer]
    if is_permutation_identity(perm):
        return bypass(node.outputs[0], source)
    replace_node(node, make_node("Transpose", [source], {"perm": perm}, like=node.outputs[0]))
    return True


def _merge_around_unit_axes(node: onnx_ir.Node) -> bool:
    """Transpose, Squeeze or Unsqueeze, Transpose (`node`): two nodes do, or one."""
    middle = producer_of(node.inputs[0], "Squeeze", "Unsqueeze")
    first = None if middle is None else producer_of(middle.inputs[0], "Transpose")
    if middle is None or first is None or single_consumer(middle.outputs[0]) is not node:
        return False
    inner, outer, axes = _perm_of(first), _perm_of(node), ints_of(input_at(middle, 1))
    source, graph = first.inputs[0], node.graph
    if inner is None or outer is None or not axes or source is None or not isinstance(graph, onnx_ir.Graph):
        return False
    adding = middle.op_type == "Unsqueeze"
    axes = [normal_axis(a, len(outer) if adding else len(inner)) for a in axes]
    unit_axes, order = _around_added(inner, axes, outer) if adding else _around_removed(inner, axes, outer)
    parameter = add_constant(graph, np.array(unit_axes, np.int64), f"{node.outputs[0].name}.axes")
    y = node.outputs[0]
    if is_permutation_identity(order):
        replace_node(node, make_node(middle.op_type, [source, parameter], like=y, name=middle.name))
    elif adding:
        turned = make_node("Transpose", [source], {"perm": order}, dtype=y.dtype)
        turned.outputs[0].shape = None if source.shape is None else onnx_ir.Shape([source.shape[a] for a in order])
        reshaped = make_node("Unsqueeze", [turned.outputs[0], parameter], like=y, name=middle.name)
        replace_node(node, turned, reshaped)
    else:
        reshaped = make_node("Squeeze", [source, parameter], dtype=y.dtype, name=middle.name)
        if y.shape is not None:
            reshaped.outputs[0].shape = onnx_ir.Shape([y.shape[a] for a in np.argsort(order)])
        replace_node(node, reshaped, make_node("Transpose", [reshaped.outputs[0]], {"perm": order}, like=y))
    remove_nodes(middle)
    return True


def _around_added(inner: Perm, axes: list[int], outer: Perm) -> tuple[list[int], list[int]]:
    """(axes to add, order of the source's axes between them) of the result."""
    kept = [a for a in range(len(outer)) if a not in axes]
    return (
        [place for place, axis in enumerate(outer) if axis in axes],
        [inner[kept.index(axis)] for axis in outer if axis not in axes],
    )


def _around_removed(inner: Perm, axes: list[int], outer: Perm) -> tuple[list[int], list[int]]:
    """(axes of the source to remove, order of those that are left) of the result."""
    removed = sorted(inner[a] for a in axes)
    left = [a for a in range(len(inner)) if a not in removed]
    kept = [a for a in range(len(inner)) if a not in axes]
    return removed, [left.index(inner[kept[axis]]) for axis in outer]


@dataclass
class _Region:
    """Nodes to be rewritten in the stored order, and the edges that cross the border."""

    perm: Perm
    nodes: dict[onnx_ir.Node, Adapt] = field(default_factory=dict)

    def inputs(self) -> dict[onnx_ir.Value, list[tuple[onnx_ir.Node, int]]]:
        """Computed values that come from outside, with their uses."""
        found: dict[onnx_ir.Value, list[tuple[onnx_ir.Node, int]]] = {}
        for node in self.nodes:
            for index in data_inputs(node):
                value = node.inputs[index]
                if value is not None and not is_constant(value) and value.producer() not in self.nodes:
                    found.setdefault(value, []).append((node, index))
        return found

    def outputs(self) -> list[onnx_ir.Value]:
        """Values that are read outside or are graph outputs."""
        return [
            value
            for node in self.nodes
            for value in node.outputs
            if value.is_graph_output() or any(use.node not in self.nodes for use in value.uses())
        ]


def _move(transpose: onnx_ir.Node) -> bool:
    """Rewrite the region below one Transpose if it pays."""
    perm = _perm_of(transpose)
    if perm is None or transpose.graph is None:
        return False
    for region in _candidates(transpose, perm):
        if region.nodes and _saving(region) > 0:
            _rewrite(region)
            return True
    return _absorb_in_reductions(transpose, perm)


def _candidates(transpose: onnx_ir.Node, perm: Perm) -> list[_Region]:
    """The whole region below the Transpose, then the region of each consumer alone."""
    regions = [_grow(list(transpose.outputs[0].consumers()), transpose, perm, _MAX_REGION)]
    regions += [_grow([node], transpose, perm, 1) for node in transpose.outputs[0].consumers()]
    return regions


def _grow(seeds: Sequence[onnx_ir.Node], transpose: onnx_ir.Node, perm: Perm, limit: int) -> _Region:
    region = _Region(perm)
    pending = list(seeds)
    while pending and len(region.nodes) < limit:
        node = pending.pop(0)
        if node in region.nodes or node.graph is not transpose.graph:
            continue
        apply = adapt(node, perm)
        if apply is not None:
            region.nodes[node] = apply
            pending += [user for value in node.outputs for user in value.consumers()]
    _trim(region)
    return region


def _trim(region: _Region) -> None:
    """Take quantization out at the lower border: a Transpose behind it would part it from the layer that it belongs
    to."""
    while border := [node for node in region.nodes if _is_quantization_at_border(region, node)]:
        for node in border:
            del region.nodes[node]


def _is_quantization_at_border(region: _Region, node: onnx_ir.Node) -> bool:
    return node.op_type in ("QuantizeLinear", "DequantizeLinear") and any(
        user not in region.nodes and user.op_type != "Transpose" for user in node.outputs[0].consumers()
    )


def _saving(region: _Region) -> int:
    """Elements that need no transposing any more, minus those that newly do."""
    saved = 0
    for value in region.inputs():
        source = producer_of(value, "Transpose")
        if source is not None and _perm_of(source) == region.perm:
            others = [use for use in value.uses() if use.node not in region.nodes]
            saved += 0 if others or value.is_graph_output() else _cost(value)
        else:
            saved -= _cost(value)
    for value in region.outputs():
        saved += _output_saving(region, value)
    return saved


def _output_saving(region: _Region, value: onnx_ir.Value) -> int:
    """What an output of the region saves where inverse Transposes follow, or costs where anything else does."""
    saved, needs_transpose = 0, value.is_graph_output()
    for use in value.uses():
        if use.node in region.nodes:
            continue
        perm = _perm_of(use.node) if use.node.op_type == "Transpose" and use.node.domain == "" else None
        if perm is None:
            needs_transpose |= not _is_free_reduction(region, use.node)
        elif is_permutation_identity([region.perm[axis] for axis in perm]):
            saved += _cost(value)
    return saved - (_cost(value) if needs_transpose else 0)


def _is_free_reduction(region: _Region, node: onnx_ir.Node) -> bool:
    order = reduced_order(node, region.perm)
    return order is not None and is_permutation_identity(order[1])


def _cost(value: onnx_ir.Value) -> int:
    dims = dims_of(value) or (None,) * 4
    return max(math.prod(_TYPICAL_DIM if d is None else d for d in dims), 1)


def _stored_dims(value: onnx_ir.Value, perm: Perm) -> onnx_ir.Shape | None:
    """The shape of a value of the present order in the stored one."""
    if value.shape is None:
        return None
    return onnx_ir.Shape([value.shape[axis] for axis in np.argsort(perm)])


def _rewrite(region: _Region) -> None:
    """Feed the region in the stored order, adapt its nodes, and bring what leaves it back."""
    graph = next(iter(region.nodes)).graph
    assert graph is not None
    order = {node: index for index, node in enumerate(graph)}
    for value, uses in region.inputs().items():
        first = min((node for node, _ in uses), key=order.__getitem__)
        stored = _stored_value(region, value, first)
        for node, index in uses:
            node.replace_input_with(index, stored)
    leaving = region.outputs()
    for node, apply in region.nodes.items():
        apply()
        for value in node.outputs:
            value.shape = _stored_dims(value, region.perm)
    for value in leaving:
        _bring_back(region, value)


def _stored_value(region: _Region, value: onnx_ir.Value, first: onnx_ir.Node) -> onnx_ir.Value:
    """`value` in the stored order: what its Transpose reads, or a new Transpose in front of its first user."""
    source = producer_of(value, "Transpose")
    if source is not None and _perm_of(source) == region.perm and source.inputs[0] is not None:
        return source.inputs[0]
    perm = [int(axis) for axis in np.argsort(region.perm)]
    node = make_node("Transpose", [value], {"perm": perm}, dtype=value.dtype)
    node.outputs[0].shape = _stored_dims(value, region.perm)
    return insert_before(first, node)


def _bring_back(region: _Region, value: onnx_ir.Value) -> None:
    """A Transpose for those who read `value` from outside the region, in the present order."""
    producer = value.producer()
    assert producer is not None
    graph = producer.graph
    assert isinstance(graph, onnx_ir.Graph)
    shape = value.shape
    back = make_node("Transpose", [value], {"perm": list(region.perm)}, dtype=value.dtype)
    result = back.outputs[0]
    if shape is not None:
        result.shape = onnx_ir.Shape([shape[axis] for axis in region.perm])
    graph.insert_after(producer, back)
    for use in value.uses():
        if use.node not in region.nodes and use.node is not back:
            use.node.replace_input_with(use.idx, result)
    if value.is_graph_output():
        name = value.name
        for index, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[index] = result
        value.name = f"{name}.stored"
        result.name = name


def _absorb_in_reductions(transpose: onnx_ir.Node, perm: Perm) -> bool:
    """Let reductions that drop axes read the data before the Transpose, where the remaining axes keep their order."""
    changed = False
    for node in transpose.outputs[0].consumers():
        order = reduced_order(node, perm)
        graph = node.graph
        if order is None or not is_permutation_identity(order[1]) or not isinstance(graph, onnx_ir.Graph):
            continue
        axes = add_constant(graph, np.array(order[0], np.int64), f"{node.outputs[0].name}.axes")
        set_input(node, 1, axes)
        set_input(node, 0, transpose.inputs[0])
        changed = True
    return changed
