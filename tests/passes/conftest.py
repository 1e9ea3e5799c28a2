"""What the tests of all passes share: small models from text, and comparison of results in ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir
import onnxruntime
import pytest

from planish.importing import load_model
from planish.importing.names import make_names_unique
from planish.passes.pipeline import Pass
from planish.passes.verify import signature_of, verify_model

Feeds = Mapping[str, np.ndarray]

_FOLDER = os.environ.get("PLANISH_TEST_MODELS")
MODELS = sorted(Path(_FOLDER).glob("*/*.onnx")) if _FOLDER else []

#: Sizes for symbolic dimensions of the shared models, by name; others are taken by position.
_SIZES = {"batch": 1, "sequence": 512, "batch_size": 2, "unk__132": 2}
_SIZES_AT = (1, 3, 48, 192)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`model_path` runs a test on every shared model."""
    if "model_path" in metafunc.fixturenames:
        skip = pytest.mark.skip(reason="PLANISH_TEST_MODELS does not name a folder of models")
        params: list[Any] = [pytest.param(p, id=p.stem) for p in MODELS] or [pytest.param(None, marks=skip)]
        metafunc.parametrize("model_path", params)


def random_feeds(model: onnx_ir.Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Plausible inputs: standard normal floats, small integers, 16000 for a lone int64 (a sampling rate)."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.inputs:
        assert value.shape is not None
        assert value.dtype is not None
        assert value.name is not None
        dims = [d if isinstance(d, int) else _SIZES.get(str(d), _SIZES_AT[i]) for i, d in enumerate(value.shape)]
        dtype = value.dtype.numpy()
        if dtype == np.int64 and not dims:
            feeds[value.name] = np.array(16000, dtype)
        elif dtype.kind in "iu":
            feeds[value.name] = rng.integers(0, 100, dims).astype(dtype)
        elif dtype.kind == "b":
            feeds[value.name] = rng.integers(0, 2, dims).astype(dtype)
        else:
            feeds[value.name] = rng.standard_normal(dims).astype(dtype)
    return feeds


def run(model: onnx.ModelProto, feeds: Feeds) -> list[Any]:
    """The outputs in ONNX Runtime with its optimisations off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def largest_error(expected: list[Any], found: list[Any]) -> float:
    """The largest difference of any output relative to that output's largest magnitude."""
    worst = 0.0
    for a, b in zip(expected, found, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if a.dtype.kind in "iub":
            assert np.array_equal(a, b)
        elif a.size:
            scale = float(np.abs(a).max()) or 1.0
            worst = max(worst, float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()) / scale)
    return worst


Apply = Callable[..., onnx_ir.Model]


@pytest.fixture
def apply() -> Apply:
    """`apply(pass, model, tolerance=0)`: run one pass, verify the graph, compare results before and after.

    `model` is a ModelProto or ONNX text. Gives the changed model; its metadata tell under "changed" what the pass
    returned.
    """

    def apply_pass(
        run_pass: Pass, model: onnx.ModelProto | str, tolerance: float = 0.0, first: tuple[Pass, ...] = ()
    ) -> onnx_ir.Model:
        proto = onnx.parser.parse_model(model) if isinstance(model, str) else model
        loaded = load_model(proto)
        for earlier in first:
            earlier(loaded)
        signature = signature_of(loaded)
        changed = run_pass(loaded)
        make_names_unique(loaded)
        verify_model(loaded, signature, run_pass.__name__)
        loaded.metadata_props["changed"] = str(changed)
        feeds = random_feeds(loaded)
        assert largest_error(run(proto, feeds), run(onnx_ir.to_proto(loaded), feeds)) <= tolerance
        return loaded

    return apply_pass


@pytest.fixture
def operators() -> Callable[[onnx_ir.Model], list[str]]:
    """The operators of the main graph in order."""
    return lambda model: [node.op_type for node in model.graph]


@pytest.fixture
def compare() -> Callable[[onnx.ModelProto, onnx.ModelProto], float]:
    """The largest relative difference of two models' outputs on random inputs."""

    def compare_models(before: onnx.ModelProto, after: onnx.ModelProto) -> float:
        feeds = random_feeds(onnx_ir.from_proto(after))
        return largest_error(run(before, feeds), run(after, feeds))

    return compare_models


@pytest.fixture
def run_model() -> Callable[[onnx.ModelProto, Feeds], list[Any]]:
    """`run` as a fixture: a model in ONNX Runtime with its optimisations off."""
    return run
