"""The builder: the state of lowering one graph, and what rules say to it.

ONNX values become numbered tensors on demand. A value that is the dequantization of a byte tensor stays *deferred*:
rules that understand integers take the bytes, the first other use materialises a `dequantize` step. In this way a chain
of DequantizeLinear → operator → QuantizeLinear becomes one integer step, whatever stands between.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from planish.errors import ModelError
from planish.importing.names import NODE_INDEX
from planish.lowering.lowered import ABSENT, Lowered, Packed, Port, Step
from planish.lowering.weights import Weights, weights_of

Array = npt.NDArray[Any]
Rule = Callable[["Builder", ir.Node], None]

#: (domain, operator) → rule. Modules of planish.lowering.rules enter theirs with @rule.
RULES: dict[tuple[str, str], Rule] = {}


_LOW_BIT = frozenset({ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.INT2, ir.DataType.UINT2})


def rule(*ops: str, domain: str = "") -> Callable[[Rule], Rule]:
    """Decorator: this function lowers these ONNX operators. It raises Unsupported to decline a node."""

    def enter(function: Rule) -> Rule:
        for op in ops:
            RULES[domain, op] = function
        return function

    return enter


class Unsupported(Exception):
    """A rule declines a node; it falls back to the reference evaluator, and the text says why."""


class UnsupportedType(Unsupported):
    """A rule declines a node for an element type alone; a wider type may do."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """A byte tensor and what it stands for: (q - zero) * scale, q in 0…255."""

    tensor: int
    scale: float
    zero: int


@dataclass(frozen=True, slots=True)
class Dynamic:
    """A byte tensor and what it stands for, with scale and zero point in tensors computed per run."""

    tensor: int
    scale: int
    zero: int


@dataclass(frozen=True, slots=True)
class Target:
    """The quantization that all consumers of a value want, and the nodes that this makes superfluous."""

    scale: float
    zero: int
    lo: int
    hi: int
    values: tuple[ir.Value, ...]  # quantized values to define
    nodes: tuple[ir.Node, ...]


class Builder:
    """Lowers the nodes of one graph into `lowered.steps`; branches get a builder of their own that shares the
    numbering."""

    def __init__(
        self,
        lowered: Lowered,
        opset: int,
        parent: Builder | None = None,
        weight_format: str = "auto",
        precision: str = "exact",
    ) -> None:
        self.lowered = lowered
        self.opset = opset
        self.parent = parent
        self.weight_format: str = parent.weight_format if parent else weight_format
        self.precision: str = parent.precision if parent else precision
        self.tensors: dict[ir.Value, int] = {}
        self.deferred: dict[ir.Value, Quantized] = {}
        self.bytes_of: dict[ir.Value, int] = {}  # s8 values, as u8 with 128 added
        self.dynamic: dict[ir.Value, Dynamic] = {}
        self.widened: dict[ir.Value, ir.Value] = {}  # a value → the one that stands for it in a wider type
        self.done: set[ir.Node] = parent.done if parent else set()  # an outer layer may take over nodes of inner graphs
        self.late: dict[ir.Node, Callable[[], None]] = {}  # nodes taken over by an earlier one, and what to do at them

    # -- values --------------------------------------------------------------------------------------------------------

    def tensor(self, value: ir.Value | None) -> int:
        """The tensor with the value's own contents; ABSENT for an absent input."""
        if value is None:
            return ABSENT
        number = self._known(value)
        if number is not None:
            return number
        quantized, dynamic = self.quantized(value), self.dynamically_quantized(value)
        if quantized is not None:
            number = self._dequantize(value, quantized)
        elif dynamic is not None:
            number = self.lowered.tensor(value.name or "")
            operands = (dynamic.tensor, dynamic.scale, dynamic.zero)
            self.lowered.steps.append(Step("dequantize", f"dequantize {value.name}", operands, (number,), {}))
        elif self._bytes(value) is not None:
            number = self.flip(value.name or "", self.bytes(value), "int8")
        else:
            constant = self.constant(value)
            if constant is None:
                raise ModelError(f"value '{value.name}': used before it is computed; repair the model")
            if value.dtype in _LOW_BIT:  # which weight forms hold as bytes
                constant = constant.astype(value.dtype.numpy())
            number = self.lowered.constant(value.name or "", constant)
        self.tensors[value] = number
        return number

    def _known(self, value: ir.Value) -> int | None:
        number = self.tensors.get(value)
        return self.parent._known(value) if number is None and self.parent else number

    def _bytes(self, value: ir.Value) -> int | None:
        number = self.bytes_of.get(value)
        return self.parent._bytes(value) if number is None and self.parent else number

    def quantized(self, value: ir.Value | None) -> Quantized | None:
        """The byte tensor behind a float value, if it is the dequantization of one (per tensor)."""
        if value is None:
            return None
        q = self.deferred.get(value)
        return self.parent.quantized(value) if q is None and self.parent else q

    def dynamically_quantized(self, value: ir.Value | None) -> Dynamic | None:
        """The byte tensor behind a float value that was quantized at run time."""
        found = None if value is None else self.dynamic.get(value)
        return self.parent.dynamically_quantized(value) if found is None and self.parent else found

    def bytes(self, value: ir.Value) -> int:
        """An 8-bit value as u8: itself, or with 128 added if it is s8."""
        if value.dtype != ir.DataType.INT8:
            return self.tensor(value)
        number = self._bytes(value)
        if number is None:
            raw = self._known(value)
            constant = self.constant(value) if raw is None else None
            if constant is not None:
                number = self.lowered.constant(value.name or "", (constant.view(np.uint8) ^ 0x80).astype(np.uint8))
            else:
                number = self.flip(value.name or "", self.tensor(value) if raw is None else raw, "uint8")
            self.bytes_of[value] = number
        return number

    def flipped(self, value: ir.Value | None) -> int | None:
        """The u8 form of an s8 value that exists in this form already."""
        return None if value is None or value.dtype != ir.DataType.INT8 else self._bytes(value)

    def constant(self, value: ir.Value | None) -> Array | None:
        """The contents of a constant (initializer, or a stored weight form), dense; None if it is computed."""
        weights = self.weights(value)
        return None if weights is None else weights.dense()

    def weights(self, value: ir.Value | None) -> Weights | None:
        """A constant in the form it is stored in: float, int8 with scales, codebook, blocks…"""
        return None if value is None else weights_of(value)

    def ints(self, value: ir.Value | None, what: str) -> list[int]:
        """A constant integer tensor that a rule must know; raises Unsupported otherwise."""
        constant = self.constant(value)
        if constant is None:
            raise Unsupported(f"{what} is computed at run time")
        return [int(v) for v in constant.ravel()]

    def scalar(self, value: ir.Value | None, default: float) -> float:
        """A constant of one element; `default` for an absent input."""
        if value is None:
            return default
        constant = self.constant(value)
        if constant is None or constant.size != 1:
            raise Unsupported(f"'{value.name}' is not a constant scalar")
        return float(constant.ravel()[0])

    # -- steps ---------------------------------------------------------------------------------------------------------

    def add(
        self, kind: str, node: ir.Node, inputs: Sequence[int], attrs: dict[str, Any] | None = None, outputs: int = 1
    ) -> list[int]:
        """Appends a step with fresh output tensors and returns them."""
        name = node.name or f"{node.op_type}:{node.outputs[0].name}"
        made = tuple(self.lowered.tensor(f"{name}:{i}" if i else name) for i in range(outputs))
        self.lowered.steps.append(Step(kind, name, tuple(inputs), made, attrs or {}, origin_of(node)))
        return list(made)

    def define(self, value: ir.Value, tensor: int) -> None:
        """`value`'s contents are `tensor`."""
        self.tensors[value] = tensor

    def lower_to(
        self, kind: str, node: ir.Node, values: Iterable[ir.Value | None], attrs: dict[str, Any] | None = None
    ) -> None:
        """The common case: one step, the node's outputs in order."""
        made = self.add(kind, node, [self.tensor(v) for v in values], attrs, len(node.outputs))
        for value, tensor in zip(node.outputs, made, strict=True):
            self.define(value, tensor)

    def define_quantized(self, target: Target, tensor: int) -> None:
        """The consumers' QuantizeLinear nodes are done: their results are the byte tensor."""
        for value in target.values:
            self.define_bytes(value, tensor)
        self.done.update(target.nodes)

    def define_bytes(self, value: ir.Value, tensor: int) -> None:
        """An 8-bit value's u8 form is `tensor`."""
        (self.bytes_of if value.dtype == ir.DataType.INT8 else self.tensors)[value] = tensor

    def _dequantize(self, value: ir.Value, q: Quantized) -> int:
        scale = self.lowered.constant("scale", np.array(q.scale, np.float32))
        zero = self.lowered.constant("zero", np.array(q.zero, np.uint8))
        number = self.lowered.tensor(value.name or "")
        self.lowered.steps.append(
            Step("dequantize", f"dequantize {value.name}", (q.tensor, scale, zero), (number,), {})
        )
        return number

    def flip(self, name: str, tensor: int, dtype: str) -> int:
        """The bytes of a tensor with 128 added, as `dtype`: s8 ↔ u8."""
        table = self.lowered.constant("flip", np.arange(256, dtype=np.uint8) ^ 0x80)
        number = self.lowered.tensor(name)
        self.lowered.steps.append(Step("table", f"flip {name}", (tensor, table), (number,), {"dtype": dtype}))
        return number

    def note(self, node: ir.Node, text: str) -> None:
        """Records a decision that a user may ask for."""
        self.lowered.notes.append(f"{node.name}: {text}")

    @staticmethod
    def used(value: ir.Value) -> bool:
        """Whether a node or the graph's caller reads the value."""
        return value.is_graph_output() or bool(list(value.consumers()))

    @staticmethod
    def pixels(node: ir.Node) -> int:
        """Rows of the product that a convolution or product node is: all output dimensions but the channels; symbolic
        ones count as 1."""
        shape = node.outputs[0].shape
        if shape is None or not len(shape):
            return 1
        sizes = [d if isinstance(d, int) else 1 for d in shape]
        sizes.pop(1 if node.op_type.endswith(("Conv", "ConvTranspose", "ConvInteger")) else len(sizes) - 1)
        return int(np.prod(sizes, dtype=np.int64))

    def fall_back(self, node: ir.Node, reason: str) -> None:
        """A step outside the Program, evaluated by onnx.reference."""
        import onnx

        captured = _captured(node)
        inputs = [self._fallback_operand(v) for v in (*node.inputs, *captured)]
        attrs = {
            "node": base64.b64encode(ir.serde.serialize_node(node).SerializeToString()).decode(),
            "op": f"{node.domain}::{node.op_type}" if node.domain else node.op_type,
            "reason": reason,
            "opset": self.opset,
            "captured": [v.name for v in captured],
        }
        assert onnx is not None
        made = self.add("onnx", node, inputs, attrs, len(node.outputs))
        for value, tensor in zip(node.outputs, made, strict=True):
            self.define(value, tensor)

    def _fallback_operand(self, value: ir.Value | None) -> int:
        """As `tensor`, with constants in their own element type: strings and low-bit integers too."""
        if value is None or not value.is_initializer() or value.const_value is None or self._known(value) is not None:
            return self.tensor(value)
        array = value.const_value.numpy()
        if array.dtype.kind in "SO":
            array = np.array([v.decode() if isinstance(v, bytes) else v for v in array.ravel()], object).reshape(
                array.shape
            )
        return self.lowered.constant(value.name or "", array)

    # -- quantization --------------------------------------------------------------------------------------------------

    def target(self, value: ir.Value) -> Target | None:
        """What the consumers want if every one of them quantizes the value, perhaps after one Relu or Clip, alike."""
        nodes: list[ir.Node] = []
        low, high = -np.inf, np.inf
        while (clamp := _only_clamp(value)) is not None:
            bounds = self._clamp_bounds(clamp)
            if bounds is None:
                return None
            low, high = min(max(low, bounds[0]), bounds[1]), max(min(high, bounds[1]), bounds[0])
            nodes.append(clamp)
            value = clamp.outputs[0]
        users = list(value.consumers())
        if (
            value.is_graph_output()
            or not users
            or any(u.op_type != "QuantizeLinear" or u.inputs[0] is not value for u in users)
        ):
            return None
        wanted = {self.quantization(u) for u in users}
        params = wanted.pop()
        if wanted or params is None:
            return None
        scale, zero = params
        lo, hi = (quantize_scalar(bound, scale, zero) for bound in (low, high))
        return Target(scale, zero, lo, hi, tuple(u.outputs[0] for u in users), (*nodes, *users))

    def quantization(self, node: ir.Node) -> tuple[float, int] | None:
        """(scale, zero point in u8) of a QuantizeLinear or DequantizeLinear node of 8 bits per tensor, else None."""
        quantized = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
        if quantized is None or quantized.dtype not in (ir.DataType.UINT8, ir.DataType.INT8, None):
            return None
        zero_value = node.inputs[2] if len(node.inputs) > 2 else None
        return self.scale_and_zero(node.inputs[1], zero_value, quantized.dtype == ir.DataType.INT8)

    def scale_and_zero(self, scale: ir.Value | None, zero: ir.Value | None, signed: bool) -> tuple[float, int] | None:
        """Constant per-tensor parameters, the zero point in the u8 representation; None if they are not such."""
        s, z = self.constant(scale), self.constant(zero)
        if s is None or s.size != 1 or (zero is not None and (z is None or z.size != 1)):
            return None
        check_scale(scale, s)
        if z is not None:
            signed = z.dtype == np.int8
        return float(s.ravel()[0]), (int(z.ravel()[0]) if z is not None else 0) + (128 if signed else 0)

    def _clamp_bounds(self, node: ir.Node) -> tuple[float, float] | None:
        if node.op_type == "Relu":
            return 0.0, np.inf
        bounds = []
        for i, default in ((1, -np.inf), (2, np.inf)):
            value = node.inputs[i] if len(node.inputs) > i else None
            constant = self.constant(value)
            if value is not None and constant is None:
                return None
            bounds.append(default if constant is None or not constant.size else float(constant.ravel()[0]))
        return bounds[0], bounds[1]


