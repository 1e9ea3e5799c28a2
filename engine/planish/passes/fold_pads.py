"""fold_pads: a Pad with zeros disappears into the convolution or average pooling behind it."""

from __future__ import annotations

import onnx_ir

from planish.passes.patterns import constant_of, input_at, int_attribute, ints_of, nodes_of, producer_of
from planish.passes.rewrite import set_input


def fold_pads(model: onnx_ir.Model) -> bool:
    """Add the pads of a constant-zero Pad to those of the Conv or AveragePool that reads it.

    Only spatial axes, growing, with constant amounts. AveragePool must count pads in its divisor or have none of its
    own (it counts them from then on), must not round its size up, and its window must be larger than its pads. The
    Pad stays for its other consumers.

    Guarantees: no Conv reads a zero Pad of spatial axes.
    """
    changed = False
    for node in nodes_of(model, "Conv", "AveragePool"):
        pad = producer_of(node.inputs[0], "Pad")
        extra = None if pad is None else _spatial_pads(pad)
        own = _own_pads(node, len(extra)) if extra is not None else None
        if pad is None or extra is None or own is None:
            continue
        pads = [a + b for a, b in zip(own, extra, strict=True)]
        if node.op_type == "AveragePool":
            if not _may_count(node, own, pads):
                continue
            node.attributes["count_include_pad"] = onnx_ir.AttrInt64("count_include_pad", 1)
        node.attributes["pads"] = onnx_ir.AttrInt64s("pads", pads)
        node.attributes.pop("auto_pad", None)
        set_input(node, 0, pad.inputs[0])
        changed = True
    return changed


def _may_count(pool: onnx_ir.Node, own: list[int], pads: list[int]) -> bool:
    """Whether an average pool may take these pads: counted in its divisor, and smaller than its window."""
    if int_attribute(pool, "ceil_mode", 0) or (any(own) and not int_attribute(pool, "count_include_pad", 0)):
        return False
    window = pool.attributes["kernel_shape"].as_ints()
    return all(pad < size for pad, size in zip(pads, [*window, *window], strict=True))


def _spatial_pads(pad: onnx_ir.Node) -> list[int] | None:
    """Begins then ends for the axes from 2 on; None where the Pad does anything else."""
    if pad.attributes.get_string("mode", "constant") != "constant" or input_at(pad, 3) is not None:
        return None
    fill = input_at(pad, 2)
    value = constant_of(fill)
    if fill is not None and (value is None or value.size != 1 or value.any()):
        return None
    pads = ints_of(input_at(pad, 1))
    if pads is None or len(pads) < 6 or min(pads) < 0:
        return None
    rank = len(pads) // 2
    if any(pads[:2]) or any(pads[rank : rank + 2]):
        return None
    return [*pads[2:rank], *pads[rank + 2 :]]


def _own_pads(node: onnx_ir.Node, count: int) -> list[int] | None:
    """The node's own pads; None where it derives them from the input's size."""
    if node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    pads = node.attributes.get_ints("pads")
    return [0] * count if pads is None else list(pads) if len(pads) == count else None
