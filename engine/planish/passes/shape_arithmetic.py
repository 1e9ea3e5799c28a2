"""Integer vectors computed from shapes, element by element, some of them known and some not.

`Concat(Gather(Shape(x), 0), [64])` is half known where the batch is symbolic: what is known suffices to make most such
reshapes constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir

from planish.passes.patterns import dims_of, input_at, int_attribute, ints_of, producer_of, rank_of

#: A known number, or the symbolic dimension of that name, or None where nothing is known.
Element = int | str | None
Vector = list[Element]

_MAX_DEPTH = 24
_MAX_LENGTH = 64


def known_elements(value: onnx_ir.Value | None, depth: int = _MAX_DEPTH) -> Vector | None:
    """The elements of an integer scalar or vector, as far as they follow from constants and shapes.

    None where not even its length follows. Scalars give one element.
    """
    constant = ints_of(value)
    if constant is not None:
        return list(constant) if len(constant) <= _MAX_LENGTH else None
    node = producer_of(value, *_RULES)
    if node is None or depth == 0:
        return None
    elements = _RULES[node.op_type](node, depth - 1)
    return elements if elements is None or len(elements) <= _MAX_LENGTH else None


def _shape(node: onnx_ir.Node, depth: int) -> Vector | None:
    x = node.inputs[0]
    if x is None or x.shape is None:
        return None
    dims: Vector = [d if isinstance(d, int) else d.value for d in x.shape]
    return dims[int_attribute(node, "start", 0) : node.attributes.get_int("end", None)]


def _same(node: onnx_ir.Node, depth: int) -> Vector | None:
    return known_elements(node.inputs[0], depth)


def _cast(node: onnx_ir.Node, depth: int) -> Vector | None:
    x = node.inputs[0]
    integers = (onnx_ir.DataType.INT64, onnx_ir.DataType.INT32)
    if x is None or x.dtype not in integers or node.attributes["to"].as_int() not in integers:
        return None
    return known_elements(x, depth)


def _concat(node: onnx_ir.Node, depth: int) -> Vector | None:
    joined: Vector = []
    for value in node.inputs:
        part = known_elements(value, depth)
        if part is None:
            return None
        joined += part
    return joined


def _gather(node: onnx_ir.Node, depth: int) -> Vector | None:
    data, indices = known_elements(node.inputs[0], depth), ints_of(input_at(node, 1))
    if data is None or indices is None or any(not -len(data) <= i < len(data) for i in indices):
        return None
    return [data[i] for i in indices]


def _slice(node: onnx_ir.Node, depth: int) -> Vector | None:
    data = known_elements(node.inputs[0], depth)
    bounds = [ints_of(input_at(node, i)) for i in (1, 2)]
    steps = [1] if input_at(node, 4) is None else ints_of(input_at(node, 4))
    if data is None or len(node.inputs) < 3 or steps is None or any(b is None or len(b) != 1 for b in bounds):
        return None
    (start,), (end,) = (b or [0] for b in bounds)
    return data[start:end] if steps == [1] else None


def _arithmetic(function: Callable[[int, int], int | None]) -> Callable[[onnx_ir.Node, int], Vector | None]:
    def run(node: onnx_ir.Node, depth: int) -> Vector | None:
        a, b = (known_elements(value, depth) for value in node.inputs)
        if a is None or b is None or (len(a) != len(b) and 1 not in (len(a), len(b))):
            return None
        length = max(len(a), len(b)) if a and b else 0
        pairs = zip(_spread(a, length), _spread(b, length), strict=True)
        return [function(p, q) if isinstance(p, int) and isinstance(q, int) else None for p, q in pairs]

    return run


def _spread(elements: Sequence[Element], length: int) -> Vector:
    return list(elements) * length if len(elements) == 1 else list(elements)


def _divide(a: int, b: int) -> int | None:
    """Division as ONNX does it for integers: towards zero."""
    if b == 0:
        return None
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _squeeze(node: onnx_ir.Node, depth: int) -> Vector | None:
    return known_elements(node.inputs[0], depth) if (rank_of(node.inputs[0]) or 0) <= 1 else None


def _size(node: onnx_ir.Node, depth: int) -> Vector | None:
    total = 1
    dims = dims_of(node.inputs[0])
    if dims is None:
        return None
    for dim in dims:
        if dim is None:
            return [None]
        total *= dim
    return [total]


_RULES: dict[str, Callable[[onnx_ir.Node, int], Vector | None]] = {
    "Add": _arithmetic(lambda a, b: a + b),
    "Cast": _cast,
    "Concat": _concat,
    "Div": _arithmetic(_divide),
    "Gather": _gather,
    "Identity": _same,
    "Mul": _arithmetic(lambda a, b: a * b),
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _arithmetic(lambda a, b: a - b),
    "Unsqueeze": _squeeze,
}