def quantize_scalar(x: float, scale: float, zero: int) -> int:
    """QuantizeLinear of one number to u8."""
    if np.isinf(x):
        return 255 if x > 0 else 0
    return int(np.clip(np.rint(np.float32(x) / np.float32(scale)) + zero, 0, 255))


def check_scale(value: ir.Value | None, scale: Array) -> None:
    """Scales must be finite and positive."""
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ModelError(
            f"scale '{value.name if value else ''}': quantization scales must be finite and positive; repair or "
            "re-quantize the model"
        )


def _only_clamp(value: ir.Value) -> ir.Node | None:
    """The Relu or Clip that is the only consumer of a value."""
    users = list(value.consumers())
    if (
        value.is_graph_output()
        or len(users) != 1
        or users[0].op_type not in ("Relu", "Clip")
        or users[0].inputs[0] is not value
    ):
        return None
    return users[0]


def _captured(node: ir.Node) -> list[ir.Value]:
    """Outer values that a node's subgraphs use."""
    captured: dict[ir.Value, None] = {}
    for attribute in node.attributes.values():
        graphs = [attribute.value] if attribute.type == ir.AttributeType.GRAPH else []
        if attribute.type == ir.AttributeType.GRAPHS:
            graphs = list(attribute.value)
        for graph in graphs:
            inner = (
                {v for n in graph.all_nodes() for v in n.outputs} | set(graph.inputs) | set(graph.initializers.values())
            )
            nested = {v for n in graph.all_nodes() for v in n.inputs} | set(graph.outputs)
            captured.update({v: None for v in nested if v is not None and v not in inner})
    return list(captured)


