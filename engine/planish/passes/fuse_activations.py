"""fuse_activations: activation functions written out in pieces become the standard operator."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx_ir

from planish.passes.patterns import (
    input_at,
    is_float,
    nodes_of,
    producer_of,
    scalar_of,
    single_consumer,
    split_constant,
)
from planish.passes.rewrite import make_node, replace_node

#: Exporters round constants such as 1/6 and sqrt(2) in various ways.
_TOLERANCE = 1e-5


def fuse_activations(model: onnx_ir.Model) -> bool:
    """Recognise HardSigmoid, HardSwish, Gelu (erf and tanh), Mish and LeakyRelu in their expanded forms.

    The inner values must have no other consumer. Results differ from the expanded form by rounding only. x·sigmoid(x)
    is left: no operator of opset 21 stands for it.

    Guarantees: the forms that PyTorch, TensorFlow and Paddle export are single nodes.
    """
    changed = False
    for node in nodes_of(model, "Div", "Mul", "Clip", "Erf", "Tanh", "Max"):
        if is_float(node.outputs[0]):
            changed |= any(rule(node) for rule in _RULES.get(node.op_type, ()))
    return changed


def _near(number: float | int | bool | None, expected: float) -> bool:
    return number is not None and math.isclose(float(number), expected, rel_tol=_TOLERANCE, abs_tol=1e-7)


def _scaled(value: onnx_ir.Value | None) -> tuple[onnx_ir.Value, float] | None:
    """(x, factor) of x·factor or x/divisor with a scalar constant that does not raise the rank."""
    node = producer_of(value, "Mul", "Div")
    parts = None if node is None else split_constant(node)
    if node is None or parts is None or parts[0].shape is None or len(parts[1].shape or ()) > len(parts[0].shape):
        return None
    number = scalar_of(parts[1])
    if number is None or not number:
        return None
    if node.op_type == "Mul":
        return parts[0], float(number)
    return (parts[0], 1.0 / float(number)) if node.inputs[1] is parts[1] else None


def _shifted(value: onnx_ir.Value | None, by: float) -> onnx_ir.Value | None:
    """x of x + by."""
    node = producer_of(value, "Add")
    parts = None if node is None else split_constant(node)
    return parts[0] if parts is not None and _near(scalar_of(parts[1]), by) else None


def _clip_bounds(node: onnx_ir.Node) -> tuple[float, float] | None:
    low, high = scalar_of(input_at(node, 1)), scalar_of(input_at(node, 2))
    return None if low is None or high is None else (float(low), float(high))


# -- HardSigmoid and HardSwish -----------------------------------------------------------------------------------------


def _hard_sigmoid_of_unit_clip(node: onnx_ir.Node) -> bool:
    """Clip(x·alpha + beta, 0, 1)."""
    if _clip_bounds(node) != (0.0, 1.0):
        return False
    add = producer_of(node.inputs[0], "Add")
    parts = None if add is None else split_constant(add)
    if add is None or parts is None or single_consumer(add.outputs[0]) is not node:
        return False
    beta, product = scalar_of(parts[1]), _scaled(parts[0])
    if beta is None or product is None or single_consumer(parts[0]) is not add:
        return False
    x, alpha = product
    replace_node(node, make_node("HardSigmoid", [x], {"alpha": alpha, "beta": float(beta)}, like=node.outputs[0]))
    return True


def _relu6_of_shifted(value: onnx_ir.Value | None, user: onnx_ir.Node) -> onnx_ir.Value | None:
    """x of Clip(x + 3, 0, 6), read by `user` only."""
    clip = producer_of(value, "Clip")
    if clip is None or single_consumer(clip.outputs[0]) is not user or _clip_bounds(clip) != (0.0, 6.0):
        return None
    x = _shifted(clip.inputs[0], 3.0)
    return x if x is not None and clip.inputs[0] is not None and single_consumer(clip.inputs[0]) is clip else None


def _hard_sigmoid_of_relu6(node: onnx_ir.Node) -> bool:
    """Clip(x + 3, 0, 6) / 6."""
    scaled = _scaled(node.outputs[0])
    x = None if scaled is None else _relu6_of_shifted(scaled[0], node)
    if scaled is None or x is None or not _near(scaled[1], 1 / 6):
        return False
    replace_node(node, make_node("HardSigmoid", [x], {"alpha": 1 / 6, "beta": 0.5}, like=node.outputs[0]))
    return True


def _hard_swish_of_relu6(node: onnx_ir.Node) -> bool:
    """x · Clip(x + 3, 0, 6) / 6, divided last."""
    scaled = _scaled(node.outputs[0])
    product = None if scaled is None else producer_of(scaled[0], "Mul")
    if scaled is None or product is None or not _near(scaled[1], 1 / 6) or single_consumer(scaled[0]) is not node:
        return False
    for x, clipped in _both_orders(product):
        if _relu6_of_shifted(clipped, product) is x and x is not None:
            replace_node(node, make_node("HardSwish", [x], like=node.outputs[0]))
            return True
    return False


def _hard_swish_of_hard_sigmoid(node: onnx_ir.Node) -> bool:
    """x · HardSigmoid(x) with slope 1/6, or x/6 · Clip(x + 3, 0, 6)."""
    for x, gate in _both_orders(node):
        inner = producer_of(gate, "HardSigmoid")
        if inner is not None and x is not None and inner.inputs[0] is x and single_consumer(inner.outputs[0]) is node:
            alpha, beta = inner.attributes.get_float("alpha", 0.2), inner.attributes.get_float("beta", 0.5)
            if _near(alpha, 1 / 6) and _near(beta, 0.5):
                replace_node(node, make_node("HardSwish", [x], like=node.outputs[0]))
                return True
        scaled = _scaled(x)
        if scaled is not None and _near(scaled[1], 1 / 6) and _relu6_of_shifted(gate, node) is scaled[0]:
            replace_node(node, make_node("HardSwish", [scaled[0]], like=node.outputs[0]))
            return True
    return False


def _both_orders(node: onnx_ir.Node) -> list[tuple[onnx_ir.Value | None, onnx_ir.Value | None]]:
    return [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])]


# -- Gelu --------------------------------------------------------------------------------------------------------------


def _gelu_erf(node: onnx_ir.Node) -> bool:
    """0.5 · x · (1 + erf(x / sqrt 2)), the product in any order."""
    argument = _scaled(node.inputs[0])
    if argument is None or not _near(argument[1], math.sqrt(0.5)):
        return False
    return _replace_gelu(node, argument[0], "none")


def _gelu_tanh(node: onnx_ir.Node) -> bool:
    """0.5 · x · (1 + tanh(sqrt(2 / pi) · (x + 0.044715 · x³)))."""
    argument = _scaled(node.inputs[0])
    cubic = None if argument is None else producer_of(argument[0], "Add")
    if argument is None or cubic is None or not _near(argument[1], math.sqrt(2 / math.pi)):
        return False
    for x, term in _both_orders(cubic):
        scaled = _scaled(term)
        if x is not None and scaled is not None and _near(scaled[1], 0.044715) and _is_cube(scaled[0], x):
            return _replace_gelu(node, x, "tanh")
    return False


def _is_cube(value: onnx_ir.Value, x: onnx_ir.Value) -> bool:
    power = producer_of(value, "Pow")
    if power is not None:
        return power.inputs[0] is x and scalar_of(input_at(power, 1)) == 3
    return sorted(map(id, _factors(value))) == [id(x)] * 3


def _factors(value: onnx_ir.Value) -> list[onnx_ir.Value]:
    """The factors of a product of up to four computed values."""
    product = producer_of(value, "Mul")
    if product is None or split_constant(product) is not None:
        return [value]
    factors = [f for side in product.inputs if side is not None for f in _factors(side)]
    return factors if len(factors) <= 4 else [value]


def _replace_gelu(node: onnx_ir.Node, x: onnx_ir.Value, approximate: str) -> bool:
    """Find the product of x, 0.5 and 1 + node(…) above `node`, and replace it."""
    plus_one = single_consumer(node.outputs[0], "Add")
    if plus_one is None or _shifted(plus_one.outputs[0], 1.0) is not node.outputs[0]:
        return False
    value, half, times_x = plus_one.outputs[0], False, False
    while not (half and times_x):
        product = single_consumer(value, "Mul", "Div")
        if product is None:
            return False
        other = product.inputs[1] if product.inputs[0] is value else product.inputs[0]
        scaled = _scaled(product.outputs[0])
        inner = _scaled(other)
        if scaled is not None and scaled[0] is value and not half and _near(scaled[1], 0.5):
            half = True
        elif other is x and not times_x and product.op_type == "Mul":
            times_x = True
        elif inner is not None and inner[0] is x and _near(inner[1], 0.5) and product.op_type == "Mul":
            if half or times_x:
                return False
            half = times_x = True
        else:
            return False
        value = product.outputs[0]
    assert product is not None
    replace_node(product, make_node("Gelu", [x], {"approximate": approximate}, like=product.outputs[0]))
    return True


# -- Mish and LeakyRelu ------------------------------------------------------------------------------------------------


def _mish(node: onnx_ir.Node) -> bool:
    """x · tanh(softplus(x))."""
    for x, gate in _both_orders(node):
        tanh = producer_of(gate, "Tanh")
        softplus = None if tanh is None else producer_of(tanh.inputs[0], "Softplus")
        if tanh is None or softplus is None or x is None or softplus.inputs[0] is not x:
            continue
        if single_consumer(tanh.outputs[0]) is node and single_consumer(softplus.outputs[0]) is tanh:
            replace_node(node, make_node("Mish", [x], like=node.outputs[0]))
            return True
    return False


def _leaky_relu(node: onnx_ir.Node) -> bool:
    """max(x, alpha·x) with alpha between 0 and 1."""
    if len(node.inputs) != 2:
        return False
    for x, other in _both_orders(node):
        scaled = _scaled(other)
        if scaled is None or other is None or scaled[0] is not x or not 0 < scaled[1] < 1:
            continue
        if single_consumer(other) is node:
            replace_node(node, make_node("LeakyRelu", [x], {"alpha": scaled[1]}, like=node.outputs[0]))
            return True
    return False


_RULES: dict[str, tuple[Callable[[onnx_ir.Node], bool], ...]] = {
    "Clip": (_hard_sigmoid_of_unit_clip,),
    "Div": (_hard_swish_of_relu6, _hard_sigmoid_of_relu6),
    "Erf": (_gelu_erf,),
    "Max": (_leaky_relu,),
    "Mul": (_hard_swish_of_relu6, _hard_swish_of_hard_sigmoid, _hard_sigmoid_of_relu6, _mish),
    "Tanh": (_gelu_tanh,),
}
