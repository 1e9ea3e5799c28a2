"""Each command does its work: results on the standard output, files whole, JSON that says the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import planish
from planish import _core
from planish.cli.entry import COMMANDS
from planish.environment import VARIABLES

from .conftest import Call

NAMES = [module.__name__.rpartition(".")[2] for module in COMMANDS]


@pytest.mark.parametrize("name", NAMES)
def test_help_has_an_example_that_parses(call: Call, name: str) -> None:
    outcome = call(name, "--help")
    assert outcome.code == 0
    example = outcome.out.rpartition("example:\n  ")[2].strip()
    from planish.cli.entry import build_parser

    assert build_parser().parse_args(example.split()[1:]).command == name


def test_compress_names_every_recipe(call: Call) -> None:
    from planish.compress import recipe_names

    text = call("compress", "--help").out
    assert all(re.search(rf"\b{name}\b", text) for name in recipe_names())


def test_run_writes_what_onnx_runtime_computes(call: Call, place: Path) -> None:
    outcome = call("run", "model.onnx", "--inputs", "samples.npz", "--output", "out.npz", "--json", "out.json")
    assert (outcome.code, outcome.err) == (0, "")
    expected = onnxruntime.InferenceSession("model.onnx").run(None, {"x": np.load("samples.npz")["x"]})[0]
    with np.load("out.npz") as stored:
        np.testing.assert_allclose(stored["y"], expected, rtol=1e-4, atol=1e-5)
        y = stored["y"]
    document = json.loads((place / "out.json").read_text())
    assert document["outputs"][0]["max"] == pytest.approx(float(y.max()))
    assert f"float32[24,10]  {y.min():.6g}" in outcome.out


def test_random_inputs_are_announced_and_repeat(call: Call, place: Path) -> None:
    first = call("run", "model.onnx", "--shape", "x=2x3x16x16", "--seed", "7", "--json")
    assert first.err == "inputs: random, seed 7; --inputs F.npz feeds your own\n"
    quiet = call("run", "model.onnx", "--shape", "x=2x3x16x16", "--seed", "7", "--json", "--quiet")
    assert (quiet.out, quiet.err) == (first.out, "")
    other = call("run", "model.onnx", "--shape", "x=2x3x16x16", "--seed", "8", "--json", "--quiet")
    assert json.loads(other.out)["outputs"][0]["mean"] != json.loads(first.out)["outputs"][0]["mean"]


def test_threads_and_isa_hold_for_one_command(call: Call, place: Path) -> None:
    outcome = call("inspect", "model.onnx", "--threads", "3", "--isa", "scalar", "--json")
    found = json.loads(outcome.out)
    assert (found["isa"], found["threads"]) == ("scalar", 3)
    assert _core.best_isa() != "scalar" or _core.cpu_isas() == ["scalar"]


def test_compress_compare_export(call: Call, place: Path) -> None:
    report = call("compress", "model.onnx", "-o", "small.onnx", "--calibration", "samples.npz", "--json", "report.json")
    assert report.code == 0
    assert "recipe int8: 2 of 2 layers compressed" in report.out
    assert json.loads((place / "report.json").read_text())["total"]["samples"] == 24
    comparison = call(
        "compare", "model.onnx", "small.onnx", "--inputs", "samples.npz", "--labels", "labels.npy", "--layers"
    )
    assert comparison.code == 0
    assert "24 samples" in comparison.out
    assert re.search(r"accuracy \d+\.\d\d % -> ", comparison.out)
    assert "layer by layer, worst first" in comparison.out
    assert call("export", "small.onnx", "-o", "small.plan").code == 0
    same = call("compare", "small.onnx", "small.plan", "--inputs", "samples.npz", "--json")
    assert json.loads(same.out)["outputs"][0]["max_error"] == 0


def test_dry_run_writes_nothing(call: Call, place: Path) -> None:
    before = sorted(place.iterdir())
    outcome = call("compress", "model.onnx", "--dry-run")
    assert outcome.code == 0
    assert "dry run: nothing was measured and nothing written" in outcome.out
    assert sorted(place.iterdir()) == before


def test_bench_against_float_and_profile(call: Call, place: Path) -> None:
    planish.compress("model.onnx", "small.onnx", calibration="samples.npz")
    outcome = call(
        "bench", "small.onnx", "--against", "float", "--inputs", "samples.npz", "--seconds", "0.1", "--profile",
        "--threads", "1", "--json", "bench.json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    found = json.loads((place / "bench.json").read_text())
    assert [row["name"] for row in found["contestants"]] == ["float", "small"]
    assert found["baseline"] == "float"
    assert found["contestants"][1]["agreement"]["cosine"] > 0.999
    steps = found["profiles"]["small"]
    assert {step["family"] for step in steps} >= {"conv", "gemm", "quantize"}
    assert sum(step["share"] for step in steps) == pytest.approx(1)
    assert "small, step by step" in outcome.out
    if len(_core.usable_isas()) > 1:
        declined = {kernel for step in steps if step["family"] == "conv" for kernel, ratio in step["declined"]}
        assert "u8s8_scalar" in declined


def test_bench_plots(call: Call, place: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    outcome = call("bench", "model.onnx", "--seconds", "0.1", "--threads", "1", "--plot", "figure.svg")
    assert outcome.code == 0, outcome.err
    assert b"<svg" in (place / "figure.svg").read_bytes()


def test_a_float_model_is_its_own_baseline(call: Call, place: Path) -> None:
    outcome = call("bench", "model.onnx", "--against", "float", "--seconds", "0.1", "--threads", "1", "--json")
    found = json.loads(outcome.out)
    assert [row["name"] for row in found["contestants"]] == ["model"]
    assert "model is a float model already: it is the baseline" in found["notes"]


def test_doctor_tells_what_is_wrong(call: Call, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = call("doctor")
    assert fine.code == 0
    assert all(variable.name in fine.out and variable.help in fine.out for variable in VARIABLES)
    assert all(family in fine.out for family, _, _ in _core.kernels())
    monkeypatch.setenv("PLANISH_NUM_THREADS", "many")
    wrong = json.loads(call("doctor", "--json").out)
    assert wrong["threads"] is None
    assert wrong["problems"] == [
        "PLANISH_NUM_THREADS: 'many' is not a number of threads; use a whole number from 1 to 1024"
    ]
    listed = call("doctor", "--kernels").out
    assert all(name in listed for _, name, _ in _core.kernels())


def test_every_variable_that_is_read_is_declared() -> None:
    root = Path(__file__).parents[2]
    sources = [*root.glob("csrc/**/*.cc"), *root.glob("csrc/**/*.h"), *root.glob("engine/**/*.py")]
    pattern = re.compile(r"(?:getenv\(|environ\.get\(|environ\[)\s*\"(PLANISH_\w+)\"")
    read = {name for path in sources for name in pattern.findall(path.read_text())}
    assert "PLANISH_ISA" in read
    assert read <= {variable.name for variable in VARIABLES}


def test_saved_demo_data_fits_the_model(place: Path) -> None:
    from planish.demo.story import save

    model, calibration, images, labels = save(place / "digits")
    scores = planish.InferenceSession(model).run(None, dict(np.load(images)))[0]
    assert (scores.argmax(-1) == np.load(labels)).mean() > 0.98
    assert np.load(calibration)["image"].shape[1:] == (1, 32, 32)
    assert onnx.load(model).graph.input[0].name == "image"


def test_outputs_keep_their_names_and_strings(tmp_path: Path) -> None:
    from planish.arrays import read_npz, write_npz

    arrays = {"file": np.arange(3), "a/b": np.array(["x", "yz"], object), "": np.float32(2).reshape(())}
    write_npz(tmp_path / "names.npz", arrays)
    stored = read_npz(tmp_path / "names.npz")
    assert {name: array.tolist() for name, array in stored.items()} == {
        "file": [0, 1, 2],
        "a/b": ["x", "yz"],
        "": 2.0,
    }
