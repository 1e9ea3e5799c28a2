"""How faithful a compressed model is, and what each layer of it weighs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from planish.compress.build import Parts, is_static
from planish.compress.calibration import open_calibration
from planish.compress.coding import CodedWeight
from planish.compress.forms import id_bytes, scatters_elements, to_blocks
from planish.compress.observers import SignalToNoise, sqnr
from planish.compress.pipeline import Pipeline
from planish.compress.prune import BLOCKS, why_not
from planish.compress.report import LayerReport
from planish.compress.runner import Runner, kernels_here

#: Feeds on which layers are compared tensor by tensor.
COMPARED_FEEDS = 32


class Agreement:
    """Whether two models answer alike: top-1 where an output is scores of classes, cosine otherwise."""

    def __init__(self) -> None:
        self.feeds = 0
        self._same = 0
        self._rows = 0
        self._products: dict[str, NDArray[np.float64]] = {}

    def update(self, reference: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> None:
        """Take in the outputs of both models for one feed."""
        self.feeds += 1
        for name, expected in reference.items():
            got = other[name]
            if not np.issubdtype(expected.dtype, np.floating) or expected.size == 0:
                continue
            a, b = expected.astype(np.float64), got.astype(np.float64)
            sums = np.array([(a * b).sum(), (a * a).sum(), (b * b).sum()])
            self._products[name] = self._products.get(name, np.zeros(3)) + sums
            if is_scores(expected):
                self._same += int((a.argmax(-1) == b.argmax(-1)).sum())
                self._rows += a.size // a.shape[-1]

    @property
    def cosine(self) -> float:
        """The least cosine over the outputs."""
        cosines = [
            1.0 if aa == bb == 0.0 else ab / max(np.sqrt(aa * bb), 1e-300) for ab, aa, bb in self._products.values()
        ]
        return float(min(cosines, default=1.0))

    @property
    def top1(self) -> float | None:
        """The fraction of rows with the same greatest entry; None where no output is scores of classes."""
        return self._same / self._rows if self._rows else None

    @property
    def value(self) -> float:
        """One number in [0, 1]: top-1 agreement, or the cosine where there are no classes."""
        return self.top1 if self.top1 is not None else max(self.cosine, 0.0)


def is_scores(output: NDArray[Any]) -> bool:
    """Whether an output looks like scores of classes: [samples, classes]."""
    return output.ndim == 2 and output.shape[1] > 1


@dataclasses.dataclass
class Fidelity:
    """A compressed model beside its float source on the calibration data."""

    agreement: float | None
    cosine: float
    #: Feeds that were compared.
    feeds: int
    #: SQNR in dB of each layer's output.
    outputs: dict[str, float]


def measure(pipeline: Pipeline, compressed: ir.Model) -> Fidelity:
    """Compare the two models on the first feeds of the calibration data."""
    available = {str(value.name) for node in compressed.graph for value in node.outputs}
    match: dict[str, str] = {}
    for layer in pipeline.source.layers:
        name = matching_tensor(behind_clamp(pipeline.source.model, layer.output), available)
        if name is not None:
            match[behind_clamp(pipeline.source.model, layer.output)] = name
    left, right = Runner(pipeline.source.model, match), Runner(compressed, match.values())
    ratios = {name: SignalToNoise() for name in match}
    agreement = Agreement()
    for feed in pipeline.feeds("measure", COMPARED_FEEDS):
        expected, got = left.run(feed), right.run(feed)
        agreement.update({n: expected[n] for n in left.outputs}, {n: got[n] for n in left.outputs})
        for name, ratio in ratios.items():
            ratio.update(expected[name], got[match[name]])
    by_tensor = {name: ratio.decibels for name, ratio in ratios.items()}
    outputs = {
        layer.name: by_tensor[tensor]
        for layer in pipeline.source.layers
        if (tensor := behind_clamp(pipeline.source.model, layer.output)) in by_tensor
    }
    return Fidelity(agreement.top1, agreement.cosine, agreement.feeds, outputs)


def behind_clamp(model: ir.Model, tensor: str) -> str:
    """The tensor behind the Relu or Clip that alone reads `tensor`, else `tensor` itself."""
    from planish.compress.static import clamp_behind

    for node in model.graph:
        if any(value.name == tensor for value in node.outputs):
            clamp = clamp_behind(node)
            return str(clamp.outputs[0].name) if clamp is not None else tensor
    return tensor


def matching_tensor(name: str, available: set[str]) -> str | None:
    """The tensor of a compressed model that stands for `name` of the float model."""
    for candidate in (f"{name}_DequantizeLinear", name):
        if candidate in available:
            return candidate
    return None


def describe_kernels(rows: list[LayerReport], pipeline: Pipeline, proto: onnx.ModelProto) -> None:
    """Fill in what this machine would run: kernel, packed bytes, and why a compressed form is declined."""
    model = pipeline.source.model
    with open_calibration("random", model, 1) as random:
        feeds = next(iter(pipeline.calibration or random))
    chosen = kernels_here(proto, feeds)
    for row in rows:
        found = chosen.get(pipeline.source.by_name[row.layer].node)
        if found is not None:
            row.kernel, row.bytes_plan = found.kernel, found.packed
            row.note = "; ".join([*filter(None, [row.note]), *found.notes])


def layer_reports(pipeline: Pipeline, parts: Parts, fidelity: Fidelity | None) -> list[LayerReport]:
    """A row for each layer."""
    rows = []
    for layer in pipeline.source.layers:
        spec, coded = parts.specs[layer.name], parts.coded.get(layer.name)
        original = pipeline.source.weights[layer.name]
        decoded = original if coded is None else coded.decoded()
        row = LayerReport(
            layer=layer.name,
            op=layer.op,
            shape=layer.layout.shape,
            weights=str(spec.weights) if spec.keep is None else "float32",
            activations=spec.activations if spec.keep is None else "float",
            pattern=spec.prune.pattern if spec.keep is None and spec.prune is not None else "-",
            zeros=100.0 * float(np.mean(decoded == 0)) if decoded.size else 0.0,
            bytes_float=original.size * 4,
            bytes_file=original.size * 4 if coded is None else coded_bytes(coded),
            weight_sqnr=None if coded is None else sqnr(original, decoded),
            output_sqnr=None if fidelity is None else fidelity.outputs.get(layer.name),
            note=spec.keep or "",
        )
        if is_static(spec) and parts.plan is not None:
            tensor = behind_clamp(pipeline.source.model, layer.output)
            row.clipped = _clipped(pipeline, parts, tensor)
        if spec.keep is None and spec.prune is not None and (why := why_not(layer, spec.prune.pattern)):
            row.note, row.pattern = f"not pruned: {why}", "-"
        rows.append(row)
    return rows


def _clipped(pipeline: Pipeline, parts: Parts, tensor: str) -> float | None:
    """Per cent of the observed values of a tensor that its range cuts off; None where it was not observed."""
    assert parts.plan is not None
    quantization, observer = parts.plan.of(tensor), pipeline.observers().get(tensor)
    return None if quantization is None or observer is None else 100.0 * quantization.clipped(observer)


def coded_bytes(coded: CodedWeight) -> int:
    """Bytes of a coded weight in an ONNX file: elements, block ids, scales and codebooks."""
    raw = coded.index if coded.index is not None else coded.values
    assert raw is not None
    count, ids = raw.size, 0
    if coded.pattern in BLOCKS:
        height, width = BLOCKS[coded.pattern]
        blocks = to_blocks(coded.decoded_matrix(), height, width)
        kept = int(np.any(blocks != 0, axis=(1, 2)).sum())
        count, ids = kept * height * width, kept * id_bytes(len(blocks))
    elif scatters_elements(coded):
        count = int(np.count_nonzero(raw))
        ids = count * id_bytes(raw.size)
    bits = coded.weights.stored_bits
    size = -(-count * bits // 8) + ids
    for extra in (coded.scale, coded.codebook):
        size += 0 if extra is None else extra.nbytes
    return size


def stored_bytes(proto: onnx.ModelProto) -> int:
    """Bytes of the model as a file."""
    try:
        return int(proto.ByteSize())
    except (ValueError, SystemError):
        return sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
