"""planish behind `onnx.backend.base.Backend`, the interface of the ONNX project's own test suite.

import planish.backend
outputs = planish.backend.run_model(model, [x])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, Device, DeviceType, namedtupledict

from planish.errors import ModelError, PlanishError, UsageError
from planish.runtime.executor import fallback_steps
from planish.session import InferenceSession


class PlanishRep(BackendRep):
    """A prepared model, ready to run repeatedly."""

    def __init__(self, session: InferenceSession) -> None:
        self.session = session

    def run(self, inputs: Any, **_: Any) -> tuple[Any, ...]:
        """Runs on `inputs`: arrays in the order of the graph's inputs, a mapping by name, or the one array.

        Returns the outputs in order, also readable by name. Raises InputError for inputs that do not fit.
        """
        names = [argument.name for argument in self.session.get_inputs()]
        if isinstance(inputs, Mapping):
            feeds = dict(inputs)
        elif isinstance(inputs, np.ndarray):
            feeds = {names[0]: inputs}
        else:
            if len(inputs) > len(names):
                raise UsageError(f"inputs: {len(inputs)} given, the model takes {len(names)}; feed {', '.join(names)}")
            feeds = dict(zip(names, inputs, strict=False))
        outputs = [output.name for output in self.session.get_outputs()]
        return tuple(namedtupledict("Outputs", outputs)(*self.session.run(None, feeds)))


class PlanishBackend(Backend):
    """Runs ONNX models on the CPU. `native=True` refuses models that need the reference evaluator for a node."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", *, native: bool = False, **_: Any) -> PlanishRep:
        """Loads a model. Raises ModelError for one that cannot run, UsageError for another device than the CPU."""
        if not cls.supports_device(device):
            raise UsageError(f"device '{device}': planish runs on the CPU; pass 'CPU'")
        session = InferenceSession(model)
        if native and (steps := fallback_steps(session.lowered)):
            names = ", ".join(sorted({f"{s.attrs['op']} ({s.attrs.get('reason', 'no kernel')})" for s in steps}))
            raise ModelError(f"not native: {names}; allow the reference evaluator with native=False")
        return PlanishRep(session)

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether `prepare` would accept the model."""
        try:
            cls.prepare(model, device, **kwargs)
        except PlanishError:
            return False
        return True

    @classmethod
    def run_node(
        cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU", outputs_info: object = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        """Runs one node on `inputs`, arrays in the order of the node's non-empty input names.

        `opset_version` chooses the operator's version, by default the newest.
        """
        arrays: Sequence[Any] = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        version = int(kwargs.pop("opset_version", onnx.defs.onnx_opset_version()))
        ports = [
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for name, a in zip([n for n in node.input if n], map(np.asarray, arrays), strict=True)
        ]
        results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", ports, results)
        opsets = [onnx.helper.make_opsetid("", version)]
        if node.domain:
            opsets.append(onnx.helper.make_opsetid(node.domain, 1))
        model = onnx.shape_inference.infer_shapes(onnx.helper.make_model(graph, opset_imports=opsets))
        return cls.prepare(model, device, **kwargs).run([np.asarray(a) for a in arrays])

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return bool(Device(device).type == DeviceType.CPU)


is_compatible = PlanishBackend.is_compatible
prepare = PlanishBackend.prepare
run_model = PlanishBackend.run_model
run_node = PlanishBackend.run_node
supports_device = PlanishBackend.supports_device
