"""The engines that can be measured, behind one small interface. Used inside a worker process only."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from planish.errors import ModelError, UsageError
from planish.measure.contestant import InputSpec

Array = npt.NDArray[Any]


class Engine(Protocol):
    """A loaded model. `run` takes all inputs by name and gives all outputs, in the model's order."""

    version: str
    inputs: list[InputSpec]
    outputs: list[str]

    def run(self, feeds: dict[str, Array]) -> list[Array]: ...


def import_engine(name: str) -> None:
    """Import what the engine needs, so that loading a model is timed without it; UsageError where not installed."""
    module = "planish" if name == "planish" else _IMPORTS[name]
    try:
        importlib.import_module(module)
    except ImportError:
        raise UsageError(f"engine '{name}': not installed; pip install {name}") from None


def load(engine: str, path: str, threads: int) -> Engine:
    """Load a model file with `threads` threads a run; what the engine itself raises becomes a ModelError."""
    return _LOADERS[engine](path, threads)


class _Planish:
    def __init__(self, path: str, threads: int) -> None:
        import planish

        options = planish.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = planish.InferenceSession(path, options)
        self.version = planish.__version__
        self.inputs = [InputSpec(i.name, tuple(i.shape), i.type) for i in self._session.get_inputs()]
        self.outputs = [o.name for o in self._session.get_outputs()]

    def run(self, feeds: dict[str, Array]) -> list[Array]:
        return [_scores(output) for output in self._session.run(None, feeds)]


class _OnnxRuntime:
    def __init__(self, path: str, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise ModelError(f"{path}: onnxruntime refuses it: {_one_line(error)}; leave onnxruntime out") from None
        self.version = onnxruntime.__version__
        self.inputs = [InputSpec(i.name, tuple(i.shape), i.type) for i in self._session.get_inputs()]
        self.outputs = [o.name for o in self._session.get_outputs()]

    def run(self, feeds: dict[str, Array]) -> list[Array]:
        return [_scores(output) for output in self._session.run(None, feeds)]


def _scores(output: Any) -> Array:
    """A classifier's dictionaries, one a row, as a tensor [N, labels] in the labels' order, which engines agree on."""
    if isinstance(output, list) and output and isinstance(output[0], dict):
        return np.array([[row[label] for label in sorted(row)] for row in output], np.float32)
    return output  # type: ignore[no-any-return]


_OPENVINO_TYPES = {"f16": "float16", "f32": "float", "f64": "double", "boolean": "bool"} | {
    f"{kind}{bits}": f"{word}{bits}" for kind, word in (("i", "int"), ("u", "uint")) for bits in (8, 16, 32, 64)
}


class _OpenVino:
    """In float32: the hint stops OpenVINO from computing float models in bfloat16 where the CPU has it."""

    def __init__(self, path: str, threads: int) -> None:
        import openvino

        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            compiled = openvino.Core().compile_model(path, "CPU", settings)
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            raise ModelError(f"{path}: openvino refuses it: {_one_line(error)}; leave openvino out") from None
        self.version = openvino.__version__.partition("-")[0]
        self.inputs = [_openvino_input(port) for port in compiled.inputs]
        self.outputs = [port.any_name for port in compiled.outputs]

    def run(self, feeds: dict[str, Array]) -> list[Array]:
        results = self._request.infer(feeds, share_inputs=True)
        return [np.asarray(results[index]) for index in range(len(self.outputs))]


def _openvino_input(port: Any) -> InputSpec:
    shape = port.get_partial_shape()
    dims = tuple(d.get_length() if d.is_static else None for d in shape) if shape.rank.is_static else ()
    kind = port.get_element_type().get_type_name()
    return InputSpec(port.any_name, dims, f"tensor({_OPENVINO_TYPES.get(kind, kind)})")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


_IMPORTS = {"onnxruntime": "onnxruntime", "openvino": "openvino"}
_LOADERS: dict[str, Callable[[str, int], Engine]] = {
    "planish": _Planish,
    "onnxruntime": _OnnxRuntime,
    "openvino": _OpenVino,
}
