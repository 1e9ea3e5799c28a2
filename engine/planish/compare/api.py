"""`planish.compare`: two models on the same inputs, output by output and, on request, tensor by tensor."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from planish.compare.statistics import net_flips_interval
from planish.compress.calibration import Calibration, CalibrationSource, open_calibration
from planish.compress.graph import ModelLike
from planish.compress.measure import is_scores, matching_tensor
from planish.compress.observers import SignalToNoise
from planish.compress.runner import Runner, new_session
from planish.errors import UsageError

Progress = Callable[[int, int, str], None]
Arrays = dict[str, NDArray[Any]]


@dataclasses.dataclass
class OutputComparison:
    """One output: absolute and relative error (against the greatest reference magnitude), and cosine."""

    name: str
    max_error: float = 0.0
    mean_error: float = 0.0
    relative_error: float = 0.0
    cosine: float = 1.0
    #: Fraction of integer or boolean elements that are equal; None for float outputs.
    equal: float | None = None
    #: Fraction of rows with the same greatest entry; None where the output is not scores of classes.
    top1_agreement: float | None = None


@dataclasses.dataclass
class LayerComparison:
    """One tensor that both models have: SQNR in dB."""

    name: str
    op: str
    sqnr: float


@dataclasses.dataclass
class Comparison:
    """What `compare` returns. Accuracies are fractions; `net` is won minus lost answers over samples."""

    samples: int
    outputs: list[OutputComparison]
    layers: list[LayerComparison] = dataclasses.field(default_factory=list)
    accuracy_reference: float | None = None
    accuracy: float | None = None
    lost: int | None = None
    won: int | None = None
    net: float | None = None
    net_interval: tuple[float, float] | None = None

    def to_json(self) -> str:
        """The comparison as JSON; infinite ratios become null."""

        def finite(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: finite(entry) for key, entry in value.items()}
            if isinstance(value, list | tuple):
                return [finite(entry) for entry in value]
            return None if isinstance(value, float) and not math.isfinite(value) else value

        return json.dumps(finite(dataclasses.asdict(self)), indent=2, allow_nan=False)

    def __str__(self) -> str:
        lines = [f"{self.samples} samples"]
        for output in self.outputs:
            text = f"output {output.name}: "
            if output.equal is not None:
                text += f"{100 * output.equal:.2f} % of elements equal"
            else:
                text += (
                    f"max error {output.max_error:.4g} ({100 * output.relative_error:.3g} % of the greatest), "
                    f"mean {output.mean_error:.4g}, cosine {output.cosine:.6f}"
                )
            if output.top1_agreement is not None:
                text += f", top-1 agreement {100 * output.top1_agreement:.1f} %"
            lines.append(text)
        if self.accuracy is not None and self.accuracy_reference is not None and self.net_interval is not None:
            low, high = self.net_interval
            lines.append(
                f"accuracy {100 * self.accuracy_reference:.2f} % -> {100 * self.accuracy:.2f} %: "
                f"{self.lost} lost, {self.won} won, net {100 * (self.net or 0.0):+.2f} points "
                f"(95 % interval {100 * low:+.2f} to {100 * high:+.2f})"
            )
        for layer in self.layers:
            ratio = "exact" if layer.sqnr == math.inf else f"{layer.sqnr:.1f} dB"
            lines.append(f"{layer.name} ({layer.op}): {ratio}")
        return "\n".join(lines)


def compare(
    reference: ModelLike,
    other: ModelLike,
    *,
    inputs: CalibrationSource,
    labels: NDArray[Any] | str | os.PathLike[str] | None = None,
    layers: bool = False,
    samples: int | None = None,
    progress: Progress | None = None,
    seed: int = 0,
) -> Comparison:
    """Run both models on the same inputs and measure how far `other` is from `reference`.

    reference: an ONNX model; other: an ONNX model, or the path of a `.plan`. inputs: as `calibration` of
    `planish.compress`; `samples` bounds how many are used. labels: int[samples], in the inputs' order; accuracy is the
    top-1 of the first output that is scores of classes. layers: also compare the tensors both models have, worst first.

    Raises UsageError where the models' outputs, the labels or the options do not fit, CalibrationError for the inputs.
    """
    left_model = _load(reference)
    limit = samples if samples is not None else int(np.iinfo(np.int64).max)
    with open_calibration(inputs, left_model, limit, seed) as data:
        if layers:
            if _is_plan(other):
                raise UsageError(f"{other!s}: a plan has no tensors to compare; compare its .onnx with layers")
            return _compare_layers(left_model, _load(other), data, labels, progress)
        left = Runner(left_model)
        session = _open_plan(other) if _is_plan(other) else new_session(_load(other))
        names = [output.name for output in session.get_outputs()]
        tally = _Tally(left.outputs, names, _labels(labels))
        for done, feed in enumerate(data):
            tally.update(left.run(feed), session.run_arrays(feed))
            _tell(progress, done)
    return tally.result()


def _compare_layers(
    left_model: ir.Model,
    right_model: ir.Model,
    data: Calibration,
    labels: NDArray[Any] | str | os.PathLike[str] | None,
    progress: Progress | None,
) -> Comparison:
    available = {str(value.name) for node in right_model.graph for value in node.outputs}
    match: dict[str, str] = {}
    ops: dict[str, str] = {}
    for node in left_model.graph:
        for value in node.outputs:
            name = matching_tensor(str(value.name), available)
            if name is not None and value.dtype in (None, ir.DataType.FLOAT):
                match[str(value.name)], ops[str(value.name)] = name, node.op_type
    left, right = Runner(left_model, match), Runner(right_model, match.values())
    tally = _Tally(left.outputs, right.outputs, _labels(labels))
    ratios = {name: SignalToNoise() for name in match}
    for done, feed in enumerate(data):
        expected, got = left.run(feed), right.run(feed)
        tally.update(expected, got)
        for name, ratio in ratios.items():
            if np.issubdtype(expected[name].dtype, np.floating) and expected[name].shape == got[match[name]].shape:
                ratio.update(expected[name], got[match[name]])
        _tell(progress, done)
    result = tally.result()
    rows = [LayerComparison(name, ops[name], ratio.decibels) for name, ratio in ratios.items()]
    result.layers = sorted(rows, key=lambda row: row.sqnr)
    return result


class _Tally:
    """Running sums over the feeds."""

    def __init__(self, left: list[str], right: list[str], labels: NDArray[Any] | None) -> None:
        missing = [name for name in left if name not in right]
        if missing:
            raise UsageError(f"compare: output '{missing[0]}' is not in the other model, which has {', '.join(right)}")
        self.samples = 0
        self._labels = labels
        self._outputs = {name: _OutputTally() for name in left}
        self._right_answers = [0, 0]
        self._flips = [0, 0]
        self._judged = 0

    def update(self, reference: Arrays, other: Arrays) -> None:
        """Take in both models' outputs for one feed."""
        rows = 1
        for name, tally in self._outputs.items():
            expected, got = reference[name], other[name]
            if expected.shape != got.shape:
                raise UsageError(
                    f"compare: output '{name}' is {expected.shape} in one model and {got.shape} in the other"
                )
            tally.update(expected, got)
            rows = max(rows, expected.shape[0] if is_scores(expected) else 1)
        self.samples += rows
        scores = next((name for name in self._outputs if is_scores(reference[name])), None)
        if self._labels is not None and scores is not None:
            self._judge(reference[scores].argmax(-1), other[scores].argmax(-1), self._labels)

    def _judge(self, reference: NDArray[Any], other: NDArray[Any], labels: NDArray[Any]) -> None:
        truth = labels[self._judged : self._judged + len(reference)]
        if len(truth) < len(reference):
            raise UsageError(f"compare: {len(labels)} labels for more samples than that; give one a sample, in order")
        before, after = reference == truth, other == truth
        self._right_answers[0] += int(before.sum())
        self._right_answers[1] += int(after.sum())
        self._flips[0] += int((before & ~after).sum())
        self._flips[1] += int((~before & after).sum())
        self._judged += len(truth)

    def result(self) -> Comparison:
        """The comparison over everything seen."""
        outputs = [tally.result(name) for name, tally in self._outputs.items()]
        comparison = Comparison(self.samples, outputs)
        if self._labels is not None:
            if not self._judged:
                raise UsageError("compare: labels for a model without scores of classes; drop the labels")
            lost, won = self._flips
            comparison.accuracy_reference = self._right_answers[0] / self._judged
            comparison.accuracy = self._right_answers[1] / self._judged
            comparison.lost, comparison.won = lost, won
            comparison.net = (won - lost) / self._judged
            comparison.net_interval = net_flips_interval(lost, won, self._judged)
        return comparison


