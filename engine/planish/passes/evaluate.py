"""Evaluation of one operator on constant arrays, as ONNX defines it.

The common operators of shape arithmetic are written here in numpy, since they are evaluated by the hundred while a
model loads; `evaluate_by_reference` runs anything else through onnx's reference evaluator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir

from planish.passes.patterns import Array, int_attribute, normal_axis

#: Results above this size are not folded unless they are no larger than what they are computed from.
FOLDED_BYTES = 1 << 18

Evaluator = Callable[[onnx_ir.Node, Sequence[Any]], "Array | list[Array] | None"]

#: Operators whose result changes from run to run.
_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)

#: Operators on which the reference evaluator may spend hours, or all memory, for operands of a few bytes; they run
#: natively, or not before they are asked for.
_UNBOUNDED = frozenset({
    "AveragePool", "Conv", "ConvInteger", "ConvTranspose", "DeformConv", "Einsum", "GatherElements", "LpPool",
    "MaxPool", "QLinearConv",
})  # fmt: skip


def evaluate(node: onnx_ir.Node, arrays: Sequence[Array | None]) -> list[Array] | None:
    """The outputs of a standard-domain `node` for constant inputs (None where left out).

    None where the operator is unknown here, its result would be too large, or the arguments are not valid for it: the
    node then stays, and fails or not when it runs.
    """
    evaluator = _EVALUATORS.get(node.op_type)
    if evaluator is None:
        return None
    try:
        with np.errstate(all="ignore"):
            result = evaluator(node, arrays)
    except (ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError, MemoryError):
        return None
    if result is None:
        return None
    outputs = result if isinstance(result, list) else [result]
    return [np.asarray(output) for output in outputs]


def evaluate_by_reference(node: onnx_ir.Node, arrays: Sequence[Array | None], opset: int) -> list[Array] | None:
    """The outputs of `node` through `onnx.reference`; None where it cannot, might never end, or is random."""
    if node.op_type in _RANDOM | _UNBOUNDED or node.domain != "":
        return None
    import onnx
    from onnx.reference import ReferenceEvaluator

    proto = onnx_ir.to_proto(node)
    given = [(name, array) for name, array in zip(proto.input, arrays, strict=True) if name and array is not None]
    untyped = onnx.TypeProto()
    graph = onnx.helper.make_graph(
        [proto],
        "constant",
        [onnx.helper.make_value_info(name, untyped) for name, _ in given],
        [onnx.helper.make_value_info(name, untyped) for name in proto.output if name],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)
    try:
        with np.errstate(all="ignore"):
            outputs = ReferenceEvaluator(model).run(None, dict(given))
    except Exception:
        # The evaluator raises whatever numpy and its own code raise on arguments that are not valid.
        return None
    arrays_out: list[Any] = list(outputs)
    return arrays_out if all(isinstance(o, np.ndarray) for o in arrays_out) else None


def fits(shape: Sequence[int], itemsize: int, *sources: Array | None) -> bool:
    """Whether a folded result of this shape would be acceptably large."""
    size = math.prod(shape) * itemsize
    return min(shape, default=0) >= 0 and size <= max(FOLDED_BYTES, sum(s.nbytes for s in sources if s is not None))


def _ints(array: Array) -> list[int]:
    return [int(i) for i in array.reshape(-1)]


def _elementwise(function: Callable[..., Any]) -> Evaluator:
    def run(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array | None:
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        if not fits(shape, arrays[0].itemsize, *arrays):
            return None
        return np.asarray(function(*arrays))

    return run


def _same_type(function: Callable[..., Any]) -> Evaluator:
    """An element-wise operator whose result has the type of its first input."""
    inner = _elementwise(function)

    def run(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array | None:
        result: Any = inner(node, arrays)
        return None if result is None else result.astype(arrays[0].dtype)

    return run


def _divide(a: Any, b: Any) -> Any:
    if a.dtype.kind not in "iu":
        return a / b
    if (b == 0).any():
        raise ZeroDivisionError
    return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)) if a.dtype.kind == "i" else a // b


def _mod(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array | None:
    a, b = arrays
    if a.dtype.kind in "iu" and (b == 0).any():
        return None
    return np.asarray(np.fmod(a, b) if int_attribute(node, "fmod", 0) else np.mod(a, b)).astype(a.dtype)


def _reduce_variadic(function: Callable[[Any, Any], Any]) -> Evaluator:
    def run(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array | None:
        result = arrays[0]
        for array in arrays[1:]:
            if not fits(np.broadcast_shapes(result.shape, array.shape), result.itemsize, *arrays):
                return None
            result = function(result, array)
        return np.asarray(result)

    return run


def _cast(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array | None:
    source = onnx_ir.DataType.from_numpy(arrays[0].dtype)
    target = onnx_ir.DataType(node.attributes["to"].as_int())
    if target == onnx_ir.DataType.STRING or "FLOAT8" in target.name or "FLOAT4" in target.name:
        return None  # saturation rules: left to the reference evaluator
    if source.is_floating_point() and target.is_integer() and not np.isfinite(arrays[0].astype(np.float64)).all():
        return None
    if target.bitwidth < 8 or source.bitwidth < 8:
        return None
    return np.asarray(arrays[0].astype(target.numpy()))


def _reshape(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array:
    x, wanted = arrays[0], _ints(arrays[1])
    if not int_attribute(node, "allowzero", 0):
        wanted = [x.shape[i] if d == 0 else d for i, d in enumerate(wanted)]
    return np.asarray(x.reshape(wanted))


def _transpose(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array:
    perm = node.attributes.get_ints("perm")
    return np.ascontiguousarray(np.transpose(arrays[0], None if perm is None else tuple(perm)))


def _concat(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array:
    return np.concatenate(list(arrays), axis=node.attributes["axis"].as_int())


def _gather(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array | None:
    data, indices = arrays
    axis = normal_axis(int_attribute(node, "axis", 0), data.ndim)
    shape = data.shape[:axis] + indices.shape + data.shape[axis + 1 :]
    return np.take(data, indices, axis=axis) if fits(shape, data.itemsize, *arrays) else None


def _slice(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array:
    data, starts, ends = arrays[0], _ints(arrays[1]), _ints(arrays[2])
    axes = _ints(arrays[3]) if len(arrays) > 3 and arrays[3] is not None else list(range(len(starts)))
    steps = _ints(arrays[4]) if len(arrays) > 4 and arrays[4] is not None else [1] * len(starts)
    index: list[slice] = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = normal_axis(axis, data.ndim)
        index[axis] = slice(start, None if step < 0 and end < -data.shape[axis] else end, step)
    return np.ascontiguousarray(data[tuple(index)])


def _axes(node: onnx_ir.Node, arrays: Sequence[Any]) -> list[int] | None:
    """Axes from the second input or, before opset 13, from the attribute."""
    if len(arrays) > 1 and arrays[1] is not None:
        return _ints(arrays[1])
    axes = node.attributes.get_ints("axes")
    return None if axes is None else list(axes)


def _squeeze(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array:
    axes = _axes(node, arrays)
    return np.asarray(np.squeeze(arrays[0], None if axes is None else tuple(axes)))


def _unsqueeze(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array:
    return np.expand_dims(arrays[0], tuple(_axes(node, arrays) or ()))


def _expand(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array | None:
    shape = np.broadcast_shapes(arrays[0].shape, tuple(_ints(arrays[1])))
    return np.ascontiguousarray(np.broadcast_to(arrays[0], shape)) if fits(shape, arrays[0].itemsize, *arrays) else None


def _tile(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array | None:
    shape = [d * r for d, r in zip(arrays[0].shape, _ints(arrays[1]), strict=True)]
    return np.tile(arrays[0], _ints(arrays[1])) if fits(shape, arrays[0].itemsize, *arrays) else None


def _constant_of_shape(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array | None:
    tensor = node.attributes.get_tensor("value")
    fill = np.zeros(1, np.float32) if tensor is None else tensor.numpy()
    shape = tuple(_ints(arrays[0]))
    return np.full(shape, fill.reshape(-1)[0], fill.dtype) if fits(shape, fill.itemsize) else None


def _range(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array | None:
    start, limit, delta = (a.reshape(()) for a in arrays)
    count = max(math.ceil((float(limit) - float(start)) / float(delta)), 0)
    if not fits([count], start.itemsize):
        return None
    return np.asarray(start + np.arange(count).astype(start.dtype) * delta, start.dtype)


def _reduction(function: Callable[..., Any]) -> Evaluator:
    def run(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array:
        axes = _axes(node, arrays)
        if not axes and int_attribute(node, "noop_with_empty_axes", 0):
            return np.asarray(arrays[0])
        keep = bool(int_attribute(node, "keepdims", 1))
        return np.asarray(function(arrays[0], axis=tuple(axes) if axes else None, keepdims=keep)).astype(
            arrays[0].dtype
        )

    return run


def _split(node: onnx_ir.Node, arrays: Sequence[Any]) -> list[Array] | None:
    axis, count = int_attribute(node, "axis", 0), len(node.outputs)
    size = arrays[0].shape[axis]
    if len(arrays) > 1 and arrays[1] is not None:
        sizes = _ints(arrays[1])
    else:
        chunk = -(-size // count)
        sizes = [chunk] * (count - 1) + [size - chunk * (count - 1)]
    if sum(sizes) != size or min(sizes) < 0:
        return None
    return [np.ascontiguousarray(p) for p in np.split(arrays[0], np.cumsum(sizes)[:-1], axis=axis)]


def _flatten(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array:
    axis = normal_axis(int_attribute(node, "axis", 1), arrays[0].ndim)
    return np.asarray(arrays[0].reshape(math.prod(arrays[0].shape[:axis]), -1))


def _quantize(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array | None:
    """Per tensor and per axis, to 8 and 16 bit; blocked and other types are left to the reference evaluator."""
    x, scale = arrays[0], arrays[1]
    zero = arrays[2] if len(arrays) > 2 and arrays[2] is not None else np.zeros_like(scale, np.uint8)
    if len(arrays) < 3 and int_attribute(node, "output_dtype", 0):
        return None
    if int_attribute(node, "block_size", 0) or zero.dtype not in (np.int8, np.uint8, np.int16, np.uint16):
        return None
    if x.dtype != np.float32 or scale.dtype != np.float32:
        return None
    if scale.size > 1:
        shape = [1] * x.ndim
        shape[normal_axis(int_attribute(node, "axis", 1), x.ndim)] = scale.size
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    else:
        scale, zero = scale.reshape(()), zero.reshape(())
    limits = np.iinfo(zero.dtype)
    rounded = np.rint(x / scale)
    if np.isnan(rounded).any():
        return None
    return np.asarray(np.clip(rounded + zero.astype(np.float32), limits.min, limits.max)).astype(zero.dtype)


def _erf(x: Any) -> Any:
    return np.fromiter(map(math.erf, x.ravel().tolist()), x.dtype, x.size).reshape(x.shape)


def _gelu(node: onnx_ir.Node, arrays: Sequence[Any]) -> Array | None:
    x = arrays[0]
    if node.attributes.get_string("approximate", "none") != "none":
        return None
    return np.asarray(0.5 * x.astype(np.float64) * (1 + _erf(x.astype(np.float64) * math.sqrt(0.5)))).astype(x.dtype)


_EVALUATORS: dict[str, Evaluator] = {
    "Abs": _same_type(np.abs),
    "Add": _same_type(np.add),
    "And": _elementwise(np.logical_and),
    "Cast": _cast,
    "Ceil": _same_type(np.ceil),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _same_type(_divide),
    "Equal": _elementwise(np.equal),
    "Erf": _same_type(_erf),
    "Exp": _same_type(np.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _same_type(np.floor),
    "Gather": _gather,
    "Gelu": _gelu,
    "Greater": _elementwise(np.greater),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "Identity": lambda node, arrays: np.asarray(arrays[0]),
    "Less": _elementwise(np.less),
    "LessOrEqual": _elementwise(np.less_equal),
    "Log": _same_type(np.log),
    "Max": _reduce_variadic(np.maximum),
    "Min": _reduce_variadic(np.minimum),
    "Mod": _mod,
    "Mul": _same_type(np.multiply),
    "Neg": _same_type(np.negative),
    "Not": _elementwise(np.logical_not),
    "Or": _elementwise(np.logical_or),
    "Pow": _same_type(np.power),
    "QuantizeLinear": _quantize,
    "Range": _range,
    "Reciprocal": _same_type(np.reciprocal),
    "ReduceMax": _reduction(np.max),
    "ReduceMin": _reduction(np.min),
    "ReduceProd": _reduction(np.prod),
    "ReduceSum": _reduction(np.sum),
    "Relu": _same_type(lambda x: np.maximum(x, 0)),
    "Reshape": _reshape,
    "Shape": lambda node, arrays: np.array(arrays[0].shape, np.int64)[
        int_attribute(node, "start", 0) : node.attributes.get_int("end", None)
    ],
    "Size": lambda node, arrays: np.array(arrays[0].size, np.int64),
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _same_type(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _same_type(np.subtract),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _elementwise(np.where),
}