def port(value: ir.Value, tensor: int, labels: tuple[int, ...] | tuple[str, ...] = ()) -> Port:
    """A graph input or output as the user sees it."""
    shape = None
    if value.shape is not None:
        shape = tuple(d if isinstance(d, int) else d.value for d in value.shape)
    return Port(value.name or "", type_name(value), shape, tensor, labels)


def type_name(value: ir.Value) -> str:
    """The name of a value's type: NumPy's of the elements, in `seq(…)` and `optional(…)` where it is not a tensor."""
    wrappers, inner = [], value.type
    while isinstance(inner, (ir.SequenceType, ir.OptionalType)):
        wrappers.append("seq" if isinstance(inner, ir.SequenceType) else "optional")
        inner = inner.elem_type
    return "".join(f"{w}(" for w in wrappers) + dtype_name(value.dtype) + ")" * len(wrappers)


def require(value: ir.Value | None, *dtypes: str) -> None:
    """Raises UnsupportedType for an element type without a kernel; an unknown type passes, and is checked when it is
    known."""
    if value is not None and value.dtype is not None and dtype_name(value.dtype) not in dtypes:
        raise UnsupportedType(f"no kernel for {dtype_name(value.dtype)}")


def origin_of(node: ir.Node) -> str:
    """The node's operator, and its position in the file if it is as it was there."""
    op = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    index = node.meta.get(NODE_INDEX)
    return op if index is None else f"{op}, node {index}"


@functools.cache
def dtype_name(dtype: ir.DataType | None) -> str:
    """NumPy's name of an ONNX type."""
    return "float32" if dtype is None else ("str" if dtype == ir.DataType.STRING else dtype.numpy().name)


__all__ = [
    "RULES", "Builder", "Packed", "Quantized", "Rule", "Target", "Unsupported", "UnsupportedType", "port", "require",
    "rule",
]  # fmt: skip
