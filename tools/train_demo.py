"""Train the demo's network and write `engine/planish/demo/digits.onnx` and `digits.npz`.

    PYTHONPATH=engine python tools/train_demo.py [--epochs N] [--output DIR]

Needs torch and scikit-learn, which nothing else here does. One thread, seeded: the same machine gives the same files.

Data: scikit-learn's handwritten digits in their own order, the first 1200 for training, the last 597 held back; other
people wrote the later ones. Regularisation: weight decay, label smoothing, small affine distortions, and a stronger
decay of each layer's smallest weights and blocks of weights (in the manner of Wang et al. 2021, "Neural Pruning via
Growing Regularization"), which teaches the network to lean on few of them. The weights that are written are dense.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from planish.demo.data import SIDE, enlarge

TRAIN = 1200
CALIBRATION = 300
BATCH = 50
PEAK_RATE = 0.08
WEIGHT_DECAY = 5e-4
SHRINK_SHARES = {(1, 1): 0.93, (1, 4): 0.91, (16, 4): 0.88}  # outputs × inputs of a block: the share that is shrunk
SHRINK_DECAY = 1.5  # times the learning rate; one block shape a step, in turn


class ConvBn(nn.Module):
    """Convolution without bias, then BatchNorm; :meth:`folded` gives the single convolution that equals both."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))

    @torch.no_grad()
    def shrink_smallest(self, share: float, block: tuple[int, int], decay: float) -> None:
        """Decay the `share` of outputs × inputs blocks with the smallest mean magnitude; depthwise layers are left."""
        weight = self.conv.weight
        outputs, inputs, height, width = weight.shape
        rows, columns = block
        if inputs % columns == 0 and inputs > 1 and share > 0:
            blocks = weight.reshape(outputs // rows, rows, inputs // columns, columns, height, width)
            score = blocks.abs().mean((1, 3), keepdim=True)
            small = score <= score.flatten().kthvalue(max(1, int(share * score.numel()))).values
            blocks.mul_(1 - decay * small)

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        norm = self.norm
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = self.conv.weight * scale[:, None, None, None]
        bias = norm.bias - norm.running_mean * scale
        return weight.detach().numpy(), bias.detach().numpy()


class Residual(nn.Module):
    """Two 3×3 convolutions with the input added before the last Relu."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBn(channels, channels, 3)
        self.second = ConvBn(channels, channels, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


class DigitsNet(nn.Module):
    """About 80 million multiply-accumulates and 0.5 million weights at 1×32×32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBn(1, 32, 3)
        self.stage1 = Residual(32)
        self.widen2 = ConvBn(32, 64, 1)
        self.stage2 = nn.ModuleList([Residual(64), Residual(64)])
        self.widen3 = ConvBn(64, 96, 1)
        self.stage3 = nn.ModuleList([Residual(96), Residual(96)])
        self.depthwise = ConvBn(96, 96, 3, groups=96)
        self.mix = ConvBn(96, 96, 1)
        self.classify = nn.Linear(96, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stage1(F.relu(self.stem(x)))
        x = F.relu(self.widen2(F.max_pool2d(x, 2)))
        for block in self.stage2:
            x = block(x)
        x = F.relu(self.widen3(F.max_pool2d(x, 2)))
        for block in self.stage3:
            x = block(x)
        x = F.relu(self.mix(F.relu(self.depthwise(x))))
        return self.classify(x.mean((2, 3)))


def distort(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Rotate by up to 12°, scale by up to 12 % and shift by up to 2 pixels, each image by its own draw."""
    draw = torch.rand((5, len(images)), generator=generator) * 2 - 1
    angle = draw[0] * math.radians(12)
    scale_x, scale_y = 1 + 0.12 * draw[1], 1 + 0.12 * draw[2]
    shift = draw[3:] * (2 * 2 / SIDE)
    theta = torch.stack(
        [
            torch.stack([scale_x * angle.cos(), -scale_y * angle.sin(), shift[0]], 1),
            torch.stack([scale_x * angle.sin(), scale_y * angle.cos(), shift[1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def train(network: DigitsNet, images: torch.Tensor, labels: torch.Tensor, epochs: int, seed: int) -> None:
    """Stochastic gradient descent with one warm-up and a cosine; the shrunk share grows over the first half."""
    generator = torch.Generator().manual_seed(seed)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim == 1]
    optimiser = torch.optim.SGD(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}],
        lr=PEAK_RATE,
        momentum=0.9,
        nesterov=True,
    )
    steps = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=epochs * steps, pct_start=0.15)
    layers = [module for module in network.modules() if isinstance(module, ConvBn)]
    shapes = list(SHRINK_SHARES)
    for epoch in range(epochs):
        started, total = time.monotonic(), 0.0
        growth = min(1.0, epoch / (0.5 * epochs))
        for step, batch in enumerate(torch.randperm(len(images), generator=generator).split(BATCH)):
            logits = network(distort(images[batch], generator))
            loss = F.cross_entropy(logits, labels[batch], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            block = shapes[step % len(shapes)]
            for layer in layers:
                layer.shrink_smallest(growth * SHRINK_SHARES[block], block, SHRINK_DECAY * schedule.get_last_lr()[0])
            schedule.step()
            total += loss.item()
        seconds = time.monotonic() - started
        print(f"epoch {epoch + 1:3d}/{epochs}: loss {total / steps:.4f}, {seconds:.1f} s", flush=True)
    network.eval()


class GraphWriter:
    """Collects nodes and initializers of a straight-line graph; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def tensor(self, name: str, value: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float32), name))
        return name

    def node(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(self, layer: ConvBn, x: str, name: str) -> str:
        weight, bias = layer.folded()
        kernel, groups = layer.conv.kernel_size[0], layer.conv.groups
        inputs = [x, self.tensor(f"{name}.weight", weight), self.tensor(f"{name}.bias", bias)]
        return self.node("Conv", inputs, name, kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4, group=groups)

    def relu(self, x: str) -> str:
        return self.node("Relu", [x], f"{x}.relu")

    def pool(self, x: str, name: str) -> str:
        return self.node("MaxPool", [x], name, kernel_shape=[2, 2], strides=[2, 2])

    def residual(self, block: Residual, x: str, name: str) -> str:
        first = self.relu(self.conv(block.first, x, f"{name}.conv1"))
        second = self.conv(block.second, first, f"{name}.conv2")
        return self.relu(self.node("Add", [second, x], f"{name}.add"))


def to_onnx(network: DigitsNet) -> onnx.ModelProto:
    """The trained network in eval mode as ONNX, BatchNorm folded into the convolutions."""
    w = GraphWriter()
    x = w.relu(w.conv(network.stem, "image", "stem"))
    x = w.pool(w.residual(network.stage1, x, "stage1.0"), "pool1")
    x = w.relu(w.conv(network.widen2, x, "widen2"))
    for index, block in enumerate(network.stage2):
        x = w.residual(block, x, f"stage2.{index}")
    x = w.relu(w.conv(network.widen3, w.pool(x, "pool2"), "widen3"))
    for index, block in enumerate(network.stage3):
        x = w.residual(block, x, f"stage3.{index}")
    x = w.relu(w.conv(network.depthwise, x, "depthwise"))
    x = w.relu(w.conv(network.mix, x, "mix"))
    x = w.node("Flatten", [w.node("GlobalAveragePool", [x], "average")], "features")
    weight = w.tensor("classify.weight", network.classify.weight.detach().numpy())
    bias = w.tensor("classify.bias", network.classify.bias.detach().numpy())
    w.nodes.append(helper.make_node("Gemm", [x, weight, bias], ["logits"], name="classify", transB=1))
    graph = helper.make_graph(
        w.nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        w.initializers,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="planish/tools/train_demo.py"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "engine/planish/demo")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    torch.use_deterministic_algorithms(True)
    source = load_digits()
    digits, labels = source.images.astype(np.uint8), source.target.astype(np.uint8)
    images, targets = torch.from_numpy(enlarge(digits)), torch.from_numpy(labels.astype(np.int64))

    network = DigitsNet()
    train(network, images[:TRAIN], targets[:TRAIN], arguments.epochs, arguments.seed)
    with torch.no_grad():
        correct = (network(images[TRAIN:]).argmax(1) == targets[TRAIN:]).float().mean().item()
    print(f"held back: {100 * correct:.2f} % of {len(digits) - TRAIN} correct")

    onnx.save(to_onnx(network), arguments.output / "digits.onnx")
    np.savez_compressed(
        arguments.output / "digits.npz",
        calibration=digits[:CALIBRATION],
        images=digits[TRAIN:],
        labels=labels[TRAIN:],
    )


if __name__ == "__main__":
    main()
