"""Dynamic quantization: activations whose scale and zero point are computed in every run, integer weights.

The zero point goes into a bias and the scales into a vector, both computed per run and N long, so that the layer is
one integer step: y = (Σ qx·(qw - zw) - zx·Σ(qw - zw)) · (sx·sw). Padding is a border of zx, written around a copy of x.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from planish.lowering.builder import Builder, Dynamic, Unsupported, rule
from planish.lowering.lowered import ABSENT
from planish.lowering.rules import linear
from planish.passes.patterns import single_consumer

Array = npt.NDArray[Any]


@rule("DynamicQuantizeLinear")
def lower_dynamic_quantize(b: Builder, node: ir.Node) -> None:
    b.lower_to("dynamic_quantize", node, node.inputs)


def defer_dynamic(b: Builder, node: ir.Node) -> bool:
    """A DequantizeLinear of what DynamicQuantizeLinear made: remembered, so that layers can take the bytes."""
    x, scale, zero = (*node.inputs, None)[:3]
    source = x.producer() if x is not None else None
    if source is None or source.op_type != "DynamicQuantizeLinear" or tuple(source.outputs) != (x, scale, zero):
        return False
    b.dynamic[node.outputs[0]] = Dynamic(b.tensor(x), b.tensor(scale), b.tensor(zero))
    return True


def lower_dynamic_anchor(b: Builder, anchor: linear.Anchor, x: Dynamic, bias: Array | None) -> bool:
    """Conv, Gemm or MatMul of a dynamically quantized input. False where its weights are not of 8 bits per output."""
    w, n = anchor.weights, anchor.attrs["N"]
    if w.scale is None or w.values.dtype not in (np.int8, np.uint8) or anchor.transposed:
        return False
    scale, zero = anchor.per_output(w.scale, n), anchor.per_output(w.zero, n)
    if scale is None or (w.zero is not None and zero is None):
        return False
    if not linear.fits_int32(anchor, zero, np.zeros(n, np.int64)):
        b.note(anchor.node, "sums may exceed int32; the layer runs in float")
        return False
    weights = b.lowered.constant(f"{anchor.node.name}.scale", np.ascontiguousarray(scale, np.float32))
    (scales,) = b.add("binary", anchor.node, [weights, x.scale], {"op": "mul"})
    made = _emit(b, anchor, x.tensor, x.zero, zero, scales)
    if bias is not None:
        column = (n, *[1] * len(anchor.attrs.get("kernel", ())))
        addend = np.broadcast_to(bias.ravel(), (n,)).astype(np.float32).reshape(column)
        constant = b.lowered.constant(f"{anchor.node.name}.bias", addend)
        (made,) = b.add("binary", anchor.node, [made, constant], {"op": "add"})
    b.define(anchor.output, made)
    return True


@rule("MatMulInteger", "ConvInteger")
def lower_integer_operator(b: Builder, node: ir.Node) -> None:
    """Raw s32 sums, or scaled ones if a Cast to float and a multiplication by a scale are all that follows."""
    x, x_zero, w_zero = node.inputs[0], *(node.inputs[i] if len(node.inputs) > i else None for i in (2, 3))
    assert x is not None
    conv = node.op_type == "ConvInteger"
    weights = b.weights(node.inputs[1])
    computed_zero = w_zero is not None and b.constant(w_zero) is None
    if weights is None or computed_zero or (not conv and weights.values.ndim != 2):
        lower_computed(b, node, [x, x_zero, node.inputs[1], w_zero])
        return
    anchor = linear.conv_anchor(b, node, node.inputs[1]) if conv else linear.gemm_anchor(b, node, node.inputs[1], False)
    zeros, n = b.constant(w_zero), anchor.attrs["N"]
    w_zeros = None if zeros is None else np.broadcast_to(zeros.ravel(), (n,))
    signed = x.dtype == ir.DataType.INT8
    known = b.constant(x_zero)
    if x_zero is None or known is not None:
        zero = (0 if known is None else int(known.ravel()[0])) + (128 if signed else 0)
        b.define(
            node.outputs[0],
            linear.emit_integer(b, anchor, b.bytes(x), zero, w_zeros, np.zeros(n, np.int64), None, None),
        )
        return
    bytes_, zero_tensor = b.bytes(x), b.bytes(x_zero)
    scaling = _scaling_behind(node, n)
    if scaling is None:
        b.define(node.outputs[0], _emit(b, anchor, bytes_, zero_tensor, w_zeros, ABSENT))
        return
    cast, product, factor = scaling

    def finish() -> None:  # once the factor is there
        ones = b.lowered.constant("ones", np.ones(n, np.float32))
        flat = b.lowered.constant("flat", np.array([-1], np.int64))
        (vector,) = b.add("reshape", product, [b.tensor(factor), flat])
        (scales,) = b.add("binary", product, [ones, vector], {"op": "mul"})
        b.define(product.outputs[0], _emit(b, anchor, bytes_, zero_tensor, w_zeros, scales))

    b.done.add(cast)
    b.late[product] = finish


def lower_computed(b: Builder, node: ir.Node, operands: list[ir.Value | None]) -> None:
    """The raw sums of x, its zero point, w, its zero point, where not all of w is constant."""
    from planish.lowering.rules import computed

    sums = computed.computed_conv_integer if node.op_type == "ConvInteger" else computed.computed_product_integer
    b.define(node.outputs[0], sums(b, node, operands))


def _scaling_behind(node: ir.Node, n: int) -> tuple[ir.Node, ir.Node, ir.Value] | None:
    """(Cast to float32, Mul, its other operand) if they alone follow, and the operand is a number or one per output."""
    cast = single_consumer(node.outputs[0], "Cast")
    if cast is None or cast.attributes["to"].as_int() != ir.DataType.FLOAT:
        return None
    product = single_consumer(cast.outputs[0], "Mul")
    if product is None:
        return None
    factor = product.inputs[1] if product.inputs[0] is cast.outputs[0] else product.inputs[0]
    if factor is None or factor is cast.outputs[0] or factor.shape is None:
        return None
    shape = [d if isinstance(d, int) else 0 for d in factor.shape]
    rank = None if node.outputs[0].shape is None else len(node.outputs[0].shape)
    if rank is None or len(shape) > rank:
        return None
    aligned = [1] * (rank - len(shape)) + shape
    channels = 1 if node.op_type == "ConvInteger" else rank - 1
    fits = all(d == 1 or (i == channels and d == n) for i, d in enumerate(aligned))
    return (cast, product, factor) if fits else None


def _emit(b: Builder, anchor: linear.Anchor, x: int, x_zero: int, w_zero: Array | None, scales: int) -> int:
    """The integer step with its bias -zx·Σ(w - zw) computed per run. `scales`: a tensor [N], or ABSENT for raw sums."""
    stored = linear.stored_weights(anchor, w_zero)
    column = b.lowered.constant(f"{anchor.node.name}.sums", linear.wrap_int32(-stored.sums()))
    (wide_zero,) = b.add("cast", anchor.node, [x_zero], {"to": "int32"})
    (bias,) = b.add("binary", anchor.node, [column, wide_zero], {"op": "mul"})
    anchor.attrs.update(x_zero=0, dtype="int32" if scales == ABSENT else "float32")
    return linear.add_integer_step(b, anchor, pad_with(b, anchor.node, anchor.attrs, x, x_zero), stored, bias, scales)


def pad_with(b: Builder, node: ir.Node, attrs: dict[str, Any], x: int, zero: int) -> int:
    """x with the padding of the convolution that `attrs` describes, which loses it, made of the zero point `zero`."""
    auto = attrs.pop("auto_pad", "NOTSET")
    pads = attrs.pop("pads", None)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        window = {k: attrs.get(k) for k in ("kernel", "strides", "dilations")}
        if window["kernel"] is None:
            raise Unsupported("automatic padding for a window that is computed")
        (made,) = b.add("pad", node, [x, ABSENT, zero], {"mode": "constant", "window": {**window, "auto_pad": auto}})
        return made
    if pads is None or not any(pads) or auto == "VALID":
        return x
    half = len(pads) // 2
    borders = b.lowered.constant("pads", np.array([0, 0, *pads[:half], 0, 0, *pads[half:]], np.int64))
    (made,) = b.add("pad", node, [x, borders, zero], {"mode": "constant"})
    return made
