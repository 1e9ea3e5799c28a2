"""ResNet-50 (v1.5) and MobileNetV2 (width 1.0) at 224×224, with seeded random weights.

Weights follow He et al. 2015 (variance 2 / fan-in), smaller on the last convolution of a residual branch, so that
activations stay near unit variance through the depth and quantization meets realistic ranges.
Sources of the shapes: He et al. 2016 with the stride in the 3×3 convolution; Sandler et al. 2018, table 2.
"""

from __future__ import annotations

import numpy as np
import onnx

from bench.models.graph import Dim, GraphBuilder

_OPSET = 13
_CLASSES = 1000
_BRANCH_GAIN = 0.3
_RESNET50_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # inner channels, blocks, first stride
_MOBILENET_V2_STAGES = (  # expansion, channels, blocks, first stride
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class _ConvNet:
    """A graph with the layers both networks are made of.

    With `batch_norm` each convolution is followed by a BatchNormalization, as in training; without, it carries a bias,
    as exporters write it.
    """

    def __init__(self, name: str, seed: int, batch_norm: bool) -> None:
        self.graph = GraphBuilder(name, _OPSET)
        self._rng = np.random.default_rng(seed)
        self._batch_norm = batch_norm

    def conv(
        self,
        x: str,
        name: str,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        gain: float = 1.0,
    ) -> str:
        fan_in = inputs // groups * kernel * kernel
        weight = self._normal((outputs, inputs // groups, kernel, kernel), gain * np.sqrt(2.0 / fan_in))
        operands = [x, self.graph.constant(f"{name}.weight", weight)]
        bias = self._normal((outputs,), 0.1)
        if not self._batch_norm:
            operands.append(self.graph.constant(f"{name}.bias", bias))
        x = self.graph.node(
            "Conv",
            operands,
            name,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
            group=groups,
        )
        return self._normalise(x, name, bias) if self._batch_norm else x

    def relu(self, x: str) -> str:
        return self.graph.node("Relu", [x], f"{x}.relu")

    def relu6(self, x: str) -> str:
        low, high = (self.graph.constant(f"clip.{v:g}", np.float32(v)) for v in (0.0, 6.0))
        return self.graph.node("Clip", [x, low, high], f"{x}.relu6")

    def add(self, a: str, b: str, name: str) -> str:
        return self.graph.node("Add", [a, b], name)

    def classify(self, x: str, features: int, batch: Dim) -> onnx.ModelProto:
        """Global average, flatten, one linear layer; finishes the model."""
        weight = self._normal((_CLASSES, features), np.sqrt(1.0 / features))
        operands = [
            self.graph.node("Flatten", [self.graph.node("GlobalAveragePool", [x], "average")], "features"),
            self.graph.constant("classify.weight", weight),
            self.graph.constant("classify.bias", self._normal((_CLASSES,), 0.1)),
        ]
        self.graph.output(self.graph.node("Gemm", operands, "logits", transB=1), "logits", [batch, _CLASSES])
        return self.graph.model()

    def _normalise(self, x: str, name: str, bias: np.ndarray) -> str:
        channels = len(bias)
        values = {
            "scale": self._rng.uniform(0.8, 1.2, channels).astype(np.float32),
            "shift": bias,
            "mean": self._normal((channels,), 0.1),
            "variance": self._rng.uniform(0.8, 1.2, channels).astype(np.float32),
        }
        operands = [x, *(self.graph.constant(f"{name}.norm.{key}", value) for key, value in values.items())]
        return self.graph.node("BatchNormalization", operands, f"{name}.norm")

    def _normal(self, shape: tuple[int, ...], deviation: float) -> np.ndarray:
        return self._rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)


def build_resnet50(*, batch: Dim = 1, seed: int = 0, batch_norm: bool = False) -> onnx.ModelProto:
    """ResNet-50 v1.5: input `image` float32[batch,3,224,224], output `logits` float32[batch,1000]."""
    net = _ConvNet("resnet50", seed, batch_norm)
    image = net.graph.input("image", [batch, 3, 224, 224])
    x = net.relu(net.conv(image, "stem", 3, 64, 7, stride=2))
    x = net.graph.node("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (inner, blocks, first_stride) in enumerate(_RESNET50_STAGES, start=1):
        for block in range(blocks):
            name, stride = f"stage{stage}.{block}", first_stride if block == 0 else 1
            x = _bottleneck(net, x, name, channels, inner, stride)
            channels = 4 * inner
    return net.classify(x, channels, batch)


def _bottleneck(net: _ConvNet, x: str, name: str, channels: int, inner: int, stride: int) -> str:
    outer = 4 * inner
    branch = net.relu(net.conv(x, f"{name}.conv1", channels, inner, 1))
    branch = net.relu(net.conv(branch, f"{name}.conv2", inner, inner, 3, stride=stride))
    branch = net.conv(branch, f"{name}.conv3", inner, outer, 1, gain=_BRANCH_GAIN)
    if channels != outer:
        x = net.conv(x, f"{name}.project", channels, outer, 1, stride=stride, gain=np.sqrt(0.5))
    return net.relu(net.add(branch, x, f"{name}.add"))


def build_mobilenet_v2(*, batch: Dim = 1, seed: int = 0, batch_norm: bool = False) -> onnx.ModelProto:
    """MobileNetV2 1.0: input `image` float32[batch,3,224,224], output `logits` float32[batch,1000]."""
    net = _ConvNet("mobilenet_v2", seed, batch_norm)
    image = net.graph.input("image", [batch, 3, 224, 224])
    x = net.relu6(net.conv(image, "stem", 3, 32, 3, stride=2))
    channels = 32
    for stage, (expansion, outputs, blocks, first_stride) in enumerate(_MOBILENET_V2_STAGES, start=1):
        for block in range(blocks):
            name, stride = f"stage{stage}.{block}", first_stride if block == 0 else 1
            x = _inverted_residual(net, x, name, channels, outputs, expansion, stride)
            channels = outputs
    x = net.relu6(net.conv(x, "head", channels, 1280, 1))
    return net.classify(x, 1280, batch)


def _inverted_residual(
    net: _ConvNet, x: str, name: str, channels: int, outputs: int, expansion: int, stride: int
) -> str:
    inner, branch = channels * expansion, x
    if expansion != 1:
        branch = net.relu6(net.conv(branch, f"{name}.expand", channels, inner, 1))
    branch = net.relu6(net.conv(branch, f"{name}.depthwise", inner, inner, 3, stride=stride, groups=inner))
    residual = stride == 1 and channels == outputs
    branch = net.conv(branch, f"{name}.project", inner, outputs, 1, gain=_BRANCH_GAIN if residual else 1.0)
    return net.add(branch, x, f"{name}.add") if residual else branch
