"""Compressed weights end to end: each form is forced, must be what ran, and must give what the dense kernel gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import planish
from tests.lowering.harness import by_onnxruntime, parse

pytest.importorskip("onnxruntime")

RECIPE = """version = 1
[[rules]]
match = {{op = ["Conv", "Gemm"]}}
{rule}
"""
PRUNE = 'prune = {{sparsity = 0.7, pattern = "{}"}}'
INT8 = '\nweights = "int8"\nactivations = "uint8"'

#: SessionOptions.weight_format, the rule that makes such weights, and whether layers then compute in integers.
FORMS = [
    *(
        (form, PRUNE.format(pattern), False)
        for form, pattern in (("csr", "element"), ("block1x4", "1x4"), ("block16x4", "16x4"))
    ),
    *(
        (form, PRUNE.format(pattern) + INT8, True)
        for form, pattern in (("csr", "element"), ("block1x4", "1x4"), ("block16x4", "16x4"))
    ),
    *(("codebook", f'weights = {{codebook = {bits}, per = "tensor"}}', False) for bits in (2, 3, 4, 8)),
]


def network() -> onnx.ModelProto:
    """Two convolutions (3x3, strided and padded; 1x1) and a Gemm, of 16, 32 and 16 outputs."""
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> Any:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    return parse(
        """a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]>(x, w1, b1)
           b = Relu(a)
           c = Conv<kernel_shape = [1, 1]>(b, w2)
           d = GlobalAveragePool(c)
           e = Flatten(d)
           y = Gemm<transB = 1>(e, w3, b3)""",
        "float[n, 8, 12, 10] x",
        "float[n, 16] y",
        constants={
            "w1": weights(16, 8, 3, 3),
            "b1": weights(16),
            "w2": weights(32, 16, 1, 1),
            "w3": weights(16, 32),
            "b3": weights(16),
        },
    )


@pytest.fixture(scope="module")
def images() -> Any:
    return np.random.default_rng(1).standard_normal((6, 8, 12, 10)).astype(np.float32)


@pytest.mark.parametrize(("form", "rule", "integer"), FORMS)
def test_forced_forms_run_and_equal_dense_ones(
    form: str, rule: str, integer: bool, images: Any, tmp_path: Path
) -> None:
    target = tmp_path / "small.onnx"
    feeds = [{"x": images[:3]}, {"x": images[3:]}]
    planish.compress(network(), target, recipe=RECIPE.format(rule=rule), calibration=feeds if integer else None)
    results = {}
    for name in (form, "dense"):
        options = planish.SessionOptions(weight_format=name, enable_profiling=True)
        session = planish.InferenceSession(target, options)
        results[name] = session.run(None, {"x": images[:3]})[0]
        families = {timing.family for timing in session.profile()[0]}
        compressed = {f for f in families if f.startswith(("sparse_", "codebook_"))}
        assert bool(compressed) == (name == form), families
    if integer:
        np.testing.assert_array_equal(results[form], results["dense"])
        return
    np.testing.assert_allclose(results[form], results["dense"], rtol=0, atol=1e-5)
    expected = by_onnxruntime(onnx.load(target), {"x": images[:3]})[0]
    np.testing.assert_allclose(results[form], expected, rtol=0, atol=1e-4 * float(np.abs(expected).max()) + 1e-6)
