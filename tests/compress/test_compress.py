"""`planish.compress` from end to end: recipes, budgets, reports, errors, and files written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from small_models import Judge, model_of

from planish.compress import Report, compress, cost
from planish.compress.graph import Layer
from planish.errors import CalibrationError, ModelError, OutputError, RecipeError, UsageError

ALL = '[[rules]]\nmatch = {op = ["Conv", "Gemm", "MatMul"]}\n'


def made(report: Report) -> onnx.ModelProto:
    assert report.model is not None
    return report.model


@pytest.mark.parametrize(
    ("recipe", "cosine"),
    [
        ("int8", 0.999),
        ("int8-dynamic", 0.999),
        ("int8-weights", 0.9999),
        ("int4-weights", 0.98),
        ("codebook", 0.98),
        ("pruned", 0.9),
        ("pruned-int8", 0.9),
    ],
)
def test_shipped_recipes(recipe: str, cosine: float, cnn: onnx.ModelProto, images: np.ndarray, judge: Judge) -> None:
    report = compress(cnn, recipe=recipe, calibration={"x": images})
    expected, got = judge(cnn, {"x": images})[0], judge(made(report), {"x": images})[0]
    assert float((expected * got).sum() / np.sqrt((expected**2).sum() * (got**2).sum())) > cosine
    assert report.total.compressed == 5
    assert report.total.samples == 48


def test_pruned_keeps_the_agreement_it_promises(cnn: onnx.ModelProto, images: np.ndarray, judge: Judge) -> None:
    report = compress(cnn, recipe="pruned", calibration={"x": images})
    expected, got = judge(cnn, {"x": images})[0], judge(made(report), {"x": images})[0]
    assert (expected.argmax(1) == got.argmax(1)).mean() >= 0.95
    assert report.total.rate is not None
    assert report.total.rate > 0.05
    assert report.total.zeros == pytest.approx(100 * report.total.rate, abs=0.1)


def test_an_explicit_rate_is_obeyed_and_its_cost_shown(cnn: onnx.ModelProto, images: np.ndarray) -> None:
    report = compress(cnn, recipe="version = 1\n" + ALL + "prune = {sparsity = 0.9}\n", calibration={"x": images})
    assert all(layer.zeros == pytest.approx(90, abs=0.6) for layer in report.layers)
    assert report.total.agreement is not None
    assert "agreement with float" in str(report)


def test_blocks_and_combinations(cnn: onnx.ModelProto, images: np.ndarray, judge: Judge) -> None:
    for weights in ('"int8"', "{codebook = 4}"):
        text = f'prune = {{sparsity = 0.5, pattern = "16x4"}}\nweights = {weights}\nactivations = "uint8"\n'
        report = compress(cnn, recipe="version = 1\n" + ALL + text, calibration={"x": images})
        assert judge(made(report), {"x": images})[0].shape == (48, 10)
        by_name = {layer.layer: layer for layer in report.layers}
        assert by_name["last"].note.startswith("not pruned: 16x4 needs outputs in multiples of 16, not 10")
        assert by_name["deep"].pattern == "16x4"
        assert by_name["deep"].zeros >= 50
        assert by_name["deep"].bytes_file < 0.55 * by_name["deep"].bytes_float / 4 + 512


def test_scores_of_the_input_prune_better_than_chance(cnn: onnx.ModelProto, images: np.ndarray) -> None:
    cosines = {}
    for score in ("magnitude", "magnitude*norm", "random"):
        text = f'prune = {{sparsity = 0.5, score = "{score}"}}\n'
        cosines[score] = compress(cnn, recipe="version = 1\n" + ALL + text, calibration={"x": images}).total.cosine or 0
    assert cosines["random"] < min(cosines["magnitude"], cosines["magnitude*norm"])


def test_the_file_is_as_small_as_its_scheme(judge: Judge) -> None:
    rng = np.random.default_rng(0)
    w = {f"w{i}": rng.standard_normal((512, 512)).astype(np.float32) for i in range(2)}
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["m"], name="a"),
        helper.make_node("MatMul", ["m", "w1"], ["y"], name="b"),
    ]
    model = model_of(nodes, w, {"x": ["N", 512]}, ["y"])
    elements = 2 * 512 * 512
    schemes: dict[str, tuple[float, int]] = {
        '"int8"': (8, 2 * 512 * 4),
        '"int4"': (4, elements // 32 * 4),
        '"int2"': (2, elements // 16 * 4),
        "{codebook = 8}": (8, 2 * 256 * 4),
        "{codebook = 4}": (4, 2 * 16 * 4),
        "{codebook = 2}": (2, 2 * 4 * 4),
        '{codebook = 4, per = "group", group = 16}': (4, 64 * 16 * 4),
    }
    for weights, (bits, extra) in schemes.items():
        report = compress(model, recipe="version = 1\n" + ALL + f"weights = {weights}\n")
        assert report.total.bytes_file == made(report).ByteSize()
        assert report.total.bytes_file <= 1.02 * (elements * bits / 8 + extra) + 64 * 1024


def test_results_repeat_bit_for_bit(cnn: onnx.ModelProto, images: np.ndarray) -> None:
    first, second = (
        made(compress(cnn, recipe="pruned-int8", calibration={"x": images})).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second


def test_the_budget_keeps_the_worst_layers_float(cnn: onnx.ModelProto, images: np.ndarray, judge: Judge) -> None:
    expected = judge(cnn, {"x": images})[0]

    def fidelity(session: Any) -> float:
        got = session.run(None, {"x": images})[0]
        return float(10 * np.log10((expected**2).sum() / (np.square(got - expected).sum() + 1e-12)))

    free = compress(cnn, recipe="codebook", calibration={"x": images}, evaluate=fidelity)
    assert free.total.score is not None
    assert free.total.score_float is not None
    drop = free.total.score_float - (free.total.score + 6.0)
    tight = compress(cnn, recipe="codebook", calibration={"x": images}, evaluate=fidelity, max_drop=drop)
    assert tight.total.score is not None
    assert tight.total.score >= free.total.score + 6.0
    kept = [layer for layer in tight.layers if layer.note.startswith("kept to hold the accuracy budget")]
    assert 1 <= len(kept) <= 4
    assert made(tight).ByteSize() > made(free).ByteSize()


def test_labels_stand_in_for_evaluate(cnn: onnx.ModelProto, images: np.ndarray, judge: Judge, tmp_path: Path) -> None:
    labels = judge(cnn, {"x": images})[0].argmax(1)
    np.save(tmp_path / "labels.npy", labels)
    report = compress(cnn, calibration={"x": images}, labels=tmp_path / "labels.npy", max_drop=5.0)
    assert report.total.score_float == 100.0
    assert report.total.score is not None
    assert report.total.score >= 95.0
    with pytest.raises(UsageError, match="labels for more samples"):
        compress(cnn, calibration={"x": images}, labels=labels[:5], max_drop=5.0)


def test_layers_that_would_not_pay_are_kept(
    cnn: onnx.ModelProto, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule(layer: Layer) -> str | None:
        return "smaller than it is worth" if layer.name == "left" else None

    monkeypatch.setattr(cost, "keeps_float", rule)
    report = compress(cnn, calibration={"x": images})
    left = next(layer for layer in report.layers if layer.layer == "left")
    assert left.weights == "float32"
    assert left.note.startswith("smaller than it is worth")


def test_bias_correction_lowers_the_error(cnn: onnx.ModelProto, images: np.ndarray, judge: Judge) -> None:
    expected = judge(cnn, {"x": images})[0]
    errors = []
    for correct in ("true", "false"):
        text = f"version = 1\ncorrect = {{bias = {correct}}}\n" + ALL + "prune = {sparsity = 0.4}\n"
        got = judge(made(compress(cnn, recipe=text, calibration={"x": images})), {"x": images})[0]
        errors.append(float(np.square(got - expected).sum()))
    assert errors[0] < errors[1]


def test_the_report_reads_as_a_table_and_as_json(cnn: onnx.ModelProto, images: np.ndarray) -> None:
    report = compress(cnn, calibration={"x": images})
    text = str(report)
    for word in ("layer", "w dB", "out dB", "clip %", "deep", "look at first:", "48 samples", "x smaller"):
        assert word in text
    table = json.loads(report.to_json())
    assert [row["layer"] for row in table["layers"]] == ["first", "left", "right", "deep", "last"]
    assert table["total"]["bytes_file"] == made(report).ByteSize()
    assert len(report.worst()) == 3
    assert all(layer.kernel and layer.bytes_plan for layer in report.layers)


def test_random_calibration_is_stamped(cnn: onnx.ModelProto) -> None:
    report = compress(cnn, calibration="random", samples=4)
    assert "RANDOM" in str(report)
    assert report.total.calibration == "random"


def test_provenance_without_paths(cnn: onnx.ModelProto, images: np.ndarray, tmp_path: Path) -> None:
    source, data = tmp_path / "source.onnx", tmp_path / "data.npz"
    onnx.save(cnn, source)
    np.savez(data, x=images)
    model = made(compress(source, tmp_path / "out.onnx", calibration=data, samples=8))
    stamps = {entry.key: entry.value for entry in model.metadata_props}
    assert stamps["planish.recipe"] == "int8"
    assert stamps["planish.calibration_samples"] == "8"
    assert len(stamps["planish.source_sha256"]) == 64
    assert stamps["planish.version"]
    assert str(tmp_path).encode() not in model.SerializeToString()
    assert onnx.load(tmp_path / "out.onnx") == model


def test_a_dry_run_needs_no_data_and_writes_nothing(cnn: onnx.ModelProto, tmp_path: Path) -> None:
    report = compress(cnn, tmp_path / "out.onnx", dry_run=True)
    assert report.model is None
    assert "dry run" in str(report)
    assert [layer.activations for layer in report.layers] == ["uint8"] * 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recipe", ["int8", "pruned", "pruned-int8"])
def test_missing_calibration_is_an_error(recipe: str, cnn: onnx.ModelProto) -> None:
    with pytest.raises(CalibrationError, match="need calibration data"):
        compress(cnn, recipe=recipe)


def test_other_mistakes(cnn: onnx.ModelProto, images: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="max_drop without a score"):
        compress(cnn, calibration={"x": images}, max_drop=1.0)
    with pytest.raises(CalibrationError, match="NaN"):
        compress(cnn, calibration={"x": np.full_like(images, np.nan)})
    with pytest.raises(RecipeError, match="nothing to compress"):
        compress(model_of([helper.make_node("Relu", ["x"], ["y"])], {}, {"x": [1]}, ["y"]), recipe="int8-weights")
    with pytest.raises(ModelError):
        compress(b"not a model", recipe="int8-weights")
    with pytest.raises(ModelError, match="quantized already"):
        compress(made(compress(cnn, calibration={"x": images})), recipe="int8-weights")
    with pytest.raises(OutputError, match="cannot be written"):
        compress(cnn, tmp_path / "none" / "out.onnx", recipe="int8-weights")


def test_an_interrupt_leaves_nothing_half_written(cnn: onnx.ModelProto, images: np.ndarray, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []

    def interrupt_at(count: int) -> Callable[[int, int, str], None]:
        def progress(done: int, total: int, what: str) -> None:
            seen.append((done, total, what))
            if len(seen) == count:
                raise KeyboardInterrupt

        return progress

    output = tmp_path / "out.onnx"
    output.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        compress(cnn, output, calibration={"x": images}, progress=interrupt_at(4))
    assert output.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [output]
    assert {what for _, _, what in seen} == {"calibrate"}
    assert all(0 <= done <= total for done, total, _ in seen)