class _OutputTally:
    """Running sums of one output."""

    def __init__(self) -> None:
        self._most = self._peak = self._total = 0.0
        self._count = self._equal = self._same = self._rows = 0
        self._products = np.zeros(3)
        self._integer = False

    def update(self, expected: NDArray[Any], got: NDArray[Any]) -> None:
        self._count += expected.size
        if not np.issubdtype(expected.dtype, np.floating):
            self._integer = True
            self._equal += int((expected == got).sum())
            return
        if expected.size == 0:
            return
        a, b = expected.astype(np.float64), got.astype(np.float64)
        error = np.abs(a - b)
        self._most = max(self._most, float(error.max()))
        self._peak = max(self._peak, float(np.abs(a).max()))
        self._total += float(error.sum())
        self._products += (float((a * b).sum()), float((a * a).sum()), float((b * b).sum()))
        if is_scores(expected):
            self._same += int((a.argmax(-1) == b.argmax(-1)).sum())
            self._rows += len(a)

    def result(self, name: str) -> OutputComparison:
        if self._integer:
            return OutputComparison(name, equal=self._equal / max(self._count, 1))
        ab, aa, bb = (float(product) for product in self._products)
        return OutputComparison(
            name,
            max_error=self._most,
            mean_error=self._total / max(self._count, 1),
            relative_error=self._most / self._peak if self._peak else self._most,
            cosine=1.0 if aa == bb == 0.0 else ab / max(math.sqrt(aa * bb), 1e-300),
            top1_agreement=self._same / self._rows if self._rows else None,
        )


def _load(model: ModelLike) -> ir.Model:
    from planish.importing import load_model

    return load_model(model)


def _is_plan(model: ModelLike) -> bool:
    return isinstance(model, str | os.PathLike) and os.fspath(model).endswith(".plan")


def _open_plan(path: ModelLike) -> Any:
    import planish

    return planish.InferenceSession(path)


def _labels(labels: NDArray[Any] | str | os.PathLike[str] | None) -> NDArray[Any] | None:
    """The labels as int[samples]; a path is read as `.npy`."""
    if labels is None:
        return None
    if isinstance(labels, str | os.PathLike):
        try:
            labels = np.load(labels, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UsageError(f"{labels}: cannot be read as .npy: {error}; write the labels with numpy.save") from error
    return np.asarray(labels).reshape(-1)


def _tell(progress: Progress | None, done: int) -> None:
    if progress is not None:
        progress(done + 1, 0, "compare")
