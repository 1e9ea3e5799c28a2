"""BERT encoders (Devlin et al. 2019), written node by node as exporters write them.

One builder serves BERT-base with seeded random weights and any checkpoint with the usual weight names
(`encoder.layer.0.attention.self.query.weight` …, linear weights stored [outputs, inputs]).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto

from bench.models.graph import Dim, GraphBuilder

LayerNormForm = Literal["op", "pieces"]
"""`op`: LayerNormalization (opset 17); `pieces`: ReduceMean, Sub, Pow, Sqrt, Div (opset 14)."""

Pooling = Literal["first", "mean"]
"""`first`: dense + tanh of the first token; `mean`: mean over the unmasked tokens, scaled to unit length."""

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class BertConfig:
    """The sizes of an encoder."""

    layers: int = 12
    hidden: int = 768
    heads: int = 12
    inner: int = 3072
    vocabulary: int = 30522
    positions: int = 512
    token_types: int = 2
    epsilon: float = 1e-12


BERT_BASE = BertConfig()


def random_weights(config: BertConfig, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal weights of variance 1 / fan-in: with LayerNorm, activations and attention scores have unit variance."""
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}

    def normal(name: str, shape: tuple[int, ...], deviation: float) -> None:
        weights[name] = rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)

    def linear(name: str, outputs: int, inputs: int) -> None:
        normal(f"{name}.weight", (outputs, inputs), 1.0 / np.sqrt(inputs))
        normal(f"{name}.bias", (outputs,), 0.1)

    def layer_norm(name: str) -> None:
        weights[f"{name}.weight"] = rng.uniform(0.8, 1.2, config.hidden).astype(np.float32)
        normal(f"{name}.bias", (config.hidden,), 0.1)

    for table, rows in (
        ("word", config.vocabulary),
        ("position", config.positions),
        ("token_type", config.token_types),
    ):
        normal(f"embeddings.{table}_embeddings.weight", (rows, config.hidden), 0.6)
    layer_norm("embeddings.LayerNorm")
    for index in range(config.layers):
        prefix = f"encoder.layer.{index}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            linear(f"{prefix}.attention.{name}", config.hidden, config.hidden)
        layer_norm(f"{prefix}.attention.output.LayerNorm")
        linear(f"{prefix}.intermediate.dense", config.inner, config.hidden)
        linear(f"{prefix}.output.dense", config.hidden, config.inner)
        layer_norm(f"{prefix}.output.LayerNorm")
    linear("pooler.dense", config.hidden, config.hidden)
    return weights


def build_bert(
    config: BertConfig,
    weights: Weights,
    *,
    batch: Dim = "batch",
    sequence: Dim = "sequence",
    layer_norm: LayerNormForm = "op",
    pooling: Pooling = "first",
    name: str = "bert",
) -> onnx.ModelProto:
    """An encoder: int64[batch,sequence] `input_ids`, `attention_mask`, `token_type_ids` (1 in the mask: a real token).

    Outputs: `last_hidden_state` float32[batch,sequence,hidden] and, float32[batch,hidden], `pooler_output` or
    `sentence_embedding`, by `pooling`. A fixed batch and sequence give constant reshapes, symbolic ones the chains of
    Shape, Gather and Concat that exporters write.
    """
    encoder = _Encoder(
        config, weights, GraphBuilder(name, 17 if layer_norm == "op" else 14), batch, sequence, layer_norm
    )
    return encoder.build(pooling)


