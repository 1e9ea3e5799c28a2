"""The stages of compression, in their fixed order: fold, prune, cluster or quantize weights, calibrate, correct."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from planish.compress.build import Parts, build_model, fitting_scale, is_static, unfit_layers
from planish.compress.calibration import Calibration
from planish.compress.coding import CodedWeight, code_codebook, code_float, code_integer, widen_scales
from planish.compress.graph import FloatModel, Layer, find_products
from planish.compress.observers import ChannelMoments, HistogramObserver, RangeObserver
from planish.compress.prune import BLOCKS, Candidate, input_norm, prune_layers, why_not
from planish.compress.recipe import LayerSpec, Recipe
from planish.compress.runner import Runner
from planish.compress.static import StaticPlan, plan_static
from planish.errors import CalibrationError

Progress = Callable[[int, int, str], None]
Specs = dict[str, LayerSpec]
Masks = Mapping[str, NDArray[np.bool_]]


class Pipeline:
    """Compresses one float model, any number of times with different specs, from one set of calibration data.

    Statistics of the float model are gathered once and kept.
    """

    def __init__(
        self,
        source: FloatModel,
        recipe: Recipe,
        calibration: Calibration | None,
        progress: Progress | None = None,
        seed: int = 0,
    ) -> None:
        self.source = source
        self.recipe = recipe
        self.calibration = calibration
        self.seed = seed
        self.gains: dict[str, float] = {}
        self._progress = progress
        self._moments: dict[str, ChannelMoments] = {}
        self._observers: dict[str, RangeObserver] = {}
        self._observed_rate: float | None = None
        self._coded: dict[tuple[str, LayerSpec], CodedWeight] = {}

    def build(self, specs: Specs, rate: float | None = None) -> tuple[ir.Model, Parts]:
        """The compressed model for `specs`, and its parts. `rate`: the global rate of automatic pruning."""
        parts = self.parts(specs, rate)
        return build_model(self.source, parts), parts

    def parts(self, specs: Specs, rate: float | None = None) -> Parts:
        """Everything a compressed model is built from; layers that cannot run in integers are kept, with the reason."""
        specs = dict(specs)
        if rate != self._observed_rate:
            self._observers.clear()
            self._observed_rate = rate
        matrices = self.pruned(specs, rate)
        touched = self._touched(specs)
        coded = {layer.name: self._code(layer, specs[layer.name], matrices[layer.name]) for layer in touched}
        parts = Parts(specs, coded, self._corrected(specs, coded))
        while any(is_static(spec) for spec in specs.values()):
            parts.plan = self._calibrated_plan(parts)
            self._make_fit(parts, matrices)
            unfit = unfit_layers(self.source, parts)
            if not unfit:
                break
            for layer in unfit:
                specs[layer.name] = specs[layer.name].kept("its bias does not fit int32")
                del parts.coded[layer.name]
            parts.biases = self._corrected(specs, parts.coded)
            parts.plan = None
        return parts

    def _make_fit(self, parts: Parts, matrices: Mapping[str, NDArray[np.float32]]) -> None:
        """Widen the weight scales of layers whose bias would not fit int32."""
        for layer in unfit_layers(self.source, parts):
            coded = parts.coded[layer.name]
            if coded.index is None and coded.scale is not None:
                least = fitting_scale(layer, parts)
                parts.coded[layer.name] = widen_scales(coded, matrices[layer.name], least)

    def pruned(self, specs: Specs, rate: float | None = None) -> dict[str, NDArray[np.float32]]:
        """W[N, K] of every layer after pruning."""
        matrices = {layer.name: layer.layout.matrix(self.source.weights[layer.name]) for layer in self.source.layers}
        for name, kept in prune_layers(self.candidates(specs), rate).items():
            matrices[name] = np.where(kept, matrices[name], np.float32(0.0))
        return matrices

    def candidates(self, specs: Specs) -> list[Candidate]:
        """The layers that `specs` prunes, with their weights and input norms."""
        found = []
        for number, layer in enumerate(self.source.layers):
            prune = specs[layer.name].prune
            if prune is None or specs[layer.name].keep is not None or why_not(layer, prune.pattern):
                continue
            norm = None
            if prune.score == "magnitude*norm" and self.calibration is not None:
                norm = input_norm(layer, self.moments(specs)[layer.name].rms)
            matrix = layer.layout.matrix(self.source.weights[layer.name])
            gain = self.gains.get(layer.name, 1.0)
            found.append(Candidate(layer, prune, matrix, norm, gain, self.seed + number))
        return found

    def moments(self, specs: Specs) -> dict[str, ChannelMoments]:
        """Moments of each input channel of every touched layer of the float model."""
        if not self._moments:
            self._observe_float(specs)
        return self._moments

    def observers(self) -> Mapping[str, RangeObserver]:
        """What calibration saw of each quantized tensor."""
        return self._observers

    def report_progress(self, done: int, total: int, what: str) -> None:
        """Tell the caller how far `what` is."""
        if self._progress is not None:
            self._progress(done, total, what)

    def feeds(self, what: str, limit: int | None = None) -> Iterable[dict[str, NDArray[np.generic]]]:
        """The calibration feeds, at most `limit`, with progress reported as `what`."""
        if self.calibration is None:
            raise CalibrationError('calibration: missing; give an .npz, a folder, feeds, or calibration="random"')
        total = min(self.calibration.limit, limit or self.calibration.limit)
        for done, feed in enumerate(self.calibration):
            if limit is not None and done >= limit:
                return
            self.report_progress(done, total, what)
            yield feed
        self.report_progress(total, total, what)

    def _touched(self, specs: Specs) -> list[Layer]:
        return [layer for layer in self.source.layers if specs[layer.name].touched]

    def _code(self, layer: Layer, spec: LayerSpec, matrix: NDArray[np.float32]) -> CodedWeight:
        """The stored form of one layer's weights; what does not depend on pruning is coded once."""
        if spec.prune is None and (layer.name, spec) in self._coded:
            return self._coded[layer.name, spec]
        pattern = "element"
        if spec.prune is not None and spec.prune.pattern in BLOCKS and not why_not(layer, spec.prune.pattern):
            pattern = spec.prune.pattern
        weights = spec.weights
        if weights.kind == "int":
            coded = code_integer(layer.layout, matrix, weights, pattern)
        elif weights.kind == "codebook":
            integer = spec.activations in ("uint8", "int8")
            coded = code_codebook(layer.layout, matrix, weights, pattern, integer)
        else:
            coded = code_float(layer.layout, matrix, pattern)
        if spec.prune is None:
            self._coded[layer.name, spec] = coded
        return coded

    def _corrected(self, specs: Specs, coded: Mapping[str, CodedWeight]) -> dict[str, NDArray[np.float32]]:
        """Biases that make up for the mean error which the coded weights make on the calibration data."""
        biases = dict(self.source.biases)
        if self.calibration is None or not self.recipe.bias_correction:
            return {name: bias for name, bias in biases.items() if name in coded}
        moments = self.moments(specs)
        for layer in self._touched(specs):
            if layer.name not in coded or (layer.bias is None and not _can_take_bias(self.source.model, layer)):
                continue
            change = coded[layer.name].decoded_matrix() - layer.layout.matrix(self.source.weights[layer.name])
            shift = (change * input_norm(layer, moments[layer.name].mean)).sum(axis=1)
            bias = biases.get(layer.name, np.zeros(layer.rows, np.float32))
            biases[layer.name] = (bias - shift).astype(np.float32)
        return {name: bias for name, bias in biases.items() if name in coded}

    def _calibrated_plan(self, parts: Parts) -> StaticPlan:
        """The tensors to quantize with their parameters, from the model with its coded weights."""
        layers = [layer for layer in self.source.layers if is_static(parts.specs[layer.name])]
        plan = self._plan(layers)
        missing = [name for name in plan.observed if name not in self._observers]
        if missing:
            self._observe_ranges(self._weights_only(parts), missing)
        dtype = next((parts.specs[layer.name].activations for layer in layers), "uint8")
        plan.choose(self._observers, self.recipe.method, self.recipe.percentile, dtype)
        return plan

    def _plan(self, layers: Iterable[Layer]) -> StaticPlan:
        """Which tensors are quantized when `layers` run in integers."""
        products = find_products(self.source.model.graph) if self.recipe.products else []
        return plan_static(self.source.model, [layer.node for layer in layers], products)

    def _weights_only(self, parts: Parts) -> ir.Model:
        """The float graph with the coded weights, on which activations are calibrated."""
        if not any(spec.prune or spec.weights.kind == "codebook" for spec in parts.specs.values()):
            return self.source.model
        specs = {name: LayerSpec(spec.prune, spec.weights, "float", spec.keep) for name, spec in parts.specs.items()}
        return build_model(self.source, Parts(specs, parts.coded, parts.biases))

    def _new_observer(self) -> RangeObserver:
        return RangeObserver() if self.recipe.method == "minmax" else HistogramObserver()

    def _observe_float(self, specs: Specs) -> None:
        """One pass over the float model: input moments, and ranges where the weights barely change."""
        layers = self._touched(specs)
        moments = {layer.name: ChannelMoments(layer.input_channel_axis) for layer in layers}
        static = [layer for layer in layers if is_static(specs[layer.name])]
        same = not any(spec.prune or spec.weights.kind == "codebook" for spec in specs.values())
        ranges = self._plan(static).observed if static and same else []
        runner = Runner(self.source.model, [layer.input for layer in layers] + ranges)
        observers = {name: self._new_observer() for name in ranges}
        for feed in self.feeds("calibrate"):
            found = runner.run(feed)
            for layer in layers:
                moments[layer.name].update(layer.input, found[layer.input])
            for name, observer in observers.items():
                observer.update(name, found[name])
        self._moments.update(moments)
        self._observers.update(observers)

    def _observe_ranges(self, model: ir.Model, tensors: Collection[str]) -> None:
        """One pass over `model`: the ranges of `tensors`."""
        runner = Runner(model, tensors)
        observers = {name: self._new_observer() for name in tensors}
        for feed in self.feeds("calibrate"):
            found = runner.run(feed)
            for name, observer in observers.items():
                observer.update(name, found[name])
        self._observers.update(observers)


def _can_take_bias(model: ir.Model, layer: Layer) -> bool:
    """Whether a layer without a constant bias has a free place for one."""
    if layer.op == "MatMul":
        return False
    node = next(node for node in model.graph if node.name == layer.node)
    return len(node.inputs) < 3 or node.inputs[2] is None
