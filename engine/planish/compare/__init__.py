"""How much less accurate a compressed model is, and where."""

import sys
import types
from typing import Any

from planish.compare.api import Comparison, LayerComparison, OutputComparison, compare

__all__ = ["Comparison", "LayerComparison", "OutputComparison", "compare"]


class _Callable(types.ModuleType):
    """The package shares its name with the function `planish.compare`; calling it calls the function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return compare(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
