"""The ONNX project's own test cases: canonicalising a case's model keeps its results.

Every case of the `node`, `simple` and `pytorch` kinds that ONNX Runtime or onnx's reference evaluator can run is run by
the same engine before and after.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper as onh
import onnx_ir
import pytest
from onnx.backend.test.loader import load_model_tests
from onnx.reference import ReferenceEvaluator

from planish.importing import load_model
from planish.passes import canonicalise

pytestmark = pytest.mark.filterwarnings("ignore")

RANDOM = "bernoulli"

#: Cases in which ONNX Runtime leaves the standard, and so differs from the operators that an operator stands for.
#: Its qk_matmul_output lacks the causal mask.
DEVIATING = {
    "test_attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal",
    "test_attention_4d_with_past_and_present_qk_matmul_bias_4d_mask_causal",
}

#: Cases of a kind that can be compared at all; fewer would mean that the engines are broken.
FEWEST = {"node": 1600, "simple": 20, "pytorch-converted": 50, "pytorch-operator": 20}


def read_value(path: Path, kind: onnx.TypeProto) -> Any:
    """The content of an `input_N.pb` file of the given type."""
    data = path.read_bytes()
    if kind.HasField("sequence_type"):
        return onh.to_list(onnx.SequenceProto.FromString(data))
    if kind.HasField("optional_type"):
        return onh.to_optional(onnx.OptionalProto.FromString(data))
    return onh.to_array(onnx.TensorProto.FromString(data))


def model_and_feeds(case: Any) -> tuple[onnx.ModelProto, dict[str, Any]]:
    if case.model is not None:
        return case.model, dict(zip((i.name for i in case.model.graph.input), case.data_sets[0][0], strict=False))
    folder = Path(case.model_dir)
    model = onnx.load(folder / "model.onnx")
    paths = [folder / "test_data_set_0" / f"input_{n}.pb" for n in range(len(model.graph.input))]
    inputs = zip(model.graph.input, paths, strict=True)
    return model, {info.name: read_value(path, info.type) for info, path in inputs if path.exists()}


def run_by_reference(model: onnx.ModelProto, feeds: dict[str, Any]) -> Any:
    return ReferenceEvaluator(model).run(None, feeds)


def is_equal(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(is_equal, a, b))
    if a is None or b is None:
        return a is b
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind in "biuOUSc":
        return bool(np.array_equal(a, b))
    tolerance = 1e-5 if a.dtype.itemsize >= 4 else 4e-3
    return np.allclose(a.astype(np.float64), b.astype(np.float64), rtol=tolerance, atol=tolerance, equal_nan=True)


def compare(model: onnx.ModelProto, feeds: dict[str, Any], engines: Any) -> bool | None:
    """Whether the first engine that runs the original gives the same for the canonical model; None if none runs it."""
    canonical = onnx_ir.to_proto(canonicalise(load_model(model)))
    for engine in engines:
        try:
            expected = engine(model, feeds)
        except Exception:
            # Each engine raises its own exceptions for operators and types that it lacks.
            continue
        return is_equal(expected, engine(canonical, feeds))
    return None


@pytest.mark.parametrize("kind", FEWEST)
def test_results_are_kept(kind: str, run_model: Any) -> None:
    cases = [case for case in load_model_tests(kind=kind) if RANDOM not in case.name]
    results = {case.name: compare(*model_and_feeds(case), (run_model, run_by_reference)) for case in cases}
    assert not [name for name, same in results.items() if same is False and name not in DEVIATING]
    assert sum(same is True for same in results.values()) >= FEWEST[kind]
