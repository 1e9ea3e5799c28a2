"""The forms of compressed weights, recognised."""

from __future__ import annotations

import onnx.parser
import onnx_ir
import pytest

from planish.importing import load_model
from planish.passes import compressed_weight_nodes, is_compressed_weight
from planish.passes.lift_constants import lift_constants

BOOK = "book = Constant <value = float[4] {0.0, 1.0, 2.0, 3.0}> () i = Constant <value = uint8[2,3] {0,1,2,3,0,1}> ()"
BLOCKS = """shape = Constant <value_ints = [2, 2, 3]> () ids = Constant <value = uint16[1,2] {0, 1}> ()
v = Constant <value = float[1,3] {1.0, 2.0, 3.0}> () zeros = ConstantOfShape(shape) j = Cast <to = 7> (ids)
flat = Constant <value_ints = [4, 3]> ()"""


def weight(body: str) -> onnx_ir.Value:
    """The value `w` of a model with this body."""
    text = f'<ir_version: 10, opset_import: ["" : 21]> g (float[1] x) => (float[a] y) {{ {body} y = Neg(w) }}'
    model = load_model(onnx.parser.parse_model(text))
    lift_constants(model)
    value = model.graph[-1].inputs[0]
    assert value is not None
    return value


@pytest.mark.parametrize(
    ("body", "operators"),
    [
        (f"{BOOK} c = Cast <to = 7> (i) w = Gather(book, c)", ["Gather", "Cast"]),
        (f"{BOOK} c = Cast <to = 7> (i) g = Gather(book, c) w = Transpose(g)", ["Transpose", "Gather", "Cast"]),
        (
            "b = Constant <value = float[2,2] {0.0, 1.0, 2.0, 3.0}> () i = Constant <value = uint8[2,2] {0,1,1,0}> ()"
            " c = Cast <to = 7> (i) w = GatherElements <axis = 1> (b, c)",
            ["GatherElements", "Cast"],
        ),
        (
            f"{BLOCKS} s = ScatterND(zeros, j, v) w = Reshape(s, flat)",
            ["Reshape", "ScatterND", "ConstantOfShape", "Cast"],
        ),
        (
            "q = Constant <value = int8[2] {1,2}> () s = Constant <value_float = 0.5> () w = DequantizeLinear(q, s)",
            ["DequantizeLinear"],
        ),
        (
            f"{BOOK.replace('float[4] {0.0, 1.0, 2.0, 3.0}', 'int8[4] {0,1,2,3}')} c = Cast <to = 7> (i)"
            " g = Gather(book, c) s = Constant <value_float = 0.5> () w = DequantizeLinear(g, s)",
            ["DequantizeLinear", "Gather", "Cast"],
        ),
    ],
)
def test_forms(body: str, operators: list[str]) -> None:
    value = weight(body)
    assert is_compressed_weight(value)
    assert [node.op_type for node in compressed_weight_nodes(value)] == operators


@pytest.mark.parametrize(
    "body",
    [
        "w = Constant <value_floats = [1.0]> ()",
        f"{BOOK} w = Gather(book, i)".replace("uint8[2,3]", "int64[2,3]"),
        f"{BOOK} c = Cast <to = 7> (i) w = Gather(x, c)",
        f'{BLOCKS} w = ScatterND <reduction = "add"> (zeros, j, v)',
        "s = Constant <value_float = 0.5> () q = Cast <to = 3> (x) w = DequantizeLinear(q, s)",
    ],
)
def test_other_subgraphs(body: str) -> None:
    assert not is_compressed_weight(weight(body))
