"""Choices made by measuring: the rate of automatic pruning, and the layers kept in float to hold a budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from planish.compress.build import Parts, build_model, is_static
from planish.compress.graph import Layer
from planish.compress.measure import Agreement, behind_clamp
from planish.compress.observers import SignalToNoise, sqnr
from planish.compress.pipeline import Pipeline, Specs
from planish.compress.recipe import LayerSpec
from planish.compress.runner import Runner, new_session
from planish.compress.static import StaticPlan
from planish.errors import UsageError

#: Feeds on which the sensitivity of single layers is measured.
SENSITIVITY_FEEDS = 16
#: The rate at which the sensitivity to pruning is measured.
PROBE_RATE = 0.5
#: Automatic rates are multiples of one over this.
RATE_STEPS = 64
#: How many bytes of the float model's outputs are kept from one trial to the next.
KEPT_BYTES = 64 << 20

Outputs = dict[str, NDArray[Any]]


def label_score(session: Any, pipeline: Pipeline, labels: NDArray[Any]) -> float:
    """Top-1 accuracy in per cent of a session on the calibration data; `labels` in the order of its samples."""
    right = seen = 0
    for feed in pipeline.feeds("evaluate"):
        scores = next(iter(session.run_arrays(feed).values()))
        answers = scores.reshape(-1, scores.shape[-1]).argmax(-1)
        if seen + len(answers) > len(labels):
            raise UsageError(f"compress: {len(labels)} labels for more samples than that; give one a sample, in order")
        right += int((answers == labels[seen : seen + len(answers)]).sum())
        seen += len(answers)
    return 100.0 * right / max(seen, 1)


def choose_rate(pipeline: Pipeline, specs: Specs) -> float:
    """The greatest global pruning rate that keeps the recipe's agreement with float on the calibration data.

    Layers are ranked together by score times a gain: how much an error in the layer moves the model's outputs.
    """
    pipeline.gains.update(_gains(pipeline, specs))
    goal, reference = pipeline.recipe.agreement, _Reference(pipeline)
    low, high = 0, RATE_STEPS - 1
    while low < high:
        middle = (low + high + 1) // 2
        if _agreement(pipeline, _float_activations(specs), middle / RATE_STEPS, reference) >= goal:
            low = middle
        else:
            high = middle - 1
    if any(is_static(spec) or spec.activations == "dynamic" for spec in specs.values()):
        while low > 0 and _agreement(pipeline, specs, low / RATE_STEPS, reference) < goal:
            low -= 2 if low > 1 else 1
    return low / RATE_STEPS


def _float_activations(specs: Specs) -> Specs:
    return {name: LayerSpec(spec.prune, spec.weights, "float", spec.keep) for name, spec in specs.items()}


class _Reference:
    """The float model's outputs for each feed, kept for the next time as far as they are small."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._runner = Runner(pipeline.source.model)
        self._known: list[Outputs] = []
        self._room = KEPT_BYTES

    def outputs(self, number: int, feed: Outputs) -> Outputs:
        """The outputs for the feed of this number."""
        if number < len(self._known):
            return self._known[number]
        found = self._runner.run(feed)
        self._room -= sum(array.nbytes for array in found.values())
        if self._room >= 0 and number == len(self._known):
            self._known.append(found)
        return found


def _agreement(pipeline: Pipeline, specs: Specs, rate: float, reference: _Reference) -> float:
    """Agreement of the model at `rate` with the float model on all the calibration data."""
    compressed, _ = pipeline.build(specs, rate)
    runner = Runner(compressed)
    agreement = Agreement()
    for number, feed in enumerate(pipeline.feeds(f"try {100 * rate:.0f} % zeros")):
        agreement.update(reference.outputs(number, feed), runner.run(feed))
    return agreement.value


