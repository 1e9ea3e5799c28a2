"""inline_functions: calls of the model's own functions are replaced by their bodies."""

from __future__ import annotations

import onnx_ir
import onnx_ir.passes.common

from planish.errors import ModelError


def inline_functions(model: onnx_ir.Model) -> bool:
    """Replace every call of a model-local function by the function's nodes, to any depth.

    Guarantees: the model has no functions.
    Raises ModelError for recursive functions and for functions of another opset than the model's.
    """
    if not model.functions:
        return False
    try:
        onnx_ir.passes.common.InlinePass()(model)
    except (ValueError, onnx_ir.passes.PassError) as error:
        detail = " ".join(str(error).split())[:200]
        raise ModelError(f"functions of the model: cannot be inlined: {detail}; inline them when exporting") from None
    model.functions.clear()
    return True
