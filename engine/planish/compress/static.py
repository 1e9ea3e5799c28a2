"""Static int8: which tensors are quantized, which of them share a scale, and where the QDQ pairs go."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from planish.compress.editor import GraphEditor
from planish.compress.graph import is_constant
from planish.compress.observers import HistogramObserver, RangeObserver
from planish.compress.ranges import Quantization, asymmetric, choose_range

#: Operators that only move values: their output shares its input's scale, which loses nothing.
MOVES = frozenset(
    (
        "Reshape",
        "Flatten",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Split",
        "Identity",
        "MaxPool",
        "DepthToSpace",
        "SpaceToDepth",
        "Expand",
        "Tile",
        "Gather",
        "Dropout",
        "Resize",
        "Upsample",
        "Pad",
    )
)
#: Operators that are evaluated on quantized inputs and outputs with a scale of their own each.
COMPUTES = frozenset(
    (
        "Add",
        "Sub",
        "Mul",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "ReduceMean",
        "Relu",
        "Clip",
        "LeakyRelu",
        "PRelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Elu",
        "Gelu",
        "Swish",
        "Min",
        "Max",
    )
)
#: Float operators at the end of a classifier; what they read is quantized as if they were the output.
FINISHES = frozenset(("Softmax", "LogSoftmax", "Sigmoid", "ArgMax", "TopK"))
#: Activations that fold into the range of the tensor they write.
CLAMPS = frozenset(("Relu", "Clip"))


@dataclasses.dataclass
class StaticPlan:
    """The tensors that get a QDQ pair."""

    #: Tensor to the root of its group; the members of a group share their parameters.
    group: dict[str, str]
    #: Root to the tensors whose values decide the group's range.
    sources: dict[str, list[str]]
    #: Tensors of the model's outputs among them: these are never clipped beyond what was seen.
    outputs: frozenset[str] = frozenset()
    parameters: dict[str, Quantization] = dataclasses.field(default_factory=dict)

    @property
    def observed(self) -> list[str]:
        """The tensors that calibration has to watch."""
        return sorted({name for names in self.sources.values() for name in names})

    def of(self, tensor: str) -> Quantization | None:
        """The parameters of a tensor, None where it stays float."""
        root = self.group.get(tensor)
        return None if root is None else self.parameters.get(root)

    def choose(self, observers: Mapping[str, RangeObserver], method: str, percentile: float, dtype: str) -> None:
        """Choose every group's parameters from what was observed."""
        for root, names in self.sources.items():
            merged = merge([observers[name] for name in names])
            exact = any(name in self.outputs for name in names)
            low, high = choose_range(merged, "minmax" if exact else method, percentile)
            self.parameters[root] = asymmetric(low, high, dtype)


def merge(observers: Iterable[RangeObserver]) -> RangeObserver:
    """One observer that has seen what all of them have."""
    first, *rest = list(observers)
    if not rest:
        return first
    merged = HistogramObserver() if isinstance(first, HistogramObserver) else RangeObserver()
    for other in (first, *rest):
        if isinstance(merged, HistogramObserver) and isinstance(other, HistogramObserver):
            merged.merge(other)
        merged.low, merged.high = min(merged.low, other.low), max(merged.high, other.high)
    return merged


def plan_static(model: ir.Model, layer_nodes: Collection[str], products: Collection[str] = ()) -> StaticPlan:
    """Decide which tensors are quantized when the nodes `layer_nodes` run in integers.

    What a layer reads is quantized. What it writes is too, and operators that move values or compute cheaply carry
    integers on, as long as all they read is quantized and something that wants integers, or the end of the model,
    follows. `products`: MatMul nodes of two activations that run in integers too.
    """
    nodes = [node for node in model.graph if node.domain in ("", "ai.onnx")]
    anchors = set(layer_nodes) | set(products)
    read = _read_by_anchors(nodes, anchors, set(products))
    makers = _makers(nodes, anchors, read)
    _drop_useless(makers, anchors, read)
    tensors = read | {str(value.name) for node in makers for value in _written(node)}
    return _group(tensors, [node for node in makers if node.name not in anchors], _graph_outputs(model))


def _graph_outputs(model: ir.Model) -> frozenset[str]:
    return frozenset(str(value.name) for value in model.graph.outputs)


def _is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype in (None, ir.DataType.FLOAT)


def clamp_behind(node: ir.Node) -> ir.Node | None:
    """The Relu or Clip that alone reads what `node` writes, which folds into it."""
    value = node.outputs[0]
    consumers = list(value.consumers())
    if len(consumers) != 1 or value.is_graph_output() or consumers[0].op_type not in CLAMPS:
        return None
    clamp = consumers[0]
    return clamp if all(bound is None or is_constant(bound) for bound in clamp.inputs[1:]) else None


