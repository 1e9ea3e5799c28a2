"""planish: compress neural networks and run them fast on CPUs.

    import planish
    session = planish.InferenceSession("model.onnx")
    outputs = session.run(None, {"x": x})

The modules behind these names are imported when a name is first used, so that loading a plan needs NumPy alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from planish.errors import (
    CalibrationError,
    InputError,
    ModelError,
    OutputError,
    PlanError,
    PlanishError,
    RecipeError,
    UsageError,
)

if TYPE_CHECKING:
    from planish.compare import compare
    from planish.compress import compress
    from planish.plan import export
    from planish.session import InferenceSession, SessionOptions

__version__ = "0.1.0"
__all__ = [
    "CalibrationError", "InferenceSession", "InputError", "ModelError", "OutputError", "PlanError", "PlanishError",
    "RecipeError", "SessionOptions", "UsageError", "__version__", "compare", "compress", "export",
]  # fmt: skip

_LAZY = {
    "InferenceSession": "planish.session",
    "SessionOptions": "planish.session",
    "compress": "planish.compress",
    "compare": "planish.compare",
    "export": "planish.plan",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'planish' has no attribute '{name}'")
    module = import_module(_LAZY[name])
    value = globals()[name] = getattr(module, name)
    return value
