"""ONNX Runtime's quantization calls, with its signatures, on planish's compressor.

Replace ``from onnxruntime.quantization import ...`` by ``from planish.quantization import ...``. What differs: weights
always get a scale an output channel, the range is never reduced (no kernel saturates), and the result is always QDQ.
"""

from __future__ import annotations

import enum
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from planish.compress import Report, compress
from planish.compress.graph import LAYER_OPS
from planish.compress.recipe import Recipe, Rule
from planish.errors import UsageError

ModelInput = str | os.PathLike[str] | onnx.ModelProto

__all__ = [
    "CalibrationDataReader",
    "CalibrationMethod",
    "QuantFormat",
    "QuantType",
    "quantize_dynamic",
    "quantize_static",
]


class CalibrationDataReader:
    """Base of a user's reader of calibration data: `get_next` gives a feed, or None at the end."""

    def get_next(self) -> Mapping[str, NDArray[Any]] | None:
        """The next feed by input name; None when there are no more."""
        raise NotImplementedError(f"{type(self).__name__}.get_next")

    def __iter__(self) -> Iterator[Mapping[str, NDArray[Any]]]:
        while (feed := self.get_next()) is not None:
            yield feed


class CalibrationMethod(enum.Enum):
    """How an activation's range is chosen."""

    MinMax = 0
    Entropy = 1
    Percentile = 2
    Distribution = 3


class QuantFormat(enum.Enum):
    """How quantization is written; planish writes QDQ."""

    QOperator = 0
    QDQ = 1


class QuantType(enum.Enum):
    """Types of quantized tensors."""

    QInt8 = 0
    QUInt8 = 1


_METHODS = {
    CalibrationMethod.MinMax: "minmax",
    CalibrationMethod.Entropy: "entropy",
    CalibrationMethod.Percentile: "percentile",
}


def quantize_static(
    model_input: ModelInput,
    model_output: str | os.PathLike[str],
    calibration_data_reader: CalibrationDataReader | None = None,
    quant_format: QuantFormat = QuantFormat.QDQ,
    op_types_to_quantize: Sequence[str] | None = None,
    per_channel: bool = False,
    reduce_range: bool = False,
    activation_type: QuantType = QuantType.QInt8,
    weight_type: QuantType = QuantType.QInt8,
    nodes_to_quantize: Sequence[str] | None = None,
    nodes_to_exclude: Sequence[str] | None = None,
    use_external_data_format: bool = False,
    calibrate_method: CalibrationMethod = CalibrationMethod.MinMax,
    calibration_providers: Sequence[str] | None = None,
    extra_options: Mapping[str, Any] | None = None,
    calibration_cache_path: str | os.PathLike[str] | None = None,
) -> Report:
    """Quantize weights and activations with scales from calibration data.

    All samples of the reader are used. `per_channel`, `reduce_range` and `calibration_providers` change nothing (see
    the module). Of `extra_options`, `CalibPercentile` is read; others are named in a warning.
    Raises UsageError for formats and types planish does not write, RecipeError for nodes that do not exist.
    """
    if quant_format is not QuantFormat.QDQ:
        raise UsageError(f"quantize_static: quant_format {quant_format.name} is not written; use QuantFormat.QDQ")
    if calibrate_method not in _METHODS:
        raise UsageError(f"quantize_static: method {calibrate_method.name} is unknown; use MinMax, Entropy, Percentile")
    if calibration_data_reader is None or calibration_cache_path is not None:
        raise UsageError("quantize_static: ranges are not cached; give a calibration_data_reader and no cache path")
    _check_common("quantize_static", weight_type, use_external_data_format)
    options = dict(extra_options or {})
    percentile = float(options.pop("CalibPercentile", 99.999))
    _warn_ignored("quantize_static", options)
    activations = "uint8" if activation_type is QuantType.QUInt8 else "int8"
    recipe = Recipe(
        "quantize_static",
        _rules(op_types_to_quantize, nodes_to_quantize, nodes_to_exclude, activations),
        method=_METHODS[calibrate_method],
        percentile=percentile,
    )
    every = int(np.iinfo(np.int64).max)
    return compress(model_input, model_output, recipe=recipe, calibration=calibration_data_reader, samples=every)


def quantize_dynamic(
    model_input: ModelInput,
    model_output: str | os.PathLike[str],
    op_types_to_quantize: Sequence[str] | None = None,
    per_channel: bool = False,
    reduce_range: bool = False,
    weight_type: QuantType = QuantType.QInt8,
    nodes_to_quantize: Sequence[str] | None = None,
    nodes_to_exclude: Sequence[str] | None = None,
    use_external_data_format: bool = False,
    extra_options: Mapping[str, Any] | None = None,
) -> Report:
    """Quantize weights; the activations' scales are computed at every run.

    `per_channel` and `reduce_range` change nothing (see the module); `extra_options` are named in a warning.
    Raises UsageError for types planish does not write, RecipeError for nodes that do not exist.
    """
    _check_common("quantize_dynamic", weight_type, use_external_data_format)
    _warn_ignored("quantize_dynamic", dict(extra_options or {}))
    rules = _rules(op_types_to_quantize or ("MatMul", "Gemm", "Conv"), nodes_to_quantize, nodes_to_exclude, "dynamic")
    return compress(model_input, model_output, recipe=Recipe("quantize_dynamic", rules))


def _rules(
    ops: Sequence[str] | None, nodes: Sequence[str] | None, excluded: Sequence[str] | None, activations: str
) -> tuple[Rule, ...]:
    """Rules for the operators (carriers among them need none) or nodes asked for, less those excluded."""
    wanted = tuple(op for op in ops if op in LAYER_OPS) if ops else LAYER_OPS
    settings = {"weights": "int8", "activations": activations}
    rules = [Rule(1, wanted, tuple(nodes or ()), (), settings)]
    if excluded:
        rules.append(Rule(2, (), tuple(excluded), (), {"keep": "float"}))
    return tuple(rules)


def _check_common(where: str, weight_type: QuantType, external: bool) -> None:
    if weight_type is not QuantType.QInt8:
        raise UsageError(f"{where}: weight_type {weight_type.name} is not written; use QuantType.QInt8")
    if external:
        raise UsageError(f"{where}: external data is not written; leave use_external_data_format False")


def _warn_ignored(where: str, options: Mapping[str, Any]) -> None:
    if options:
        warnings.warn(f"{where}: extra_options ignored: {', '.join(sorted(options))}", UserWarning, stacklevel=3)
