"""Outputs that are maps, as scikit-learn's converters make them by default.

A classifier's file ends in ai.onnx.ml's ZipMap: one dictionary {class label: score} for each row. `onnx_ir` has no
maps, and nothing can be computed with them: import takes the ZipMap off, the session gives the dictionaries, and what
compression writes has its ZipMap again.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import TensorProto, helper

from planish.errors import ModelError

Labels = tuple[int, ...] | tuple[str, ...]

#: Key in `onnx_ir.Model.meta`: output name → class labels.
ZIP_MAPS = "planish.zip_maps"
_DOMAIN = "ai.onnx.ml"


def detach_zip_maps(proto: onnx.ModelProto, where: str) -> tuple[onnx.ModelProto, dict[str, Labels]]:
    """`proto` without the ZipMaps of its outputs, which become the tensors of scores [N, classes]; and their labels.

    `proto` itself where there are none. Raises ModelError for other inputs or outputs that are maps.
    """
    for port in proto.graph.input:
        if _is_map(port.type):
            raise ModelError(f"{where}: input '{port.name}': is a map; export the model with tensors as inputs")
    names = {port.name for port in proto.graph.output if _is_map(port.type)}
    if not names:
        return proto, {}
    plain = onnx.ModelProto()
    plain.CopyFrom(proto)
    labels: dict[str, Labels] = {}
    for node in plain.graph.node:
        if node.op_type == "ZipMap" and node.domain == _DOMAIN and node.output[0] in names:
            labels[node.output[0]] = _labels_of(node, where)
            identity = helper.make_node("Identity", node.input[:1], node.output[:1], name=node.name)
            node.CopyFrom(identity)
    for port in plain.graph.output:
        if port.name in labels:
            port.type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, [None, len(labels[port.name])]))
        elif port.name in names:
            raise ModelError(f"{where}: output '{port.name}': is a map that no ZipMap makes; export the model without")
    return plain, labels


def attach_zip_maps(proto: onnx.ModelProto, labels: Mapping[str, Labels]) -> None:
    """Undo `detach_zip_maps` in a model whose outputs still have their names."""
    graph = proto.graph
    for name, keys in labels.items():
        scores = f"{name}.scores"
        for node in graph.node:
            for values in (node.input, node.output):
                values[:] = [scores if value == name else value for value in values]
        strings = bool(keys) and isinstance(keys[0], str)
        node = helper.make_node("ZipMap", [scores], [name], name=name, domain=_DOMAIN)
        node.attribute.append(helper.make_attribute(f"classlabels_{'strings' if strings else 'int64s'}", list(keys)))
        graph.node.append(node)
        key_type = TensorProto.STRING if strings else TensorProto.INT64
        row = helper.make_map_type_proto(key_type, helper.make_tensor_type_proto(TensorProto.FLOAT, ()))
        (port,) = (port for port in graph.output if port.name == name)
        port.type.CopyFrom(helper.make_sequence_type_proto(row))
    if labels and all(opset.domain != _DOMAIN for opset in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid(_DOMAIN, 1))


def _is_map(type_proto: onnx.TypeProto) -> bool:
    if type_proto.WhichOneof("value") == "sequence_type":
        return _is_map(type_proto.sequence_type.elem_type)
    return bool(type_proto.WhichOneof("value") == "map_type")


def _labels_of(node: onnx.NodeProto, where: str) -> Labels:
    for attribute in node.attribute:
        if attribute.name == "classlabels_int64s" and attribute.ints:
            return tuple(attribute.ints)
        if attribute.name == "classlabels_strings" and attribute.strings:
            return tuple(s.decode("utf-8", "replace") for s in attribute.strings)
    raise ModelError(f"{where}: node '{node.name}' (ZipMap): has no class labels; export the model again")
