"""Every stored form of a weight: ONNX Runtime decodes what was coded, and the size is as promised."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from small_models import Judge, model_of

from planish.compress.coding import CodedWeight, code_codebook, code_float, code_integer, widen_scales
from planish.compress.editor import GraphEditor
from planish.compress.forms import write_weight
from planish.compress.graph import Layer, Layout
from planish.compress.measure import coded_bytes
from planish.compress.prune import Candidate, prune_layers
from planish.compress.recipe import Prune, Weights

CONV = Layout((32, 16, 3, 3), (0, 2, 3, 1))
POINTWISE = Layout((32, 16, 1, 1), (0, 2, 3, 1))
TRANSPOSED = Layout((16, 32, 3, 3), (1, 2, 3, 0))
MATMUL = Layout((48, 32), (1, 0))
GEMM = Layout((32, 50), (0, 1))
LAYOUTS = {"conv": CONV, "1x1": POINTWISE, "transposed": TRANSPOSED, "matmul": MATMUL, "gemm": GEMM}


def matrix(layout: Layout, seed: int = 0) -> np.ndarray:
    return layout.matrix(np.random.default_rng(seed).standard_normal(layout.shape).astype(np.float32))


def pruned(layout: Layout, pattern: str, rate: float = 0.75) -> np.ndarray:
    layer = Layer("l", "Conv", "l", "x", "y", "w", None, layout)
    values = matrix(layout)
    return np.where(prune_layers([Candidate(layer, Prune(rate, pattern=pattern), values)])["l"], values, np.float32(0))


def written(coded: CodedWeight) -> onnx.ModelProto:
    """A model whose output is the decoded weight."""
    shape = list(coded.layout.shape)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"], name="use")]
    opset = max(coded.weights.opset, 13)
    base = model_of(nodes, {"w": np.zeros(shape, np.float32)}, {"x": shape}, ["y"], min(opset, 24))
    base.opset_import[0].version = opset
    model = ir.from_proto(base)
    editor = GraphEditor(model)
    value = write_weight(editor, editor.nodes["use"], "w", coded)
    editor.nodes["use"].replace_input_with(1, value)
    editor.drop_unused()
    model.ir_version = 13 if opset >= 25 else 10
    return ir.to_proto(model)


FORMS = {
    "float": lambda l: code_float(l, matrix(l)),
    "int8": lambda l: code_integer(l, matrix(l), Weights("int", 8)),
    "int8 blocks of inputs": lambda l: code_integer(l, matrix(l), Weights("int", 8, 16)),
    "int4": lambda l: code_integer(l, matrix(l), Weights("int", 4, 32)),
    "int4 a channel": lambda l: code_integer(l, matrix(l), Weights("int", 4)),
    "int2": lambda l: code_integer(l, matrix(l), Weights("int", 2, 16)),
    "codebook 8": lambda l: code_codebook(l, matrix(l), Weights("codebook", 8)),
    "codebook 4": lambda l: code_codebook(l, matrix(l), Weights("codebook", 4)),
    "codebook 3": lambda l: code_codebook(l, matrix(l), Weights("codebook", 3)),
    "codebook 2": lambda l: code_codebook(l, matrix(l), Weights("codebook", 2)),
    "codebook 4 a group": lambda l: code_codebook(l, matrix(l), Weights("codebook", 4, group=8)),
    "codebook 2 a group": lambda l: code_codebook(l, matrix(l), Weights("codebook", 2, group=16)),
    "codebook 4 of int8": lambda l: code_codebook(l, matrix(l), Weights("codebook", 4), integer=True),
    "codebook 4 a group of int8": lambda l: code_codebook(l, matrix(l), Weights("codebook", 4, group=8), integer=True),
    "sparse float": lambda l: code_float(l, pruned(l, "element", 0.9)),
    "sparse int8": lambda l: code_integer(l, pruned(l, "element", 0.9), Weights("int", 8)),
    "pruned codebook": lambda l: code_codebook(l, pruned(l, "element"), Weights("codebook", 4)),
}
BLOCKED = {
    f"{pattern} {kind}": (pattern, kind)
    for pattern in ("1x4", "16x4")
    for kind in ("float", "int8", "codebook", "both")
}


def blocked(layout: Layout, pattern: str, kind: str) -> CodedWeight:
    values = pruned(layout, pattern)
    if kind == "float":
        return code_float(layout, values, pattern)
    if kind == "int8":
        return code_integer(layout, values, Weights("int", 8), pattern)
    return code_codebook(layout, values, Weights("codebook", 4), pattern, integer=kind == "both")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_onnxruntime_decodes_what_was_coded(form: object, layout: Layout, judge: Judge) -> None:
    coded = form(layout)  # type: ignore[operator]
    model = written(coded)
    (got,) = judge(model, {"x": np.zeros(layout.shape, np.float32)})
    np.testing.assert_array_equal(got, coded.decoded())
    assert stored_tensor_bytes(model) <= coded_bytes(coded) + 64


@pytest.mark.parametrize("layout", [CONV, POINTWISE, TRANSPOSED, MATMUL], ids=["conv", "1x1", "transposed", "matmul"])
@pytest.mark.parametrize(("pattern", "kind"), BLOCKED.values(), ids=BLOCKED.keys())
def test_blocks_are_scattered_to_their_places(pattern: str, kind: str, layout: Layout, judge: Judge) -> None:
    coded = blocked(layout, pattern, kind)
    model = written(coded)
    (got,) = judge(model, {"x": np.zeros(layout.shape, np.float32)})
    np.testing.assert_array_equal(got, coded.decoded())
    assert (got != 0).mean() <= 0.26
    assert {node.op_type for node in model.graph.node} >= {"ConstantOfShape", "ScatterND", "Reshape", "Transpose"}
    assert stored_tensor_bytes(model) <= coded_bytes(coded) + 256


def stored_tensor_bytes(model: onnx.ModelProto) -> int:
    """Bytes of the initializers' data."""
    packed = {TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.INT2: 2, TensorProto.UINT2: 2}
    total = 0
    for tensor in model.graph.initializer:
        bits = packed.get(tensor.data_type) or 8 * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        assert tensor.raw_data
        assert len(tensor.raw_data) == -(-int(np.prod(tensor.dims)) * bits // 8)
        total += len(tensor.raw_data)
    return total


@pytest.mark.parametrize(("rate", "scattered"), [(0.3, False), (0.9, True)])
def test_single_non_zeros_are_stored_where_that_is_smaller(rate: float, scattered: bool) -> None:
    coded = code_integer(CONV, pruned(CONV, "element", rate), Weights("int", 8))
    model = written(coded)
    assert ("ScatterND" in {node.op_type for node in model.graph.node}) == scattered
    assert stored_tensor_bytes(model) <= CONV.rows * 4 + 32 * 144 + 64


def test_the_blocks_of_1x4_are_vectors() -> None:
    for pattern, shape in (("1x4", [4]), ("16x4", [16, 4])):
        model = written(blocked(CONV, pattern, "int8"))
        blocks = next(tensor for tensor in model.graph.initializer if tensor.name == "w_blocks")
        assert list(blocks.dims)[1:] == shape


def test_int8_is_symmetric_per_channel_and_clips_nothing() -> None:
    values = matrix(CONV)
    values[3] = 0
    coded = code_integer(CONV, values, Weights("int", 8))
    assert coded.values is not None
    assert coded.scale is not None
    assert coded.scale.shape == (32,)
    assert (coded.scale > 0).all()
    assert np.abs(coded.values).max() == 127
    assert np.abs(coded.decoded_matrix() - values).max() <= coded.scale.max() * 0.5001


def test_a_block_as_long_as_the_inputs_is_an_output_channel() -> None:
    coded = code_integer(GEMM, matrix(GEMM), Weights("int", 4, 64))
    assert coded.scale is not None
    assert coded.scale.shape == (32,)
    assert coded.weights.block == 0


def test_low_bit_scales_beat_the_ones_that_clip_nothing() -> None:
    values = matrix(GEMM)
    coded = code_integer(GEMM, values, Weights("int", 4))
    scale = np.abs(values).max(axis=1, keepdims=True) / 7
    plain = np.rint(values / scale) * scale
    assert np.square(coded.decoded_matrix() - values).sum() < 0.95 * np.square(plain - values).sum()


def test_a_pruned_codebook_has_zero_as_entry_0_for_zeros_alone() -> None:
    values = pruned(CONV, "element")
    coded = code_codebook(CONV, values, Weights("codebook", 4))
    assert coded.codebook is not None
    assert coded.index is not None
    assert (coded.codebook[:, 0] == 0).all()
    np.testing.assert_array_equal(coded.index == 0, values == 0)


def test_groups_divide_the_outputs_and_fit_better() -> None:
    values = matrix(CONV) * np.linspace(0.1, 10, 32, dtype=np.float32)[:, None]
    one = code_codebook(CONV, values, Weights("codebook", 3))
    many = code_codebook(CONV, values, Weights("codebook", 3, group=5))
    assert many.codebook is not None
    assert many.codebook.shape == (8, 8)
    assert np.square(many.decoded_matrix() - values).sum() < 0.7 * np.square(one.decoded_matrix() - values).sum()


def test_widened_scales_keep_the_weights_close() -> None:
    values = matrix(GEMM)
    coded = code_integer(GEMM, values, Weights("int", 8))
    assert coded.scale is not None
    wide = widen_scales(coded, values, coded.scale * 2)
    assert wide.scale is not None
    np.testing.assert_array_equal(wide.scale, coded.scale * 2)
    assert np.abs(wide.decoded_matrix() - values).max() <= wide.scale.max() * 0.5001
