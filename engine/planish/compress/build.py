"""Building a compressed model: from what is to be done to each layer to the ONNX graph that does it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from planish.compress.coding import CodedWeight
from planish.compress.editor import GraphEditor
from planish.compress.forms import write_weight
from planish.compress.graph import FloatModel, Layer
from planish.compress.recipe import LayerSpec
from planish.compress.static import QdqWriter, StaticPlan, quantize_bias

Biases = Mapping[str, NDArray[np.float32]]

#: The scale and zero of a dynamically quantized tensor are computed from its least and greatest value at every run.
_DYNAMIC = "DynamicQuantizeLinear"


@dataclasses.dataclass
class Parts:
    """All that a compressed model is built from."""

    specs: dict[str, LayerSpec]
    coded: dict[str, CodedWeight]
    biases: dict[str, NDArray[np.float32]]
    plan: StaticPlan | None = None


def unfit_layers(source: FloatModel, parts: Parts) -> list[Layer]:
    """The static integer layers whose accumulator could leave int32."""
    static = [layer for layer in source.layers if is_static(parts.specs[layer.name])]
    return [layer for layer in static if integer_bias(layer, parts) is None]


def fitting_scale(layer: Layer, parts: Parts) -> NDArray[np.float64]:
    """Weight scales, float64[N], with which the bias is at most 2^30 steps.

    Where such a scale is above the weights' own, the bias outweighs all the weights can add by so much that their
    coarser rounding changes the output by less than K parts in ten million.
    """
    quantization = parts.plan.of(layer.input) if parts.plan is not None else None
    bias = parts.biases.get(layer.name)
    if quantization is None or bias is None:
        return np.zeros(layer.rows)
    return np.abs(bias.astype(np.float64)) / (float(quantization.scale) * 2.0**30)


def is_static(spec: LayerSpec) -> bool:
    """Whether the layer runs in integers with scales fixed by calibration."""
    return spec.keep is None and spec.activations in ("uint8", "int8")


def integer_bias(layer: Layer, parts: Parts) -> tuple[NDArray[np.int32], NDArray[np.float32]] | None:
    """The int32 bias (zeros where there is none) and its scale; None where it does not fit."""
    quantization = parts.plan.of(layer.input) if parts.plan is not None else None
    coded = parts.coded[layer.name]
    if quantization is None or coded.scale is None:
        return None
    bias = parts.biases.get(layer.name, np.zeros(layer.rows, np.float32))
    values = coded.values
    if coded.index is not None and coded.codebook is not None:
        rows = np.repeat(np.arange(len(coded.codebook)), layer.rows // len(coded.codebook))[:, np.newaxis]
        values = coded.codebook[rows, coded.index]
    assert values is not None
    return quantize_bias(bias, quantization.scale, coded.scale, np.asarray(values, np.int8))


def build_model(source: FloatModel, parts: Parts) -> ir.Model:
    """The compressed graph. `parts.plan` carries the parameters of every statically quantized tensor."""
    model = source.copy()
    touched = [layer for layer in source.layers if layer.name in parts.coded]
    editor = GraphEditor(model)
    written: dict[tuple[str, int], ir.Value] = {}
    for layer in touched:
        _write_layer(editor, layer, parts, written)
    if parts.plan is not None:
        QdqWriter(editor, parts.plan).write()
    _write_dynamic(editor, source, parts)
    editor.drop_unused()
    model.ir_version = 13 if model.opset_imports[""] >= 25 else 10 if model.opset_imports[""] >= 21 else 8
    return model


def _write_layer(editor: GraphEditor, layer: Layer, parts: Parts, written: dict[tuple[str, int], ir.Value]) -> None:
    """Replace the weight and the bias of one layer by their stored forms."""
    node, coded = editor.nodes[layer.node], parts.coded[layer.name]
    key = (layer.weight, id(coded))
    if key not in written:
        written[key] = write_weight(editor, _first_reader(editor, layer.weight, node), layer.weight, coded)
    node.replace_input_with(1, written[key])
    holder = editor.nodes[layer.bias_node] if layer.bias_node is not None else node
    bias = _write_bias(editor, layer, parts, holder)
    if bias is None:
        return
    if layer.bias_node is not None:
        position = 0 if str(holder.inputs[0].name) == layer.bias else 1  # type: ignore[union-attr]
        holder.replace_input_with(position, bias)
    else:
        if len(node.inputs) < 3:
            node.resize_inputs(3)
        node.replace_input_with(2, bias)


def _first_reader(editor: GraphEditor, weight: str, node: ir.Node) -> ir.Node:
    """The first node that reads a weight; its form goes in front of it, so that tied layers share it."""
    value = editor.graph.initializers.get(weight)
    if value is None:
        return node
    readers = {id(reader) for reader, _ in value.uses()}
    return next((other for other in editor.graph if id(other) in readers), node)


def _write_bias(editor: GraphEditor, layer: Layer, parts: Parts, holder: ir.Node) -> ir.Value | None:
    """The bias as the layer reads it; None where the layer has none."""
    if layer.name not in parts.biases:
        return None
    name = layer.bias or f"{layer.name}_bias"
    if not is_static(parts.specs[layer.name]):
        return editor.constant(name, parts.biases[layer.name])
    found = integer_bias(layer, parts)
    assert found is not None, "unfit layers are kept in float before a model is built"
    values, scale = found
    uniform = bool((scale == scale[0]).all())
    raw = editor.constant(f"{name}_quantized", values)
    factor = editor.constant(f"{name}_scale", scale[0].reshape(()) if uniform else scale)
    attributes = {} if uniform else {"axis": 0}
    return editor.node(holder, "DequantizeLinear", [raw, factor], attributes, name=f"{name}_dequantized")


def _write_dynamic(editor: GraphEditor, source: FloatModel, parts: Parts) -> None:
    """What dynamic layers read passes through DynamicQuantizeLinear and back, once a tensor."""
    made: dict[str, ir.Value] = {}
    for layer in source.layers:
        spec = parts.specs[layer.name]
        if spec.keep is not None or spec.activations != "dynamic":
            continue
        if layer.input not in made:
            value = editor.values[layer.input]
            names = [f"{layer.input}_quantized", f"{layer.input}_scale", f"{layer.input}_zero_point"]
            quantized = editor.node_behind(value, _DYNAMIC, [value], names, ir.DataType.UINT8)
            quantized[1].type = ir.TensorType(ir.DataType.FLOAT)
            quantized[2].type = ir.TensorType(ir.DataType.UINT8)
            (made[layer.input],) = editor.node_behind(
                quantized[0], "DequantizeLinear", quantized, [f"{layer.input}_dequantized"]
            )
        editor.nodes[layer.node].replace_input_with(0, made[layer.input])
