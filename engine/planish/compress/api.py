"""`planish.compress`: from a float model and a recipe to a compressed ONNX model and its report."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from planish.compress import cost
from planish.compress.build import Parts
from planish.compress.calibration import Calibration, CalibrationSource, open_calibration
from planish.compress.graph import FloatModel, ModelLike, load_float
from planish.compress.measure import Fidelity, describe_kernels, layer_reports, measure, stored_bytes
from planish.compress.pipeline import Pipeline, Progress, Specs
from planish.compress.recipe import Recipe, load_recipe
from planish.compress.report import Report, Total
from planish.compress.runner import new_session
from planish.compress.search import choose_rate, keep_worst_float, label_score
from planish.errors import CalibrationError, OutputError, UsageError
from planish.files import check_writable, write_atomic
from planish.importing.zip_maps import ZIP_MAPS, attach_zip_maps

Evaluate = Callable[[Any], float]


def compress(
    model: ModelLike,
    output: str | os.PathLike[str] | None = None,
    *,
    recipe: str | os.PathLike[str] | Recipe = "int8",
    calibration: CalibrationSource | None = None,
    samples: int = 300,
    evaluate: Evaluate | None = None,
    max_drop: float | None = None,
    progress: Progress | None = None,
    labels: NDArray[Any] | str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    seed: int = 0,
) -> Report:
    """Compress a float model by a recipe.

    model: a path, bytes or a ModelProto. output: where the compressed `.onnx` is written, whole or not at all.
    recipe: a name (`int8`, `int8-dynamic`, `int8-weights`, `int4-weights`, `pruned`, `pruned-int8`, `codebook`), a
    TOML file or TOML text.
    calibration: an `.npz` (keys are input names, first axis samples), a folder of `.npy`, a data reader with
    `get_next()`, an iterable of feeds, or "random"; at most `samples` of it are used.
    evaluate: called with a session, returns a score, higher is better; with `max_drop`, layers are kept in float,
    worst first, until the score is at most `max_drop` below the float model's. `labels`, int[samples], stands in for
    `evaluate`: the score is then the top-1 accuracy on the calibration data in per cent.
    progress: called with (done, total, what). dry_run: report what would be done, without doing it.

    Raises RecipeError, CalibrationError, ModelError, OutputError, UsageError.
    """
    if max_drop is not None and evaluate is None and labels is None:
        raise UsageError("compress: max_drop without a score; give evaluate or labels")
    rules = load_recipe(recipe)
    if output is not None and not dry_run:
        check_writable(output)
    source = load_float(model, rules.opset)
    specs = _specs(source, rules)
    if dry_run:
        return _dry_report(source, rules, specs)
    with contextlib.ExitStack() as stack:
        data = None
        if calibration is not None:
            data = stack.enter_context(open_calibration(calibration, source.model, rules.samples or samples, seed))
        _require_data(rules, specs, data)
        pipeline = Pipeline(source, rules, data, progress, seed)
        report = _compress(pipeline, specs, evaluate or _label_evaluation(pipeline, labels), max_drop, model)
    if output is not None and report.model is not None:
        write_model(report.model, output)
    return report


def _specs(source: FloatModel, rules: Recipe) -> Specs:
    """What is done to each layer, after the layers are set aside where smaller forms do not pay."""
    specs = rules.resolve(source.layers)
    for layer in source.layers:
        why = cost.keeps_float(layer)
        if why is not None and specs[layer.name].touched:
            specs[layer.name] = specs[layer.name].kept(why)
    return specs


def _require_data(rules: Recipe, specs: Specs, data: Calibration | None) -> None:
    """Raise CalibrationError where the recipe needs data and there is none."""
    if data is not None:
        return
    for name, spec in specs.items():
        needs = None
        if spec.keep is None and spec.activations in ("uint8", "int8"):
            needs = f"{spec.activations} activations"
        elif spec.keep is None and spec.prune is not None and spec.prune.sparsity == "auto":
            needs = "automatic rates"
        elif spec.keep is None and spec.prune is not None and spec.prune.score == "magnitude*norm":
            needs = "the score magnitude*norm"
        if needs is not None:
            raise CalibrationError(
                f"recipe '{rules.name}', layer '{name}': {needs} need calibration data; "
                'give an .npz, a folder, feeds, or calibration="random"'
            )


def _label_evaluation(pipeline: Pipeline, labels: NDArray[Any] | str | os.PathLike[str] | None) -> Evaluate | None:
    """Top-1 accuracy in per cent on the calibration data; None without labels."""
    if labels is None:
        return None
    if pipeline.calibration is None:
        raise UsageError("compress: labels without calibration data; give both, in the same order")
    if isinstance(labels, str | os.PathLike):
        try:
            labels = np.load(labels, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UsageError(f"{labels}: cannot be read as .npy: {error}; write the labels with numpy.save") from error
    wanted = np.asarray(labels).reshape(-1)
    return lambda session: label_score(session, pipeline, wanted)


def _compress(
    pipeline: Pipeline, specs: Specs, evaluate: Evaluate | None, max_drop: float | None, model: ModelLike
) -> Report:
    """All stages after the recipe is resolved."""
    rate = None
    if any(s.keep is None and s.prune is not None and s.prune.sparsity == "auto" for s in specs.values()):
        rate = choose_rate(pipeline, specs)
    compressed, parts = pipeline.build(specs, rate)
    scores = None
    if evaluate is not None:
        float_score = float(evaluate(new_session(pipeline.source.model)))
        score = float(evaluate(new_session(compressed)))
        if max_drop is not None and score < float_score - max_drop:
            kept = keep_worst_float(pipeline, specs, rate, evaluate, float_score - max_drop)
            compressed, parts, score = kept.model, kept.parts, kept.score
        scores = (float_score, score)
    fidelity = measure(pipeline, compressed) if pipeline.calibration is not None else None
    proto = _finish(compressed, pipeline, _digest(model))
    return _report(pipeline, parts, proto, fidelity, scores, rate)


def _finish(model: ir.Model, pipeline: Pipeline, digest: str) -> onnx.ModelProto:
    """The proto that is written, stamped with where it comes from."""
    samples = pipeline.calibration.samples if pipeline.calibration is not None else 0
    model.producer_name = "planish"
    model.metadata_props.update(
        {
            "planish.version": _version(),
            "planish.recipe": pipeline.recipe.name,
            "planish.source_sha256": digest,
            "planish.calibration_samples": str(samples),
        }
    )
    proto = ir.to_proto(model)
    attach_zip_maps(proto, pipeline.source.model.meta.get(ZIP_MAPS, {}))
    return proto


def _version() -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version("planish")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _digest(model: ModelLike) -> str:
    """SHA-256 of the source as given: the file, the bytes, or the serialized proto."""
    if isinstance(model, str | os.PathLike):
        with open(model, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    data = model if isinstance(model, bytes) else model.SerializeToString(deterministic=True)
    return hashlib.sha256(data).hexdigest()


def _report(
    pipeline: Pipeline,
    parts: Parts,
    proto: onnx.ModelProto,
    fidelity: Fidelity | None,
    scores: tuple[float, float] | None,
    rate: float | None,
) -> Report:
    layers = layer_reports(pipeline, parts, fidelity)
    describe_kernels(layers, pipeline, proto)
    calibration = pipeline.calibration
    weights = sum(pipeline.source.weights[layer.name].size for layer in pipeline.source.layers)
    zeros = sum(report.zeros / 100.0 * np.prod(report.shape) for report in layers)
    total = Total(
        recipe=pipeline.recipe.name,
        calibration="none" if calibration is None else calibration.kind,
        samples=0 if calibration is None else calibration.samples,
        bytes_float=stored_bytes(ir.to_proto(pipeline.source.model)),
        bytes_file=stored_bytes(proto),
        layers=len(layers),
        compressed=len(parts.coded),
        zeros=100.0 * float(zeros) / max(weights, 1),
        rate=rate,
    )
    if fidelity is not None:
        total.agreement, total.cosine, total.compared = fidelity.agreement, fidelity.cosine, fidelity.feeds
    if scores is not None:
        total.score_float, total.score = scores
    if calibration is not None and calibration.kind == "random":
        total.notes.append("calibrated on RANDOM data: scales and accuracy mean nothing for real inputs")
    if rate is not None:
        goal = 100 * pipeline.recipe.agreement
        total.notes.append(f"pruning rate chosen for {goal:g} % agreement: {100 * rate:.1f} %")
    return Report(layers, total, proto)


def _dry_report(source: FloatModel, rules: Recipe, specs: Specs) -> Report:
    """What would be done, with nothing measured."""
    pipeline = Pipeline(source, rules, None)
    layers = layer_reports(pipeline, Parts(specs, {}, {}), None)
    size = stored_bytes(ir.to_proto(source.model))
    touched = sum(spec.touched for spec in specs.values())
    total = Total(rules.name, "none", 0, size, size, len(layers), touched, 0.0)
    total.notes.append("dry run: nothing was measured and nothing written")
    return Report(layers, total)


def write_model(model: onnx.ModelProto, output: str | os.PathLike[str]) -> None:
    """Write an ONNX file whole or not at all. Raises OutputError."""
    try:
        data = model.SerializeToString()
    except ValueError as error:
        raise OutputError(f"{output}: the model is larger than 2 GB; compress it with a smaller form") from error
    write_atomic(output, data)
