"""JSON results: finite numbers only, on the standard output or in a file."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from planish.files import write_atomic

STANDARD_OUTPUT = "-"


def write_json(document: Any, target: str) -> None:
    """Write plain data to a file, or to the standard output for `-`; infinite and undefined numbers become null."""
    write_json_text(json.dumps(_finite(document), indent=2, allow_nan=False), target)


def write_json_text(text: str, target: str) -> None:
    """Write what is JSON already, as `write_json` does."""
    if target == STANDARD_OUTPUT:
        sys.stdout.write(text.rstrip("\n") + "\n")
    else:
        write_atomic(target, (text.rstrip("\n") + "\n").encode())


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value
