"""Step kinds: the operators of the lowered model, by subject. `KINDS` maps a step's kind to its class."""

from planish.steps import (  # noqa: F401
    arithmetic,
    control,
    convolution,
    data,
    einsum,
    linear_algebra,
    matmul,
    movement,
    normalisation,
    packing,
    pooling,
    quantized,
    resampling,
    sampling,
    selection,
    shape,
)
from planish.steps.kind import KINDS

__all__ = ["KINDS"]
