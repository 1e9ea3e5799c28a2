"""The files that contestants run: the float model, planish's int8 form, and those of the peers' own quantizers.

All quantizers see the same made-up samples. Files are kept in a folder and made once; a tool that is not installed or
refuses a model leaves a line in `notes` instead of a file.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir

import planish
from bench.models import convnets, minilm
from bench.models.bert import BERT_BASE, build_bert, random_weights
from bench.table.works import Work
from planish.importing import load_model
from planish.measure import InputSpec, random_feeds
from planish.passes import canonicalise
from planish.passes.undo_compression import undo_compression

SAMPLES = 8
Feed = dict[str, np.ndarray]


class Files:
    """Files of one model: kind → path, the kinds being float32 (where it has that form), int8 (planish's, or as it
    came), and the peers' own: onnxruntime, onnxruntime-dynamic (transformers only), openvino."""

    def __init__(self, work: Work, models: Path, folder: Path) -> None:
        """models: the folder of shared models; folder: where files are kept."""
        self.work, self._models = work, models
        self._folder = folder / re.sub(r"\W+", "_", work.name)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.paths: dict[str, Path] = {}
        self.notes: list[str] = []
        self._try("float32", "float32.onnx", self._float)
        self._try("int8", "int8.onnx", self._int8)
        if work.source:
            self._try("onnxruntime", "onnxruntime.onnx", self._onnxruntime)
            self._try("openvino", "openvino.xml", self._openvino)
        if work.is_transformer:
            self._try("onnxruntime-dynamic", "onnxruntime_dynamic.onnx", self._onnxruntime_dynamic)

    def samples(self) -> list[Feed]:
        """The samples that quantizers calibrate on."""
        session = planish.InferenceSession(self.paths["float32"])
        specs = [InputSpec(i.name, tuple(i.shape), i.type) for i in session.get_inputs()]
        return [random_feeds(specs, shapes=self.work.shapes, seed=seed)[0] for seed in range(SAMPLES)]

    def _make(self, name: str, write: Callable[[Path], None]) -> Path:
        """A file by its final name, written under another first: an interrupted tool leaves nothing half done."""
        path = self._folder / name
        if not path.exists():
            partial = path.with_stem(f"partial_{path.stem}")
            write(partial)
            with contextlib.suppress(FileNotFoundError):
                partial.with_suffix(".bin").rename(path.with_suffix(".bin"))
            partial.rename(path)
        return path

    def _try(self, kind: str, name: str, write: Callable[[Path], None]) -> None:
        try:
            self.paths[kind] = self._make(name, write)
        except Exception as error:  # whatever a foreign tool raises
            self.notes.append(f"{kind}: no file: {type(error).__name__}: {' '.join(str(error).split())[:150]}")

    def _float(self, path: Path) -> None:
        work = self.work
        if not work.source:
            model = canonicalise(load_model(self._models / work.quantized))
            undo_compression(model)
            onnx.save(onnx_ir.to_proto(model), path)
        elif work.source.startswith("built:"):
            onnx.save(_build(work), path)
        else:
            shutil.copyfile(self._models / work.source, path)

    def _int8(self, path: Path) -> None:
        if self.work.quantized:
            shutil.copyfile(self._models / self.work.quantized, path)
        else:
            planish.compress(self.paths["float32"], path, recipe="int8", calibration=self.samples(), samples=SAMPLES)

    def _onnxruntime(self, path: Path) -> None:
        from onnxruntime import quantization as q

        logging.disable(logging.WARNING)
        model = self.paths["float32"]
        with contextlib.suppress(Exception):  # symbolic shape inference does not take every model
            prepared = path.with_stem(f"prepared_{path.stem}")
            q.shape_inference.quant_pre_process(model, prepared, skip_symbolic_shape=not self.work.is_transformer)
            model = prepared
        reader = _Reader(self.samples())
        q.quantize_static(model, path, reader, quant_format=q.QuantFormat.QDQ, per_channel=True)

    def _onnxruntime_dynamic(self, path: Path) -> None:
        from onnxruntime import quantization as q

        q.quantize_dynamic(self.paths["float32"], path, per_channel=True)

    def _openvino(self, path: Path) -> None:
        import nncf
        import openvino

        model = openvino.Core().read_model(self.paths["float32"])
        names = [port.any_name for port in model.inputs]
        kind = nncf.ModelType.TRANSFORMER if self.work.is_transformer else None
        data = nncf.Dataset([[feed[name] for name in names] for feed in self.samples()])
        preset = nncf.QuantizationPreset.MIXED
        quantized = nncf.quantize(model, data, subset_size=SAMPLES, preset=preset, model_type=kind)
        openvino.save_model(quantized, path, compress_to_fp16=False)


class _Reader:
    """ONNX Runtime's CalibrationDataReader over samples in memory."""

    def __init__(self, samples: list[Feed]) -> None:
        self._samples: Iterator[Feed] = iter(samples)

    def get_next(self) -> Feed | None:
        return next(self._samples, None)


def _build(work: Work) -> onnx.ModelProto:
    name, sizes = work.source.removeprefix("built:"), dict(work.build)
    builders: dict[str, Callable[..., Any]] = {
        "resnet50": convnets.build_resnet50,
        "mobilenet_v2": convnets.build_mobilenet_v2,
        "minilm": lambda **shape: minilm.build_minilm(None, **shape),
        "bert_base": lambda **shape: build_bert(BERT_BASE, random_weights(BERT_BASE), name="bert_base", **shape),
    }
    model: onnx.ModelProto = builders[name](**sizes)
    return model
