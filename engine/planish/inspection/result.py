"""What an inspection finds. Sizes are in bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class TensorFacts:
    """An input or output: the shape as declared, with names of symbolic dimensions."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class Operator:
    """An ONNX operator of the model: how many nodes it has, and why those that fall back do."""

    name: str
    count: int
    fallback: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """The ONNX file. `storage`: form of constants (float32, int8, codebook, blocks, …) → (elements, bytes)."""

    producer: str
    ir_version: int
    opsets: dict[str, int]
    operators: tuple[str, ...]
    storage: dict[str, tuple[int, int]]
    metadata: dict[str, str]

    @property
    def parameters(self) -> int:
        """Elements of all constants."""
        return sum(elements for elements, _ in self.storage.values())


@dataclass(frozen=True)
class WeightFacts:
    """Packed weights of a layer. `dense` is what they take as float32 or the dense integer form they stand for.

    zeros: the share of zeros, 0 to 1; unique: the number of different values, None where there are more than 4096.
    """

    format: str
    shape: tuple[int, ...]
    packed: int
    dense: int
    zeros: float | None = None
    unique: int | None = None


@dataclass(frozen=True)
class LayerFacts:
    """One instruction, or one call of the fallback. Tensors read and made are numbers, for drawing the graph."""

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    macs: int = 0
    weights: WeightFacts | None = None
    kernel: str = ""
    reason: str = ""
    native: bool = True
    notes: tuple[str, ...] = ()
    reads: tuple[int, ...] = ()
    makes: tuple[int, ...] = ()


@dataclass
class Inspection:
    """A model as it is stored and as it would run on this machine."""

    path: str
    file_bytes: int
    isa: str
    threads: int
    inputs: list[TensorFacts]
    outputs: list[TensorFacts]
    source: Source | None = None
    operators: list[Operator] = field(default_factory=list)
    layers: list[LayerFacts] = field(default_factory=list)
    #: Steps that cost nothing at run time: views of other tensors, and arithmetic on shapes.
    free_steps: int = 0
    #: Bytes of intermediate tensors: the arena that is reserved, and what they would take without sharing memory.
    arena: int = 0
    tensors: int = 0
    #: Bytes of constants in memory: all of them, and those in a kernel's own format.
    resident: int = 0
    packed: int = 0
    notes: list[str] = field(default_factory=list)
    #: Why the model cannot run, or not at these shapes; empty where it can.
    problems: list[str] = field(default_factory=list)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run."""
        return sum(layer.macs for layer in self.layers)

    @property
    def native(self) -> int:
        """Instructions that run inside the Program."""
        return sum(layer.native for layer in self.layers)

    @property
    def fallbacks(self) -> int:
        """Calls of the reference evaluator."""
        return len(self.layers) - self.native

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "macs": self.macs, "native": self.native, "fallbacks": self.fallbacks}
