"""The pipeline as a whole: crafted models and every shared one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import onnx_ir
import pytest

from planish.errors import UsageError
from planish.importing import load_model
from planish.importing.names import make_names_unique
from planish.passes import PASSES, canonicalise

TEXT = """<ir_version: 8, opset_import: ["" : 13]>
g (float[1,4] x) => (float[1,4] y) {
  zero = Constant <value = float[1] {0.0}> ()
  a = Add(x, zero)
  b = Identity(a)
  unused = Relu(b)
  y = Sigmoid(b)
}"""


def test_gives_the_simplest_graph() -> None:
    model = canonicalise(load_model(onnx.parser.parse_model(TEXT)), verify=True)
    assert [node.op_type for node in model.graph] == ["Sigmoid"]
    assert not model.graph.initializers


def test_stops_after_the_named_pass() -> None:
    model = canonicalise(load_model(onnx.parser.parse_model(TEXT)), stop_after="lift_constants")
    assert [node.op_type for node in model.graph] == ["Add", "Identity", "Relu", "Sigmoid"]


def test_refuses_an_unknown_pass() -> None:
    with pytest.raises(UsageError, match="no pass is called 'fold'"):
        canonicalise(load_model(onnx.parser.parse_model(TEXT)), stop_after="fold")


def test_every_pass_is_documented_and_lives_in_a_file_of_its_name() -> None:
    for run_pass in PASSES:
        assert run_pass.__module__ == f"planish.passes.{run_pass.__name__}"
        assert "Guarantees:" in (run_pass.__doc__ or "")


def test_results_of_shared_models_are_kept(model_path: Path, compare: Any) -> None:
    model = canonicalise(load_model(model_path), verify=True)
    assert compare(onnx.load(model_path), onnx_ir.to_proto(model)) <= 2e-5


def test_every_single_pass_keeps_the_results(model_path: Path, compare: Any) -> None:
    model = load_model(model_path)
    before = onnx_ir.to_proto(model)
    for run_pass in PASSES:
        if run_pass(model):
            make_names_unique(model)
            after = onnx_ir.to_proto(model)
            assert compare(before, after) <= 1e-5, run_pass.__name__
            before = after


def test_a_second_run_changes_nothing(model_path: Path) -> None:
    model = canonicalise(load_model(model_path))
    before = onnx_ir.to_proto(model).SerializeToString(deterministic=True)
    assert onnx_ir.to_proto(canonicalise(model)).SerializeToString(deterministic=True) == before