def bias_add_behind(node: ir.Node) -> ir.Node | None:
    """The Add of a constant vector that alone reads what a MatMul writes."""
    value = node.outputs[0]
    consumers = list(value.consumers())
    if node.op_type != "MatMul" or len(consumers) != 1 or value.is_graph_output() or consumers[0].op_type != "Add":
        return None
    return consumers[0] if any(is_constant(other) for other in consumers[0].inputs) else None


def _written(node: ir.Node) -> list[ir.Value]:
    """The float tensors a node writes after its bias and its folded activation."""
    if node.op_type in MOVES:
        return [value for value in node.outputs if value.name and _is_float(value)]
    last = bias_add_behind(node) or node
    folds = node.op_type not in COMPUTES or node.op_type in ("Add", "Sub", "Mul")
    return [((clamp_behind(last) if folds else None) or last).outputs[0]]


def _read_by_anchors(nodes: list[ir.Node], anchors: set[str], products: set[str]) -> set[str]:
    """The activations the layers read."""
    found: set[str] = set()
    for node in nodes:
        if node.name in anchors:
            found.add(str(node.inputs[0].name))  # type: ignore[union-attr]
        if node.name in products:
            found.add(str(node.inputs[1].name))  # type: ignore[union-attr]
    return found


def _makers(nodes: list[ir.Node], anchors: set[str], read: set[str]) -> list[ir.Node]:
    """The layers, and the operators that could carry integers on, in topological order."""
    known = set(read)
    found = []
    for node in nodes:
        carries = node.op_type in MOVES | COMPUTES or node.op_type == "Concat"
        data = _data_inputs(node)
        if node.name in anchors or (carries and data and all(str(value.name) in known for value in data)):
            known.update(str(value.name) for value in _written(node))
            found.append(node)
    return found


def _data_inputs(node: ir.Node) -> list[ir.Value]:
    """The activations a carrier reads; empty where it cannot carry integers."""
    if node.op_type in ("Resize", "Upsample") and node.attributes.get_string("mode", "nearest") == "cubic":
        return []
    if node.op_type == "Pad" and len(node.inputs) > 2 and node.inputs[2] is not None:
        fill = node.inputs[2].const_value
        if fill is None or float(fill.numpy().reshape(-1)[0]) != 0.0:
            return []
    count = 1 if node.op_type in MOVES | {"Clip", "ReduceMean"} else len(node.inputs)
    values = [value for value in node.inputs[:count] if value is not None and not is_constant(value)]
    return values if all(_is_float(value) for value in values) else []


def _drop_useless(makers: list[ir.Node], anchors: set[str], read: set[str]) -> None:
    """Remove those whose results only float operators read; a layer among them then writes float."""
    wanted = anchors | {str(node.name) for node in makers}
    for node in reversed(list(makers)):
        useful = False
        for value in _written(node):
            useful = useful or str(value.name) in read or value.is_graph_output()
            useful = useful or any(str(c.name) in wanted or c.op_type in FINISHES for c in value.consumers())
        if not useful:
            makers.remove(node)
            if node.name not in anchors:
                wanted.discard(str(node.name))


