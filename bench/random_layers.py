"""Seeded random layers of the families gemm, conv and dwconv, timed on any of their kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planish import _core
from planish.errors import PlanishError

Array = NDArray[Any]
MOST_MACS = 1 << 24


@dataclass(frozen=True)
class RandomLayer:
    """Operands of one layer; x and y channels-last, weights packed (None where an operand is absent)."""

    family: str
    x: Array
    packed: _core.Memory
    vectors: list[Array]
    y_shape: tuple[int, ...]
    y_dtype: str
    macs: int
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        kernel = "×".join(map(str, self.attrs.get("kernel", ())))
        return " ".join(f"{list(self.x.shape)} → {list(self.y_shape)} {kernel} {self.x.dtype}".split())

    def prefix(self) -> str:
        """What the names of the kernels that take its input begin with."""
        return "u8" if self.x.dtype == np.uint8 else "f32"


def random_layers(count: int, seed: int) -> Iterator[RandomLayer]:
    """`count` layers, the same ones for a seed; half of the integer ones have weights of 7 bits."""
    rng = np.random.default_rng(seed)
    while count:
        layer = _MAKERS[int(rng.integers(len(_MAKERS)))](rng)
        if layer.macs <= MOST_MACS:
            count -= 1
            yield layer


def _size(rng: np.random.Generator, low: int, high: int) -> int:
    """A size, uniform in its logarithm; often a multiple of eight, as in models."""
    size = int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))
    return max(low, size // 8 * 8) if size >= 8 and rng.random() < 0.7 else size


def _weights(rng: np.random.Generator, shape: tuple[int, ...], u8: bool) -> Array:
    if not u8:
        return rng.standard_normal(shape).astype(np.float32)
    limit = 64 if rng.random() < 0.5 else 128
    return rng.integers(-limit, limit, shape, dtype=np.int8)


def _layer(
    rng: np.random.Generator,
    family: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    weights: tuple[int, ...],
    attrs: dict[str, Any],
) -> RandomLayer:
    """Draws types and contents; `weights`: [outputs, taps, depth], or [channels, taps] for dwconv."""
    u8 = bool(rng.random() < 0.6)
    x_shape, y_shape = shapes
    x = rng.integers(0, 256, x_shape, dtype=np.uint8) if u8 else rng.standard_normal(x_shape).astype(np.float32)
    w = _weights(rng, weights, u8)
    if family == "dwconv":
        packed = _core.pack_depthwise_s16(w.astype(np.int16)) if u8 else _core.pack_depthwise_f32(w)
    else:
        packed = _core.pack_dense_s8(w) if u8 else _core.pack_dense_f32(w)
    n = weights[0]
    vectors: list[Array] = [np.zeros(n, np.int32), np.full(n, 1e-4, np.float32)] if u8 else [np.zeros(n, np.float32)]
    y_dtype = "uint8" if u8 and rng.random() < 0.8 else "float32"
    macs = int(np.prod(y_shape)) * int(np.prod(weights[1:]))
    return RandomLayer(family, x, packed, vectors, y_shape, y_dtype, macs, attrs)


def _gemm(rng: np.random.Generator) -> RandomLayer:
    m, n, k = _size(rng, 1, 512), _size(rng, 1, 1024), _size(rng, 4, 2048)
    return _layer(rng, "gemm", ((m, k), (m, n)), (n, 1, k), {})


def _conv(rng: np.random.Generator) -> RandomLayer:
    k, stride = int(rng.choice([1, 1, 3, 3, 5])), int(rng.choice([1, 1, 2]))
    size, c, n = _size(rng, 4, 96), _size(rng, 3, 256), _size(rng, 4, 256)
    out, attrs = _window(size, k, stride)
    return _layer(rng, "conv", ((1, size, size, c), (1, out, out, n)), (n, k * k, c), attrs)


def _dwconv(rng: np.random.Generator) -> RandomLayer:
    k, stride = int(rng.choice([3, 3, 5, 7])), int(rng.choice([1, 1, 2]))
    size, c = _size(rng, 4, 96), _size(rng, 8, 512)
    out, attrs = _window(size, k, stride)
    return _layer(rng, "dwconv", ((1, size, size, c), (1, out, out, c)), (c, k * k), attrs)


_MAKERS = (_gemm, _conv, _dwconv)


def _window(size: int, k: int, stride: int) -> tuple[int, dict[str, Any]]:
    pad = k // 2
    return (size + 2 * pad - k) // stride + 1, {"kernel": [k, k], "strides": [stride, stride], "pads": [pad] * 4}


class LayerProgram:
    """A layer as a Program of its own, on the dispatcher's pick or on a forced kernel (PlanishError if not legal)."""

    def __init__(self, layer: RandomLayer, threads: int, force: str = "") -> None:
        self.layer = layer
        self.y = np.zeros(layer.y_shape, layer.y_dtype)
        self.program = program = _core.Program(threads)
        x = self._view(program.arena(layer.x.nbytes), layer.x)
        program.add("input", "copy", [self._view(program.input(0, layer.x.nbytes), layer.x)], [x], {})
        constants = [np.frombuffer(memoryview(layer.packed), np.uint8), *layer.vectors]
        operands = [self._view(program.constant(_core.Memory.copy_of(c)), c) for c in constants]
        y = self._view(program.output(0, self.y.nbytes), self.y)
        attrs = {**layer.attrs, "force": force} if force else layer.attrs
        program.add("layer", layer.family, [x, *operands], [y], attrs)
        program.finalize()

    @staticmethod
    def _view(buffer: int, array: Array) -> tuple[int, int, int, tuple[int, ...], tuple[int, ...]]:
        return buffer, 0, _core.DTYPES.index(array.dtype.name), array.shape, array.strides

    @property
    def kernel(self) -> str:
        return self.program.steps[-1][2]

    def run(self) -> float:
        """Runs once; the layer's microseconds."""
        return self.program.run_profiled([self.layer.x], [self.y])[-1] / 1e3


def time_layer(layer: RandomLayer, kernels: list[str], threads: int, runs: int) -> tuple[str, dict[str, list[float]]]:
    """The dispatcher's pick, and each legal kernel's times in microseconds; they take turns; outputs verified."""
    programs = {"": LayerProgram(layer, threads)}
    pick = programs[""]
    for name in kernels:
        if name.startswith(layer.prefix()) and name != pick.kernel:
            try:
                programs[name] = LayerProgram(layer, threads, name)
            except PlanishError:
                continue  # not legal for these weights
    times: dict[str, list[float]] = {program.kernel: [] for program in programs.values()}
    for _ in range(runs):
        for program in programs.values():
            times[program.kernel].append(program.run())
    for program in programs.values():
        tolerance = 0 if layer.y_dtype == "uint8" else 1e-4 * float(np.abs(pick.y).max()) + 1e-6
        np.testing.assert_allclose(program.y.astype(float), pick.y.astype(float), rtol=0, atol=tolerance)
    return pick.kernel, times
