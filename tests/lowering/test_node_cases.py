"""The ONNX project's own cases of every operator: as they are, and with all inputs but the first made constant."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

import planish

#: Cases that say nothing about us, by the start of their name.
SKIPPED = {
    "test_bernoulli": "random",
    "test_training_dropout": "random",
}  # fmt: skip


def _cases() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    for case in cases:
        ports = [*case.model.graph.input, *case.model.graph.output]
        if any(p.type.WhichOneof("value") != "tensor_type" for p in ports):
            continue  # test_sequences.py and the conformance suite have these
        reason = next((why for start, why in SKIPPED.items() if case.name.startswith(start)), None)
        marks = [pytest.mark.skip(reason=reason)] if reason else []
        yield pytest.param(case, id=case.name.removeprefix("test_"), marks=marks)


def _array(value: Any) -> np.ndarray[Any, Any]:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _feeds(case: Any, inputs: list[Any]) -> dict[str, np.ndarray[Any, Any]]:
    names = [i.name for i in case.model.graph.input]
    return {name: _array(value) for name, value in zip(names, inputs, strict=True)}


def _check(case: Any, results: list[Any], expected: list[Any]) -> None:
    for got, want in zip(results, map(_array, expected), strict=True):
        assert got.shape == want.shape
        if want.dtype.kind in "OUS":
            assert [str(v) for v in got.ravel()] == [str(v) for v in want.ravel()]
            continue
        assert got.dtype == want.dtype
        if want.dtype.kind in "iub":
            np.testing.assert_array_equal(got, want)
        else:
            rtol = max(case.rtol, 2**-6) if want.dtype.name == "bfloat16" else case.rtol  # as the ONNX project's runner
            np.testing.assert_allclose(
                got.astype(np.float64), want.astype(np.float64), rtol=rtol, atol=max(case.atol, 1e-6)
            )


CASES = list(_cases())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_every_input_fed(case):
    session = planish.InferenceSession(case.model)
    for inputs, expected in case.data_sets:
        _check(case, session.run(None, _feeds(case, inputs)), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", [c for c in CASES if len(c.values[0].model.graph.input) > 1])
def test_all_inputs_constant_but_the_first(case):
    inputs, expected = case.data_sets[0]
    feeds = _feeds(case, inputs)
    first, *others = feeds
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for name in others:
        model.graph.initializer.append(numpy_helper.from_array(feeds[name], name))
    del model.graph.input[1:]
    _check(case, planish.InferenceSession(model).run(None, {first: feeds[first]}), expected)
