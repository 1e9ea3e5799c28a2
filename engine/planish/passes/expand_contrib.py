"""expand_contrib: operators of ONNX Runtime's own domain are written out in standard ones."""

from __future__ import annotations

import onnx_ir

from planish.passes.contrib_attention import RULES as ATTENTION
from planish.passes.contrib_layers import RULES as LAYERS
from planish.passes.contrib_quantized import RULES as QUANTIZED
from planish.passes.patterns import nodes_of
from planish.passes.upgrade_opset import TARGET

_RULES = {**LAYERS, **ATTENTION, **QUANTIZED}


def expand_contrib(model: onnx_ir.Model) -> bool:
    """Rewrite operators of com.microsoft whose meaning has a composition in ONNX.

    A rule declines forms that it does not know (they are left, and reported as not supported), and forms that the
    lowering takes as they are: quantized operators with constant parameters, MatMulNBits.

    Guarantees: of the operators that have rules, only declined forms remain.
    """
    changed = False
    for node in nodes_of(model, *_RULES, domain="com.microsoft"):
        changed |= _RULES[node.op_type](node)
    if changed and "" not in model.opset_imports:
        model.opset_imports[""] = TARGET
    return changed
