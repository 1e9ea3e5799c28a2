"""What is measured: a model file in an engine."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from planish.errors import UsageError

ENGINES = ("planish", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Contestant:
    """A model file in one of :data:`ENGINES`, under the name the table gives it; names are unique in a measurement."""

    name: str
    path: Path
    engine: str = "planish"

    def check(self) -> None:
        """UsageError for an unknown engine, one that is not installed, or a path that is no file."""
        if self.engine not in ENGINES:
            raise UsageError(f"engine '{self.engine}': unknown; choose one of {', '.join(ENGINES)}")
        if importlib.util.find_spec(self.engine) is None:
            raise UsageError(f"engine '{self.engine}': not installed; pip install {self.engine}")
        if not self.path.is_file():
            raise UsageError(f"{self.path}: no such file; give a .onnx or .plan file")


@dataclass(frozen=True)
class InputSpec:
    """An input of a model: its shape (int, the name of a symbolic dimension, or None) and its type, `tensor(float)`."""

    name: str
    shape: tuple[int | str | None, ...]
    type: str