def _group(tensors: set[str], carriers: list[ir.Node], outputs: frozenset[str]) -> StaticPlan:
    """Join the tensors that share a scale, and name the ones whose values decide it."""
    parent = {name: name for name in tensors}

    def find(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    moved: set[str] = set()
    for node in carriers:
        for data in _shared_inputs(node):
            for out in node.outputs:
                if str(out.name) in tensors and str(data.name) in tensors:
                    parent[find(str(out.name))] = find(str(data.name))
        if node.op_type in MOVES or (node.op_type == "Concat" and len(_shared_inputs(node)) == len(node.inputs)):
            moved.update(str(out.name) for out in node.outputs if str(out.name) in tensors)
    group = {name: find(name) for name in sorted(tensors)}
    sources: dict[str, list[str]] = {}
    for name, root in group.items():
        if name not in moved:
            sources.setdefault(root, []).append(name)
    outputs = frozenset(name for name in tensors if any(group.get(out) == group[name] for out in outputs))
    return StaticPlan(group, sources, outputs)


def _shared_inputs(node: ir.Node) -> list[ir.Value]:
    """The inputs of a carrier that share its output's scale.

    An input of a Concat that others read too keeps a scale of its own.
    """
    if node.op_type in MOVES:
        return _data_inputs(node)
    if node.op_type == "Concat":
        return [value for value in _data_inputs(node) if len(list(value.uses())) == 1 and not value.is_graph_output()]
    return []


class QdqWriter:
    """Writes the QDQ pairs of a plan into a graph."""

    def __init__(self, editor: GraphEditor, plan: StaticPlan) -> None:
        self.editor = editor
        self.plan = plan
        self._parameters: dict[str, tuple[ir.Value, ir.Value]] = {}

    def write(self) -> None:
        """Replace every use of each planned tensor by its quantized and dequantized self, and fold clamps away."""
        for name in sorted(self.plan.group):
            quantization = self.plan.of(name)
            value = self.editor.values.get(name)
            if quantization is None or value is None:
                continue
            self._fold_clamp(value, quantization)
            self._insert_pair(self.editor.values[name], quantization)

    def _insert_pair(self, value: ir.Value, quantization: Quantization) -> None:
        name = str(value.name)
        uses = list(value.uses())
        scale, zero = self._constants(name, quantization)
        dtype = ir.DataType.UINT8 if quantization.dtype == "uint8" else ir.DataType.INT8
        (quantized,) = self.editor.node_behind(
            value, "QuantizeLinear", [value, scale, zero], [f"{name}_QuantizeLinear"], dtype
        )
        (real,) = self.editor.node_behind(
            quantized, "DequantizeLinear", [quantized, scale, zero], [f"{name}_DequantizeLinear"]
        )
        for reader, position in uses:
            reader.replace_input_with(position, real)
        if value.is_graph_output():
            self._take_over_output(value, real)

    def _take_over_output(self, value: ir.Value, real: ir.Value) -> None:
        """The dequantized tensor becomes the model's output, under the output's name."""
        name = str(value.name)
        real.type, real.shape = value.type, value.shape
        value.name = self.editor.fresh(f"{name}_QuantizeLinear_Input")
        real.name = name
        for position, output in enumerate(list(self.editor.graph.outputs)):
            if output is value:
                self.editor.graph.outputs[position] = real
        self.editor.values[name] = real
        self.editor.values[str(value.name)] = value

    def _constants(self, name: str, quantization: Quantization) -> tuple[ir.Value, ir.Value]:
        """Scale and zero point of a group, shared by its members."""
        root = self.plan.group[name]
        if root not in self._parameters:
            zero = np.array(quantization.zero_point, quantization.dtype)
            self._parameters[root] = (
                self.editor.constant(f"{root}_scale", np.array(quantization.scale, np.float32)),
                self.editor.constant(f"{root}_zero_point", zero),
            )
        return self._parameters[root]

    def _fold_clamp(self, value: ir.Value, quantization: Quantization) -> None:
        """Drop the Relu or Clip that writes `value` where saturation to the quantized range does the same."""
        clamp = value.producer()
        if clamp is None or clamp.op_type not in CLAMPS or clamp.inputs[0] is None or value.is_graph_output():
            return
        data = clamp.inputs[0]
        if data.producer() is None or len(list(data.uses())) != 1 or str(data.name) in self.plan.group:
            return
        low, high = clamp_bounds(clamp)
        half = 0.5 * float(quantization.scale)
        least, greatest = quantization.range
        if least < low - half * 1e-3 or greatest > high + half:
            return
        name = str(value.name)
        value.replace_all_uses_with(data)
        self.editor.graph.remove(clamp, safe=True)
        data.name = name
        self.editor.values[name] = data


def clamp_bounds(clamp: ir.Node) -> tuple[float, float]:
    """The least and greatest value a Relu or Clip lets through."""
    if clamp.op_type == "Relu":
        return 0.0, float("inf")
    bounds = [-float("inf"), float("inf")]
    for position, value in enumerate(clamp.inputs[1:3]):
        if value is not None and value.const_value is not None:
            bounds[position] = float(value.const_value.numpy())
    return bounds[0], bounds[1]


def quantize_bias(
    bias: NDArray[np.float32], input_scale: np.float32, weight_scale: NDArray[np.float32], values: NDArray[np.int8]
) -> tuple[NDArray[np.int32], NDArray[np.float32]] | None:
    """The bias as int32[N] and its scale float32[N]; None where the accumulator could leave int32.

    `values`: the integer weights, [N, K]; the bound is |bias| + 255 * sum|w| <= 2^31 - 1 for every output.
    """
    with np.errstate(over="ignore", under="ignore"):
        scale = (input_scale * weight_scale).astype(np.float32)
    if not (np.isfinite(scale).all() and (scale >= np.finfo(np.float32).tiny).all()):
        return None
    exact = np.rint(bias.astype(np.float64) / scale.astype(np.float64))
    most = np.abs(exact) + 255.0 * np.abs(values.astype(np.int64)).sum(axis=1)
    if not (np.isfinite(exact).all() and (most <= 2**31 - 1).all()):
        return None
    return exact.astype(np.int32), scale
