"""Step kinds: the operators of the lowered model, by subject. `KINDS` maps a step's kind to its class."""

from planish.steps import arithmetic, convolution, data, matmul, movement, normalisation, pooling, quantized, shape  # noqa: F401
from planish.steps.kind import KINDS

__all__ = ["KINDS"]
