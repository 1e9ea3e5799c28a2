"""How each ONNX operator is lowered, by subject; importing this package fills `planish.lowering.builder.RULES`."""

from planish.lowering.rules import (  # noqa: F401
    bits,
    composed,
    computed,
    control,
    dynamic,
    elementwise,
    linear,
    movement,
    normalisation,
    pooling,
    quantization,
    recurrent,
    sampling,
    selection,
    sequences,
    signals,
)