class _Encoder:
    def __init__(
        self,
        config: BertConfig,
        weights: Weights,
        graph: GraphBuilder,
        batch: Dim,
        sequence: Dim,
        layer_norm: LayerNormForm,
    ) -> None:
        self.config, self.weights, self.graph = config, weights, graph
        self.batch, self.sequence, self.layer_norm_form = batch, sequence, layer_norm
        self.input_ids, self.attention_mask, self.token_type_ids = (
            graph.input(name, [batch, sequence], TensorProto.INT64)
            for name in ("input_ids", "attention_mask", "token_type_ids")
        )

    def build(self, pooling: Pooling) -> onnx.ModelProto:
        bias = self.attention_bias()
        x = self.embeddings()
        for index in range(self.config.layers):
            x = self.layer(x, bias, f"encoder.layer.{index}")
        hidden = self.config.hidden
        pooled = self.pool_first(x) if pooling == "first" else self.pool_mean(x)
        self.graph.output(x, "last_hidden_state", [self.batch, self.sequence, hidden])
        self.graph.output(pooled, pooled, [self.batch, hidden])
        return self.graph.model()

    # The network

    def embeddings(self) -> str:
        g = self.graph
        words = g.node("Gather", [self.weight("embeddings.word_embeddings.weight"), self.input_ids], "words")
        types = g.node("Gather", [self.weight("embeddings.token_type_embeddings.weight"), self.token_type_ids], "types")
        places = g.node("Gather", [self.weight("embeddings.position_embeddings.weight"), self.position_ids()], "places")
        total = g.node("Add", [g.node("Add", [words, types], "words_types"), places], "embedded")
        return self.normalise(total, "embeddings.LayerNorm")

    def position_ids(self) -> str:
        g = self.graph
        every = g.constant("position_ids", np.arange(self.config.positions)[None])
        if isinstance(self.sequence, int):
            length = g.constant("sequence_length", np.array([self.sequence]))
        else:
            length = self.unsqueeze(self.dimension(self.input_ids, 1, "input_ids"), 0, "sequence_length")
        start, axis = g.constant("axis.0", np.array([0])), g.constant("axis.1", np.array([1]))
        return g.node("Slice", [every, start, length, axis], "positions")

    def attention_bias(self) -> str:
        """0 where a token may be seen, a large negative number where not; [batch,1,1,sequence]."""
        g = self.graph
        mask = self.unsqueeze(self.unsqueeze(self.attention_mask, 1, "mask.1"), 2, "mask.2")
        seen = g.node("Cast", [mask], "mask.float", to=TensorProto.FLOAT)
        unseen = g.node("Sub", [self.scalar(1.0), seen], "mask.inverted")
        return g.node("Mul", [unseen, self.scalar(-10000.0)], "mask.bias")

    def layer(self, x: str, bias: str, name: str) -> str:
        attended = self.linear(self.attention(x, bias, f"{name}.attention"), f"{name}.attention.output.dense")
        x = self.normalise(
            self.graph.node("Add", [attended, x], f"{name}.attention.residual"), f"{name}.attention.output.LayerNorm"
        )
        inner = self.gelu(self.linear(x, f"{name}.intermediate.dense"), f"{name}.gelu")
        outer = self.linear(inner, f"{name}.output.dense")
        return self.normalise(self.graph.node("Add", [outer, x], f"{name}.residual"), f"{name}.output.LayerNorm")

    def attention(self, x: str, bias: str, name: str) -> str:
        g, depth = self.graph, self.config.hidden // self.config.heads
        query = self.split_heads(self.linear(x, f"{name}.self.query"), [0, 2, 1, 3], f"{name}.query")
        key = self.split_heads(self.linear(x, f"{name}.self.key"), [0, 2, 3, 1], f"{name}.key")
        value = self.split_heads(self.linear(x, f"{name}.self.value"), [0, 2, 1, 3], f"{name}.value")
        scores = g.node("MatMul", [query, key], f"{name}.scores")
        scores = g.node("Div", [scores, self.scalar(float(np.sqrt(depth)))], f"{name}.scaled")
        share = g.node("Softmax", [g.node("Add", [scores, bias], f"{name}.masked")], f"{name}.softmax", axis=-1)
        mixed = g.node("MatMul", [share, value], f"{name}.mixed")
        together = g.node("Transpose", [mixed], f"{name}.together", perm=[0, 2, 1, 3])
        shape = self.shape_like(together, [self.config.hidden], f"{name}.merged")
        return g.node("Reshape", [together, shape], f"{name}.merged", allowzero=0)

    def split_heads(self, x: str, order: list[int], name: str) -> str:
        shape = self.shape_like(x, [self.config.heads, self.config.hidden // self.config.heads], name)
        split = self.graph.node("Reshape", [x, shape], f"{name}.split", allowzero=0)
        return self.graph.node("Transpose", [split], f"{name}.heads", perm=order)

    def pool_first(self, x: str) -> str:
        g = self.graph
        first = g.node("Gather", [x, g.constant("index.0", np.int64(0))], "first_token", axis=1)
        weight, bias = self.weight("pooler.dense.weight"), self.weight("pooler.dense.bias")
        return g.node("Tanh", [g.node("Gemm", [first, weight, bias], "pooler.dense", transB=1)], "pooler_output")

    def pool_mean(self, x: str) -> str:
        g, tokens = self.graph, self.graph.constant("axis.1", np.array([1]))
        seen = g.node("Cast", [self.unsqueeze(self.attention_mask, -1, "pool.mask")], "pool.seen", to=TensorProto.FLOAT)
        total = g.node("ReduceSum", [g.node("Mul", [x, seen], "pool.masked"), tokens], "pool.sum", keepdims=0)
        count = g.node("ReduceSum", [seen, tokens], "pool.count", keepdims=0)
        mean = g.node("Div", [total, g.node("Clip", [count, self.scalar(1e-9)], "pool.at_least")], "pool.mean")
        length = g.node("ReduceL2", [mean], "pool.length", axes=[1], keepdims=1)
        return g.node("Div", [mean, g.node("Clip", [length, self.scalar(1e-12)], "pool.divisor")], "sentence_embedding")

    # The pieces

    def linear(self, x: str, name: str) -> str:
        weight = self.graph.constant(f"{name}.weight", self.weights[f"{name}.weight"].T)
        product = self.graph.node("MatMul", [x, weight], f"{name}.matmul")
        return self.graph.node("Add", [self.weight(f"{name}.bias"), product], name)

    def gelu(self, x: str, name: str) -> str:
        g = self.graph
        error = g.node("Erf", [g.node("Div", [x, self.scalar(float(np.sqrt(2.0)))], f"{name}.div")], f"{name}.erf")
        gated = g.node("Mul", [x, g.node("Add", [error, self.scalar(1.0)], f"{name}.add")], f"{name}.mul")
        return g.node("Mul", [gated, self.scalar(0.5)], name)

    def normalise(self, x: str, name: str) -> str:
        g, scale, shift = self.graph, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        if self.layer_norm_form == "op":
            operands = [x, scale, shift]
            return g.node("LayerNormalization", operands, name, axis=-1, epsilon=self.config.epsilon)
        centred = g.node("Sub", [x, g.node("ReduceMean", [x], f"{name}.mean", axes=[-1])], f"{name}.centred")
        square = g.node("Pow", [centred, self.scalar(2.0)], f"{name}.square")
        variance = g.node("ReduceMean", [square], f"{name}.variance", axes=[-1])
        positive = g.node("Add", [variance, self.scalar(self.config.epsilon)], f"{name}.positive")
        unit = g.node("Div", [centred, g.node("Sqrt", [positive], f"{name}.deviation")], f"{name}.unit")
        return g.node("Add", [g.node("Mul", [unit, scale], f"{name}.scaled"), shift], name)

    def shape_like(self, x: str, tail: list[int], name: str) -> str:
        """The shape [batch, sequence, *tail] for a Reshape of `x` [batch, sequence, …]."""
        if isinstance(self.batch, int) and isinstance(self.sequence, int):
            sizes = [self.batch, self.sequence, *tail]
            return self.graph.constant("shape." + "x".join(map(str, sizes)), np.array(sizes))
        parts = [
            self.unsqueeze(self.dimension(x, 0, f"{name}.batch"), 0, f"{name}.batch.1"),
            self.unsqueeze(self.dimension(x, 1, f"{name}.sequence"), 0, f"{name}.sequence.1"),
            *(self.graph.constant(f"size.{size}", np.array([size])) for size in tail),
        ]
        return self.graph.node("Concat", parts, f"{name}.shape", axis=0)

    def dimension(self, x: str, axis: int, name: str) -> str:
        shape = self.graph.node("Shape", [x], f"{name}.shape_of")
        return self.graph.node("Gather", [shape, self.graph.constant(f"index.{axis}", np.int64(axis))], f"{name}.size")

    def unsqueeze(self, x: str, axis: int, name: str) -> str:
        return self.graph.node("Unsqueeze", [x, self.graph.constant(f"axis.{axis}", np.array([axis]))], name)

    def scalar(self, value: float) -> str:
        return self.graph.constant(f"scalar.{value:.9g}", np.float32(value))

    def weight(self, name: str) -> str:
        return self.graph.constant(name, self.weights[name])
