"""Offline compression: quantize, prune and cluster an ONNX model without a training framework."""

import sys
import types
from typing import Any

from planish.compress.api import compress
from planish.compress.recipe import Recipe, load_recipe, parse_recipe, recipe_names
from planish.compress.report import LayerReport, Report, Total

__all__ = ["LayerReport", "Recipe", "Report", "Total", "compress", "load_recipe", "parse_recipe", "recipe_names"]


class _Callable(types.ModuleType):
    """The package shares its name with the function `planish.compress`; calling it calls the function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return compress(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