def _gains(pipeline: Pipeline, specs: Specs) -> dict[str, float]:
    """For each automatically pruned layer: the output error that one unit of its score's error makes."""
    chosen = [c for c in pipeline.candidates(specs) if c.prune.sparsity == "auto"]
    gains: dict[str, float] = {}
    for done, candidate in enumerate(chosen):
        pipeline.report_progress(done, len(chosen), "sensitivity")
        name = candidate.layer.name
        spec = dataclasses.replace(candidate.prune, sparsity=PROBE_RATE, scope="layer")
        only = {other: LayerSpec() for other in specs} | {name: LayerSpec(prune=spec)}
        compressed, parts = pipeline.build(only)
        noise = 10.0 ** (-_output_sqnr(pipeline, compressed) / 10.0)
        change = parts.coded[name].decoded_matrix() - candidate.matrix
        weighted = change if candidate.norm is None else change * candidate.norm
        power = float(np.square(weighted, dtype=np.float64).sum())
        gains[name] = float(np.sqrt(noise / power)) if power > 0.0 else 1.0
    return gains


def _output_sqnr(pipeline: Pipeline, compressed: ir.Model) -> float:
    """SQNR in dB over all float outputs, on a few feeds."""
    left, right = Runner(pipeline.source.model), Runner(compressed)
    ratio = SignalToNoise()
    calibration = pipeline.calibration
    assert calibration is not None
    for number, feed in enumerate(calibration):
        if number >= SENSITIVITY_FEEDS:
            break
        expected, got = left.run(feed), right.run(feed)
        for name, reference in expected.items():
            if np.issubdtype(reference.dtype, np.floating):
                ratio.update(reference, got[name])
    return ratio.decibels


@dataclasses.dataclass
class Kept:
    """The result of keeping layers in float until the budget holds."""

    model: ir.Model
    parts: Parts
    score: float


def keep_worst_float(
    pipeline: Pipeline, specs: Specs, rate: float | None, evaluate: Callable[[Any], float], least: float
) -> Kept:
    """Keep as few layers in float as it takes for `evaluate` to give at least `least`, the worst first.

    The worst layer is the one that, compressed alone, moves the outputs most. The number kept is doubled until the
    budget holds, then halved back.
    """
    order = _worst_first(pipeline, specs, rate)

    def attempt(count: int) -> Kept:
        tried = dict(specs)
        for name in order[:count]:
            tried[name] = tried[name].kept("kept to hold the accuracy budget")
        model, parts = pipeline.build(tried, rate)
        return Kept(model, parts, float(evaluate(new_session(model))))

    failed, count = 0, 1
    found = attempt(min(count, len(order)))
    while found.score < least and count < len(order):
        failed, count = count, min(2 * count, len(order))
        found = attempt(count)
    while count - failed > 1:
        middle = (failed + count) // 2
        tried = attempt(middle)
        if tried.score >= least:
            count, found = middle, tried
        else:
            failed = middle
    return found


def _worst_first(pipeline: Pipeline, specs: Specs, rate: float | None) -> list[str]:
    """The compressed layers by the output SQNR each causes alone, least first."""
    if pipeline.calibration is None:
        return _worst_weights_first(pipeline, specs, rate)
    parts = pipeline.parts(specs, rate)
    noise: dict[str, float] = {}
    layers = [layer for layer in pipeline.source.layers if layer.name in parts.coded]
    for done, layer in enumerate(layers):
        pipeline.report_progress(done, len(layers), "sensitivity")
        noise[layer.name] = _output_sqnr(pipeline, build_model(pipeline.source, _alone(pipeline, parts, layer)))
    return sorted(noise, key=lambda name: noise[name])


def _worst_weights_first(pipeline: Pipeline, specs: Specs, rate: float | None) -> list[str]:
    """Without data: the compressed layers by the SQNR of their weights, least first."""
    parts = pipeline.parts(specs, rate)
    ratios = {name: sqnr(pipeline.source.weights[name], coded.decoded()) for name, coded in parts.coded.items()}
    return sorted(ratios, key=lambda name: ratios[name])


def _alone(pipeline: Pipeline, parts: Parts, layer: Layer) -> Parts:
    """`parts` with every other layer in float; the tensors around the layer keep their parameters."""
    name = layer.name
    specs = {other: LayerSpec() for other in parts.specs} | {name: parts.specs[name]}
    plan = None
    if parts.plan is not None and is_static(parts.specs[name]):
        around = {layer.input, behind_clamp(pipeline.source.model, layer.output)}
        group = {tensor: root for tensor, root in parts.plan.group.items() if tensor in around}
        plan = StaticPlan(group, {}, parts.plan.outputs, parts.plan.parameters)
    biases = {name: parts.biases[name]} if name in parts.biases else {}
    return Parts(specs, {name: parts.coded[name]}, biases, plan)
