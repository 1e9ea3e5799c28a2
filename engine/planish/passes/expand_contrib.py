"""expand_contrib: operators of ONNX Runtime's own domain are written out in standard ones."""

from __future__ import annotations

import onnx_ir

from planish.passes.contrib_attention import RULES as ATTENTION
from planish.passes.contrib_layers import RULES as LAYERS
from planish.passes.contrib_quantized import RULES as QUANTIZED
from planish.passes.patterns import graphs_of
from planish.passes.upgrade_opset import TARGET

_RULES = {**LAYERS, **ATTENTION, **QUANTIZED}


def expand_contrib(model: onnx_ir.Model) -> bool:
    """Rewrite operators of com.microsoft whose meaning has a composition in ONNX.

    A rule declines forms that it does not know (they are left, and reported as not supported), and forms that the
    lowering takes as they are: quantized operators with constant parameters, MatMulNBits.

    Guarantees: of the operators that have rules, only declined forms remain.
    """
    changed = False
    for graph in graphs_of(model):
        for node in list(graph):
            rule = _RULES.get(node.op_type) if node.domain == "com.microsoft" else None
            if rule is not None and rule(node):
                changed = True
    if changed and "" not in model.opset_imports:
        model.opset_imports[""] = TARGET
    return changed
