"""The ONNX project's own suite, onnx.backend.test of the installed onnx, run by planish.

"Node" cases have one operator each, or the body of the function that an operator stands for; "Simple" ones a few
nodes; "PyTorchConverted" and "PyTorchOperator" come from PyTorch's first exporter; "Real" are well-known networks with
made-up weights.
"""

from __future__ import annotations

import os
import re
import tempfile
import unittest
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import onnx
from onnx.backend.test import BackendTest
from onnx.backend.test.loader import load_model_tests

import planish.backend
from planish.runtime.executor import fallback_steps

#: Pattern of a case's name → why it cannot pass.
EXCEPTIONS = {
    "test_bernoulli": "random numbers: ONNX fixes their distribution, not their values",
    "test_gradient_of_": "training: no runtime of the onnx package has Gradient",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One test: `operator` is what a node case is about, `kind` the suite's name for the group."""

    kind: str
    name: str
    operator: str
    test: unittest.TestCase


def exception_of(name: str) -> str | None:
    return next((reason for pattern, reason in EXCEPTIONS.items() if re.match(pattern, name)), None)


class Recorder(planish.backend.PlanishBackend):
    """Remembers which steps of the last prepared model left the native half."""

    fallbacks: tuple[str, ...] = ()

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> planish.backend.PlanishRep:
        Recorder.fallbacks = ("cannot run",)
        prepared = super().prepare(model, device, **options)
        steps = fallback_steps(prepared.session.lowered)
        Recorder.fallbacks = tuple(f"{s.attrs['op']}: {s.attrs.get('reason', 'no native kernel')}" for s in steps)
        return prepared

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> bool:
        return True  # a model that cannot run is a failure, not a skip


class Suite(BackendTest):
    """The suite, with sequences compared element by element: its own comparison takes the length of a scalar."""

    @classmethod
    def assert_similar_outputs(
        cls, ref_outputs: Sequence[Any], outputs: Sequence[Any], rtol: float, atol: float, model_dir: str | None = None
    ) -> None:
        assert len(outputs) == len(ref_outputs)
        for expected, got in zip(ref_outputs, outputs, strict=True):
            assert isinstance(got, list) == isinstance(expected, list)
            if isinstance(got, list):
                cls.assert_similar_outputs(expected, got, rtol, atol, model_dir)
            else:
                super().assert_similar_outputs([expected], [got], rtol, atol, model_dir)


def cases() -> Iterator[Case]:
    """Every case, ready to run; the "Real" ones unpack into a folder that lives as long as the process."""
    folder = _model_folder()
    os.environ["ONNX_MODELS"] = folder.name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx computes overflows and divisions by zero for its expected values
        suite = Suite(Recorder, __name__)
        operators = _operators()
    for group, tests in suite.test_cases.items():
        kind = group.removeprefix("OnnxBackend").removesuffix("ModelTest")
        for name in unittest.defaultTestLoader.getTestCaseNames(tests):
            if name.endswith("_cpu"):
                plain = name.removesuffix("_cpu")
                yield Case(kind, plain, operators.get(re.sub("_expanded.*$", "", plain), ""), tests(name))


@cache
def _model_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="onnx_models")


def _operators() -> dict[str, str]:
    """Name of a node case → its first operator."""
    found = {}
    for case in load_model_tests(kind="node"):
        assert case.model is not None
        node = case.model.graph.node[0]
        found[case.name] = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    return found
