"""upgrade_opset: the model is rewritten in one modern opset, so that every later stage knows one form per operator."""

from __future__ import annotations

import onnx_ir

from planish.errors import ModelError
from planish.passes.node_index import drop_index
from planish.passes.opset_rules import RULES
from planish.passes.patterns import nodes_of
from planish.passes.weightless import replace_by_proto

#: The opset of canonical models: the first with blocked quantization and 4-bit types, in IR version 10.
TARGET = 21
_TARGET_IR = 10
#: Older opsets go through onnx's own converter up to this one first.
_OLDEST = 7


def upgrade_opset(model: onnx_ir.Model) -> bool:
    """Rewrite a model of opset 1 to 20 in opset 21; newer models keep their opset.

    By the rules of `opset_rules`; below opset 7 by onnx's version converter first, up to 7. Other domains stay.

    Guarantees: attributes that became inputs are inputs, Softmax and its like normalise one axis, Upsample and Scatter
    do not occur, the opset is at least 21 and the IR version at least 10. Raises ModelError for the few old forms
    without an equivalent.
    """
    opset = model.opset_imports.get("")
    if opset is None or opset >= TARGET:
        return False
    if opset < _OLDEST:
        _convert_by_onnx(model, opset)
    for node in nodes_of(model, *RULES):
        before, rule = RULES[node.op_type]
        if opset < before:
            rule(node, opset)
    drop_index()  # rules rename operators
    model.opset_imports[""] = TARGET
    model.ir_version = max(model.ir_version, _TARGET_IR)
    return True


def _convert_by_onnx(model: onnx_ir.Model, opset: int) -> None:
    import onnx.version_converter

    try:
        converted = onnx.version_converter.convert_version(onnx_ir.to_proto(model), _OLDEST)
    except Exception as error:
        # The converter raises RuntimeError and others of its own, with C++ locations in the text.
        detail = " ".join(str(error).split())[:200]
        raise ModelError(f"opset {opset}: cannot be converted: {detail}; export for opset 13 or newer") from None
    replace_by_proto(model, converted)
