"""Loop and Scan, whose bodies run as Programs of their own: captured values, nesting, no iterations, growing states."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import onnx
import pytest

import planish
from planish.errors import ModelError
from planish.runtime import executor
from tests.lowering.harness import assert_close, by_onnxruntime, native, parse

pytest.importorskip("onnxruntime")
Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4)).astype(np.float32)
W = RNG.standard_normal((4, 4)).astype(np.float32) / 4

ACCUMULATE = (
    "y, ys = Loop (n, c, x) <body = b (int64 i, bool ci, float[3,4] h) => (bool co, float[3,4] h2, float[3,4] s) "
    "{ co = Identity (ci) p = MatMul (h, k) h2 = Tanh (p) s = Add (h2, outer) }>"
)


@pytest.mark.parametrize("weights", ["constant", "computed"])
def test_loop_with_captured_values(weights: str) -> None:
    body = "outer = Abs (x) " + ("k = Neg (w) " if weights == "computed" else "") + ACCUMULATE
    constants = {"w" if weights == "computed" else "k": W}
    model = parse(body, "int64 n, bool c, float[3,4] x", "float[3,4] y, float[m,3,4] ys", 17, constants)
    feeds = [{"n": np.array(n), "c": np.array(c), "x": X} for n, c in ((3, True), (0, True), (4, False), (1, True))]
    native(model, *feeds, reference=by_onnxruntime)


def test_trip_count_that_depends_on_data() -> None:
    body = (
        "y, count = Loop (, c, x, zero) <body = b (int64 i, bool ci, float[3,4] h, int64 t) => (bool co, float[3,4] h2, int64 t2)"
        " { h2 = Mul (h, half) a = Abs (h2) m = ReduceMax <keepdims = 0> (a) co = Greater (m, limit) t2 = Add (t, one) }>"
    )
    constants = {"zero": np.int64(0), "one": np.int64(1), "half": np.float32(0.5), "limit": np.float32(0.1)}
    model = parse(body, "bool c, float[3,4] x", "float[3,4] y, int64 count", 17, constants)
    native(model, *({"c": np.array(True), "x": X * f} for f in (1, 8, 100)), reference=by_onnxruntime)


def test_a_state_that_grows_and_a_slice_by_iteration() -> None:
    body = (
        "y = Loop (n, , x) <body = b (int64 i, bool ci, float[r,4] h) => (bool co, float[q,4] h2) { co = Identity (ci)"
        " u = Unsqueeze (i, axes) v = Add (u, one) s = Slice (x, u, v, axes) e = Exp (s) h2 = Concat <axis = 0> (h, e) }>"
    )
    constants = {"one": np.array([1]), "axes": np.array([0])}
    model = parse(body, "int64 n, float[3,4] x", "float[k,4] y", 17, constants)
    native(model, *({"n": np.array(n), "x": X} for n in (0, 1, 3, 2)), reference=by_onnxruntime)


def test_nested_loops_and_branches() -> None:
    inner = (
        "g = Loop (i, , h) <body = b2 (int64 j, bool d, float[3,4] s) => (bool e, float[3,4] s2) "
        "{ e = Identity (d) f = Cast <to = 1> (i) t = Add (s, outer) s2 = Mul (t, f) }>"
    )
    branch = (
        "h2 = If (odd) <then_branch = t () => (float[3,4] a) { a = Relu (g) }, "
        "else_branch = e () => (float[3,4] z) { z = Sub (g, x) }>"
    )
    body = (
        "outer = Abs (x) y, s = Loop (n, , x) <body = b (int64 i, bool ci, float[3,4] h) => (bool co, float[3,4] h2, "
        f"float[3,4] g) {{ co = Identity (ci) m = Mod (i, two) odd = Equal (m, one) {inner} {branch} }}>"
    )
    constants = {"one": np.int64(1), "two": np.int64(2)}
    model = parse(body, "int64 n, float[3,4] x", "float[3,4] y, float[k,3,4] s", 17, constants)
    native(model, *({"n": np.array(n), "x": X} for n in (0, 1, 4)), reference=by_onnxruntime)


def test_a_loop_inside_a_branch() -> None:
    body = (
        "s = ReduceSum <keepdims = 0> (x) p = Greater (s, zero) y = If (p) <then_branch = t () => (float[3,4] a) "
        "{ a = Loop (n, , x) <body = b (int64 i, bool ci, float[3,4] h) => (bool co, float[3,4] h2) "
        "{ co = Identity (ci) h2 = Add (h, x) }> }, else_branch = e () => (float[3,4] z) { z = Neg (x) }>"
    )
    model = parse(body, "int64 n, float[3,4] x", "float[3,4] y", 17, {"zero": np.float32(0)})
    native(model, *({"n": np.array(2), "x": f * np.abs(X)} for f in (1, -1)), reference=by_onnxruntime)


def test_quantized_layers_inside_a_body() -> None:
    body = (
        "q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) y = Loop (n, , x) <body = b (int64 i, bool ci, float[3,4] h)"
        " => (bool co, float[3,4] h2) { co = Identity (ci) wd = DequantizeLinear (w, s, zw) a = QuantizeLinear (h, s, z)"
        " c = DequantizeLinear (a, s, z) m = MatMul (c, wd) e = Add (m, d) h2 = Relu (e) }>"
    )
    constants = {
        "s": np.float32(0.05),
        "z": np.uint8(100),
        "zw": np.int8(0),
        "w": RNG.integers(-9, 9, (4, 4)).astype(np.int8),
    }
    model = parse(body, "int64 n, float[3,4] x", "float[3,4] y", 17, constants)
    native(model, {"n": np.array(3), "x": X}, reference=by_onnxruntime)


SCAN = (
    "y, ys, zs = Scan <num_scan_inputs = 2{}, body = b (float[4] h, float[4] u, float[4] v) => (float[4] h2, float[4] s, float[4] t)"
    " {{ p = Add (h, u) h2 = Mul (p, outer) s = Sub (h2, v) t = Identity (u) }}> (h0, a, b)"
)


@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("axes", ["first", "second", "last"])
def test_scan_along_axes_and_in_directions(axes: str, direction: int) -> None:
    axis = {"first": 0, "second": 1, "last": -1}[axes]
    attrs = (
        f", scan_input_axes = [{axis}, 0], scan_output_axes = [0, {axis}], "
        f"scan_input_directions = [{direction}, 0], scan_output_directions = [{direction}, {1 - direction}]"
    )
    model = parse(
        "outer = Abs (h0) " + SCAN.format(attrs),
        "float[4] h0, float[j,k] a, float[l,4] b",
        "float[4] y, float[m,n] ys, float[o,q] zs",
        17,
    )
    for length in (5, 1):
        a = RNG.standard_normal((length, 4)).astype(np.float32)
        feeds = {
            "h0": X[0],
            "a": a if axis == 0 else a.T.copy(),
            "b": RNG.standard_normal((length, 4)).astype(np.float32),
        }
        native(model, feeds, reference=by_onnxruntime)


def test_scan_of_no_elements() -> None:
    model = parse(
        "outer = Abs (h0) " + SCAN.format(""),
        "float[4] h0, float[j,4] a, float[l,4] b",
        "float[4] y, float[m,4] ys, float[o,4] zs",
        17,
    )
    empty = np.zeros((0, 4), np.float32)
    y, ys, zs = planish.InferenceSession(model).run(None, {"h0": X[0], "a": empty, "b": empty})
    np.testing.assert_array_equal(y, X[0])
    assert (ys.shape, ys.dtype, zs.shape) == ((0, 4), np.float32, (0, 4))


def test_an_iteration_runs_what_is_cached() -> None:
    body = "outer = Abs (x) " + ACCUMULATE
    model = parse(body, "int64 n, bool c, float[3,4] x", "float[3,4] y, float[m,3,4] ys", 17, {"k": W})
    session = planish.InferenceSession(model)
    session.run(None, {"n": np.array(100), "c": np.array(True), "x": X})
    (loop,) = session.executor._bodies.values()
    assert len(loop._cache) == 1


def test_states_that_grow_find_their_programs_again() -> None:
    body = (
        "y = Loop (n, , x) <body = b (int64 i, bool ci, float[r,4] h) => (bool co, float[q,4] h2) { co = Identity (ci)"
        " e = Exp (x) h2 = Concat <axis = 0> (h, e) }>"
    )
    session = planish.InferenceSession(parse(body, "int64 n, float[1,4] x", "float[k,4] y", 17))
    feeds = {"n": np.array(executor.CACHE_SIZE + 20), "x": X[:1]}
    session.run(None, feeds)
    (loop,) = session.executor._bodies.values()
    programs = list(loop._cache.values())
    (y,) = session.run(None, feeds)
    assert list(loop._cache.values()) == programs
    assert len(programs) == executor.CACHE_SIZE + 20
    np.testing.assert_allclose(y[1:], np.broadcast_to(np.exp(X[:1]), y[1:].shape), rtol=1e-6)


def test_growing_states_are_forgotten_where_their_arenas_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "BODY_ARENA_BYTES", 1)
    body = (
        "y = Loop (n, , x) <body = b (int64 i, bool ci, float[r,4] h) => (bool co, float[q,4] h2) { co = Identity (ci)"
        " e = Exp (x) f = Abs (e) g = Neg (f) h2 = Concat <axis = 0> (h, g) }>"
    )
    session = planish.InferenceSession(parse(body, "int64 n, float[1,4] x", "float[k,4] y", 17))
    session.run(None, {"n": np.array(executor.CACHE_SIZE + 20), "x": X[:1]})
    (loop,) = session.executor._bodies.values()
    assert len(loop._cache) == executor.CACHE_SIZE
    assert loop._arena_bytes == sum(segment.program.arena_bytes for segment in loop._cache.values())


def test_errors_name_the_loop_the_iteration_and_the_node() -> None:
    body = (
        "y = Loop (n, , x) <body = b (int64 i, bool ci, float[r,q] h) => (bool co, float[s,t] h2) { co = Identity (ci)"
        " h1 = Concat <axis = 0> (h, h) h2 = MatMul (h1, k) }>"
    )
    model = parse(body, "int64 n, float[a,b] x", "float[c,d] y", 17, {"k": W})
    model.graph.node[0].name = "outer_loop"
    model.graph.node[0].attribute[0].g.node[2].name = "inner_product"
    with pytest.raises(
        ModelError, match=r"'outer_loop' \(Loop, node 0\), iteration 0: node 'inner_product' \(MatMul, node 2\)"
    ):
        planish.InferenceSession(model).run(None, {"n": np.array(2), "x": X[:, :3]})


def test_scan_outputs_that_do_not_stack() -> None:
    body = (
        "y, ys = Loop (n, , x) <body = b (int64 i, bool ci, float[r,4] h) => (bool co, float[s,4] h2, float[t,4] p) "
        "{ co = Identity (ci) h2 = Concat <axis = 0> (h, h) p = Exp (h2) }>"
    )
    session = planish.InferenceSession(parse(body, "int64 n, float[3,4] x", "float[c,4] y, float[d,e,4] ys", 17))
    with pytest.raises(ModelError, match=r"scan output 'p': iterations give float32\[6, 4\] and float32\[12, 4\]"):
        session.run(None, {"n": np.array(2), "x": X})


def test_scan_outputs_stay_within_the_budget() -> None:
    options = planish.SessionOptions()
    options.byte_budget = 1000
    body = "outer = Abs (x) " + ACCUMULATE
    model = parse(body, "int64 n, bool c, float[3,4] x", "float[3,4] y, float[m,3,4] ys", 17, {"k": W})
    session = planish.InferenceSession(model, options)
    with pytest.raises(ModelError, match=r"scan output 's': its pieces exceed 1000 bytes"):
        session.run(None, {"n": np.array(100), "c": np.array(True), "x": X})


def test_empty_pieces_count_too() -> None:
    options = planish.SessionOptions()
    options.byte_budget = 100_000
    body = (
        "y, ys = Loop (n, , x) <body = b (int64 i, bool ci, float[a,4] h) => (bool co, float[a,4] h2, float[a,4] s) "
        "{ co = Identity (ci) h2 = Abs (h) s = Neg (h) }>"
    )
    session = planish.InferenceSession(
        parse(body, "int64 n, float[a,4] x", "float[a,4] y, float[m,a,4] ys", 17), options
    )
    with pytest.raises(ModelError, match=r"scan output 's': its pieces exceed 100000 bytes"):
        session.run(None, {"n": np.array(2**62), "x": X[:0]})


ENDLESS = (
    "y = Loop (n, , x) <body = b (int64 i, bool ci, float[a,4] h) => (bool co, float[c,4] h2) "
    "{ co = Identity (ci) h2 = Neg (h) }>"
)
NESTED = (
    "y = Loop (n, , x) <body = b (int64 i, bool ci, float[a,4] h) => (bool co, float[c,4] h2) { co = Identity (ci) "
    "h2 = Loop (n, , h) <body = d (int64 j, bool cj, float[p,4] g) => (bool cp, float[q,4] g2) "
    "{ cp = Identity (cj) g2 = MatMul (g, k) }> }>"
)
LENGTHENING = ENDLESS.replace("Neg (h)", "Concat <axis = 0> (h, x)")


@pytest.mark.parametrize(
    ("body", "count", "enough"),
    [(ENDLESS, 500, 1 << 30), (NESTED, 20, 1 << 30), (LENGTHENING, 10, 1 << 30)],
    ids=["endless", "nested", "lengthening"],
)
def test_the_loops_of_a_run_are_bounded(body: str, count: int, enough: int) -> None:
    """Together, however they are nested; every iteration counts, and so does making a Program for new shapes."""
    constants = {"k": np.eye(4, dtype=np.float32)} if "(g, k)" in body else {}
    model = parse(body, "int64 n, float[3,4] x", "float[m,4] y", 17, constants)
    session = planish.InferenceSession(model, planish.SessionOptions(loop_budget=enough))
    session.run(None, {"n": np.array(count), "x": X})
    with pytest.raises(ModelError, match=r"Loop.*, iteration \d+: .*the loops of a run exceed the budget of 1\.1e\+09"):
        session.run(None, {"n": np.array(2**62), "x": X})
    session.run(None, {"n": np.array(count), "x": X})


def test_a_loop_without_end_is_interrupted() -> None:
    """By Ctrl-C, here an alarm that is handled as it is."""
    session = planish.InferenceSession(parse(ENDLESS, "int64 n, float[3,4] x", "float[m,4] y", 17))
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            session.run(None, {"n": np.array(2**62), "x": X})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float64])
def test_a_state_that_changes_its_type(kind: type) -> None:
    body = (
        "y = Loop (n, , x) <body = b (int64 i, bool ci, float[3,4] h) => (bool co, float[3,4] h2) "
        f"{{ co = Identity (ci) h2 = Cast <to = {onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))}> (h) }}>"
    )
    model = parse(body, "int64 n, float[3,4] x", "float[3,4] y", 17)
    x = np.abs(4 * X)
    (y,) = planish.InferenceSession(model).run(None, {"n": np.array(3), "x": x})
    np.testing.assert_array_equal(y, x.astype(kind))


def test_plans_hold_loops(tmp_path: Any) -> None:
    body = "outer = Abs (x) " + ACCUMULATE
    model = parse(body, "int64 n, bool c, float[3,4] x", "float[3,4] y, float[m,3,4] ys", 17, {"k": W})
    path = tmp_path / "loop.plan"
    planish.export(model, path)
    feeds = {"n": np.array(3), "c": np.array(True), "x": X}
    expected = planish.InferenceSession(model).run(None, feeds)
    assert_close(planish.InferenceSession(path).run(None, feeds), expected, 0)


@pytest.mark.parametrize("kind", ["loop", "if"])
def test_a_body_alone_quantizes_an_outer_layer(kind: str) -> None:
    """The layer gives bytes where its only consumer, inside a body, quantizes."""
    layer = "q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) wd = DequantizeLinear (w, s, zw) m = MatMul (d, wd) "
    inside = "r = Relu (m) a = QuantizeLinear (r, s, z) c = DequantizeLinear (a, s, z) "
    if kind == "loop":
        body = (
            "y = Loop (n, , x) <body = b (int64 i, bool ci, float[3,4] h) => (bool co, float[3,4] h2) "
            f"{{ co = Identity (ci) {inside} h2 = Add (h, c) }}>"
        )
    else:
        body = (
            f"y = If (p) <then_branch = t () => (float[3,4] u) {{ {inside} u = Neg (c) }}, "
            "else_branch = e () => (float[3,4] v) { v = Identity (x) }>"
        )
    constants = {"s": np.float32(0.05), "z": np.uint8(100), "zw": np.int8(0), "w": (W * 40).astype(np.int8)}
    fed = {"n": np.array(2)} if kind == "loop" else {"p": np.array(True)}
    model = parse(
        layer + body, ("int64 n" if kind == "loop" else "bool p") + ", float[3,4] x", "float[3,4] y", 17, constants
    )
    native(model, {**fed, "x": X}, reference=by_onnxruntime)
