"""Zero pads in front of convolutions and average pools."""

from __future__ import annotations

from typing import Any

import pytest

from planish.passes.eliminate_dead_nodes import eliminate_dead_nodes
from planish.passes.fold_pads import fold_pads
from planish.passes.lift_constants import lift_constants

W = "w = Constant <value = float[1,1,2,2] {1.0, 2.0, 3.0, 4.0}> ()"


def text_of(pads: str, body: str, fill: str = "") -> str:
    value = f"v = Constant <value_float = {fill}> () h = Pad(x, p, v)" if fill else "h = Pad(x, p)"
    return f"""<ir_version: 10, opset_import: ["" : 21]>
    g (float[1,1,4,4] x) => (float[n,c,a,b] y) {{ p = Constant <value_ints = [{pads}]> () {value} {body} }}"""


@pytest.mark.parametrize(
    "body",
    [
        f"{W} y = Conv(h, w)",
        f"{W} y = Conv <pads = [1, 0, 0, 1], strides = [2, 2]> (h, w)",
        "y = AveragePool <kernel_shape = [3, 3]> (h)",
        "y = AveragePool <kernel_shape = [4, 4], pads = [1, 1, 1, 1], count_include_pad = 1> (h)",
    ],
)
def test_is_absorbed(apply: Any, operators: Any, body: str) -> None:
    model = apply(fold_pads, text_of("0, 0, 1, 2, 0, 0, 2, 1", body), first=(lift_constants,))
    eliminate_dead_nodes(model)
    assert len(operators(model)) == 1


@pytest.mark.parametrize(
    ("pads", "body", "fill"),
    [
        ("0, 0, 1, 1, 0, 0, 1, 1", f"{W} y = Conv(h, w)", "1.5"),
        ("0, 0, -1, 0, 0, 0, 1, 1", f"{W} y = Conv(h, w)", ""),
        ("1, 0, 0, 0, 0, 0, 1, 1", f"{W} y = Conv(h, w)", ""),
        ("0, 0, 1, 1, 0, 0, 1, 1", f'{W} y = Conv <auto_pad = "SAME_UPPER"> (h, w)', ""),
        ("0, 0, 1, 1, 0, 0, 1, 1", "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (h)", ""),
        ("0, 0, 2, 0, 0, 0, 0, 0", "y = AveragePool <kernel_shape = [2, 2]> (h)", ""),
        ("0, 0, 1, 1, 0, 0, 1, 1", "y = MaxPool <kernel_shape = [2, 2]> (h)", ""),
    ],
)
def test_is_kept(apply: Any, operators: Any, pads: str, body: str, fill: str) -> None:
    model = apply(fold_pads, text_of(pads, body, fill), first=(lift_constants,))
    eliminate_dead_nodes(model)
    assert len(operators(model)) == 2
