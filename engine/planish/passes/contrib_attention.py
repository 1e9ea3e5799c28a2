"""Attention and MultiHeadAttention of com.microsoft, in standard operators.

softmax(scale · Q Kᵀ + masks) V for every head. A rule returns False where it declines a form: rotary embeddings, packed
keys and values, buffers shared between past and present, masks of unknown form.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir

from planish.passes.chain import Chain
from planish.passes.patterns import dims_of, output_at, rank_of

Rule = Callable[[onnx_ir.Node], bool]
Value = onnx_ir.Value
_INT64 = onnx_ir.DataType.INT64
_BOOL = onnx_ir.DataType.BOOL


def _attention(node: onnx_ir.Node) -> bool:
    """Q, K and V are one product of x [B, S, D] with weights [D, 3·hidden]."""
    inputs = [*node.inputs, *[None] * (7 - len(node.inputs))]
    x, weights, bias, mask, past, addend, shared = inputs[:7]
    heads, dims = node.attributes["num_heads"].as_int(), dims_of(weights)
    if (
        x is None
        or dims is None
        or dims[1] is None
        or shared is not None
        or node.attributes.get_int("do_rotary", 0) != 0
    ):
        return False
    sizes = list(node.attributes.get_ints("qkv_hidden_sizes", ())) or [dims[1] // 3] * 3
    if sum(sizes) != dims[1] or sizes[0] != sizes[1] or any(n % heads for n in sizes):
        return False
    kept = None if mask is None else _mask_kind(mask, x)
    if (mask is not None and kept is None) or (past is not None and sizes[1] != sizes[2]):
        return False
    if output_at(node, 1) is not None and sizes[1] != sizes[2]:
        return False
    c = Chain(node)
    joined = c.op("MatMul", x, weights)
    if bias is not None:
        joined = c.op("Add", joined, bias)
    q, k, v = (_by_head(c, part, heads) for part in c.split(joined, sizes, -1))
    if past is not None:
        before = (c.op("Gather", past, c.constant(np.array(i, np.int64), "part"), axis=0) for i in (0, 1))
        k, v = (c.op("Concat", old, new, axis=2) for old, new in zip(before, (k, v), strict=True))
    terms = [addend]
    if mask is not None and kept is not None:
        terms.append(_blocked(c, kept(c, mask, k), q))
    y = _attend(c, q, k, v, _scale(node, sizes[0] // heads), terms)
    present = None
    if output_at(node, 1) is not None:
        present = c.op("Concat", *(c.op("Unsqueeze", part, c.ints(0)) for part in (k, v)), axis=0)
    return c.finish(y, present)


def _multi_head_attention(node: onnx_ir.Node) -> bool:
    """Q [B, S, D], K and V [B, L, D] or, from an encoder, [B, heads, L, size]."""
    inputs = [*node.inputs, *[None] * (10 - len(node.inputs))]
    query, key, value, bias, mask, addend, past_k, past_v = inputs[:8]
    heads, dims = node.attributes["num_heads"].as_int(), dims_of(query)
    if query is None or key is None or value is None or inputs[8] is not None or inputs[9] is not None:
        return False
    if dims is None or len(dims) != 3 or dims[2] is None or dims[2] % heads or output_at(node, 3) is not None:
        return False
    ranks = {rank_of(key), rank_of(value)}
    value_size = dims_of(value)
    if ranks not in ({3}, {4}) or value_size is None or (bias is not None and (ranks != {3} or value_size[-1] is None)):
        return False
    kept = None if mask is None else _mask_kind(mask, query)
    if mask is not None and (kept is None or kept is _ends_and_starts):
        return False
    c = Chain(node)
    if bias is not None:
        shifts = c.split(bias, [dims[2], dims[2], value_size[-1] or 0], 0)
        query, key, value = (c.op("Add", v, s) for v, s in zip((query, key, value), shifts, strict=True))
    q = _by_head(c, query, heads)
    k, v = (_by_head(c, t, heads) if ranks == {3} else t for t in (key, value))
    if past_k is not None and past_v is not None:
        k, v = c.op("Concat", past_k, k, axis=2), c.op("Concat", past_v, v, axis=2)
    terms = [addend]
    if mask is not None and kept is not None:
        terms.append(_blocked(c, kept(c, mask, k), q))
    y = _attend(c, q, k, v, _scale(node, dims[2] // heads), terms)
    present = [t if output_at(node, i) is not None else None for i, t in ((1, k), (2, v))]
    return c.finish(y, *present)


# -- parts -------------------------------------------------------------------------------------------------------------


def _by_head(c: Chain, x: Value, heads: int) -> Value:
    """[B, S, D] → [B, heads, S, D / heads]"""
    return c.op("Transpose", c.op("Reshape", x, c.ints(0, 0, heads, -1)), perm=[0, 2, 1, 3])


def _scale(node: onnx_ir.Node, size: int) -> float:
    return node.attributes.get_float("scale", 0.0) or 1 / float(np.sqrt(size))


def _attend(c: Chain, q: Value, k: Value, v: Value, scale: float, terms: list[Value | None]) -> Value:
    """The attention of every head, joined again: [B, S, D]."""
    scores = c.op("MatMul", c.op("Mul", q, c.like(scale, q)), c.op("Transpose", k, perm=[0, 1, 3, 2]))
    if c.node.attributes.get_int("unidirectional", 0):
        terms = [*terms, _blocked(c, _causal(c, q, k), q)]
    for term in terms:
        if term is not None:
            scores = c.op("Add", scores, term)
    merged = c.op("Transpose", c.op("MatMul", c.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    return c.op("Reshape", merged, c.ints(0, 0, -1))


def _blocked(c: Chain, kept: Value, like: Value) -> Value:
    """0 where a position is kept, else the number that makes its share nothing."""
    return c.op("Where", kept, c.like(0, like), c.like(_filter_value(c.node), like), dtype=like.dtype)


def _filter_value(node: onnx_ir.Node) -> float:
    return node.attributes.get_float("mask_filter_value", -10000.0)


def _positions(c: Chain, x: Value) -> Value:
    """0, 1, … along axis 2 of x."""
    zero, one = (c.constant(np.array(n, np.int64), "number") for n in (0, 1))
    return c.op("Range", zero, c.op("Squeeze", c.op("Shape", x, start=2, end=3, dtype=_INT64)), one)


def _causal(c: Chain, q: Value, k: Value) -> Value:
    """[S, T]: whether query i, of which T - S came before, sees key j."""
    lengths = (c.op("Shape", t, start=2, end=3, dtype=_INT64) for t in (k, q))
    rows = c.op("Add", _positions(c, q), c.op("Sub", *lengths))
    return c.op("GreaterOrEqual", c.op("Unsqueeze", rows, c.ints(1)), _positions(c, k), dtype=_BOOL)


Kept = Callable[[Chain, Value, Value], Value]


def _mask_kind(mask: Value, x: Value) -> Kept | None:
    """How a mask becomes booleans that broadcast to [B, heads, S, T]; None for a form without a rule."""
    rank = rank_of(mask)
    if rank in (2, 3):
        return _flags
    if mask.shape is None or x.shape is None or rank != 1:
        return None
    entries, batch = mask.shape[0], x.shape[0]
    if isinstance(entries, int) and isinstance(batch, int) and entries == 2 * batch:
        return _ends_and_starts
    return _lengths if entries == batch else None


def _flags(c: Chain, mask: Value, k: Value) -> Value:
    """[B, T] or [B, S, T] of 0 and 1."""
    axes = c.ints(1, 2) if rank_of(mask) == 2 else c.ints(1)
    return c.op("Unsqueeze", c.op("Cast", mask, to=int(_BOOL), dtype=_BOOL), axes)


def _lengths(c: Chain, mask: Value, k: Value) -> Value:
    """[B]: how many keys of each row count."""
    lengths = c.op("Unsqueeze", c.op("Cast", mask, to=int(_INT64), dtype=_INT64), c.ints(1, 2, 3))
    return c.op("Less", _positions(c, k), lengths, dtype=_BOOL)


def _ends_and_starts(c: Chain, mask: Value, k: Value) -> Value:
    """[2 B]: behind the last key of each row that counts, then the first ones."""
    dims = dims_of(mask)
    assert dims is not None and dims[0] is not None
    parts = c.split(c.op("Cast", mask, to=int(_INT64), dtype=_INT64), [dims[0] // 2] * 2, 0)
    ends, starts = (c.op("Unsqueeze", part, c.ints(1, 2, 3)) for part in parts)
    positions = _positions(c, k)
    inside = c.op("Less", positions, ends, dtype=_BOOL)
    return c.op("And", inside, c.op("GreaterOrEqual", positions, starts, dtype=_BOOL), dtype=_BOOL)


RULES: dict[str, Rule] = {"Attention": _attention, "MultiHeadAttention": _multi_head_attention}
