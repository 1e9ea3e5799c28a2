"""Fourier transforms and determinants."""

from __future__ import annotations

import onnx_ir as ir

from planish.lowering.builder import Builder, require, rule
from planish.lowering.rules.composed import Composer


@rule("DFT")
def lower_dft(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32", "float64")
    attrs = {"axis": -2, **{key: node.attributes.get_int(key, 0) for key in ("inverse", "onesided")}}
    b.lower_to("dft", node, node.inputs, attrs)


@rule("STFT")
def lower_stft(b: Builder, node: ir.Node) -> None:
    """Frames of the signal, each times the window, transformed."""
    require(node.inputs[0], "float32", "float64")
    c = Composer(b, node)
    signal, hop = (b.tensor(v) for v in node.inputs[:2])
    window, length = (b.tensor(node.inputs[i] if len(node.inputs) > i else None) for i in (2, 3))
    frames = c.step("frames", [signal, hop, window, length])
    if window >= 0:
        frames = c.binary("mul", frames, c.step("reshape", [window, c.ints(-1, 1)]))
    b.define(
        node.outputs[0],
        c.step("dft", [frames], axis=-2, inverse=0, onesided=node.attributes.get_int("onesided", 1)),
    )


@rule("Det")
def lower_det(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32", "float64")
    b.lower_to("det", node, node.inputs)
