"""Sequences, optionals and strings: as graph inputs and outputs, and across the bodies of control flow."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import planish
from planish.errors import InputError, ModelError
from tests.lowering.harness import fallbacks, parse

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4)).astype(np.float32)
PARTS = [X[:2], X[2:5], X[5:]]


def run(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    session = planish.InferenceSession(model)
    assert not fallbacks(session)
    return session.run(None, feeds)


def equal(got: Any, want: Any) -> None:
    if isinstance(want, list):
        assert isinstance(got, list)
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            equal(g, w)
    else:
        np.testing.assert_array_equal(got, want)


def test_sequences_are_lists_of_arrays_at_the_graphs_boundary() -> None:
    model = parse(
        "y = SequenceInsert (s, x, at) n = SequenceLength (y)",
        "seq(float[a,4]) s, float[b,4] x, int64 at",
        "seq(float[c,4]) y, int64 n",
        17,
    )
    session = planish.InferenceSession(model)
    assert [i.type for i in session.get_inputs()] == ["seq(tensor(float))", "tensor(float)", "tensor(int64)"]
    equal(session.run(None, {"s": PARTS, "x": X, "at": np.array(-1)}), [[*PARTS[:2], X, PARTS[2]], 4])
    equal(session.run(None, {"s": [], "x": X, "at": np.array(0)}), [[X], 1])
    with pytest.raises(InputError, match=r"input 's': expected seq\(float32\), got ndarray; feed a list of arrays"):
        session.run(None, {"s": X, "x": X, "at": np.array(0)})
    with pytest.raises(InputError, match=r"input 's': expected seq\(float32\), got float64\[6, 4\]; cast it"):
        session.run(None, {"s": [X.astype(np.float64)], "x": X, "at": np.array(0)})


OPERATORS = {
    "construct_at": ("s = SequenceConstruct (x, z) y = SequenceAt (s, k)", {"k": np.int64(-1)}, 2 * X),
    "erase": ("s = SequenceConstruct (x, z, x) y = SequenceErase (s, k)", {"k": np.int64(0)}, [2 * X, X]),
    "erase_last": ("s = SequenceConstruct (x, z) y = SequenceErase (s)", {}, [X]),
    "insert_last": ("e = SequenceEmpty () y = SequenceInsert (e, x)", {}, [X]),
    "split": ("y = SplitToSequence (x)", {}, [X[i : i + 1] for i in range(6)]),
    "split_dropped": ("y = SplitToSequence <keepdims = 0, axis = 1> (x)", {}, [X[:, i] for i in range(4)]),
    "split_chunks": ("y = SplitToSequence (x, k)", {"k": np.int64(4)}, [X[:4], X[4:]]),
    "split_lengths": ("y = SplitToSequence (x, k)", {"k": np.int64([1, 0, 5])}, [X[:1], X[:0], X[1:]]),
    "concat": ("s = SplitToSequence (x, k) y = ConcatFromSequence <axis = 1> (s)", {"k": np.int64(3)}, np.hstack([X[:3], X[3:]])),
    "stack": ("s = SequenceConstruct (x, z) y = ConcatFromSequence <axis = -1, new_axis = 1> (s)", {}, np.stack([X, 2 * X], -1)),
    "optional": ("o = Optional (x) y = OptionalGetElement (o)", {}, X),
    "has_element": ("o = Optional (x) y = OptionalHasElement (o)", {}, True),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str) -> None:
    body, constants, expected = OPERATORS[name]
    kind = "seq(float)" if isinstance(expected, list) else "bool" if expected is True else "float"
    outputs = f"{kind} y"
    model = parse("z = Add (x, x) " + body, "float[n,m] x", outputs, 18, constants)
    equal(run(model, {"x": X}), [expected])


def test_positions_outside_a_sequence() -> None:
    model = parse("y = SequenceAt (s, k)", "seq(float) s, int64 k", "float y", 17)
    with pytest.raises(ModelError, match=r"\(SequenceAt, node 0\): position 3 of a sequence of 3; check the position"):
        planish.InferenceSession(model).run(None, {"s": PARTS, "k": np.array(3)})


def test_an_optional_that_is_empty() -> None:
    model = parse(
        "h = OptionalHasElement (o) y = If (h) <then_branch = t () => (float[n] a) { a = OptionalGetElement (o) }, "
        "else_branch = e () => (float[m] b) { b = Identity (x) }>",
        "optional(float[n]) o, float[m] x",
        "float[k] y",
        18,
    )
    session = planish.InferenceSession(model)
    assert session.get_inputs()[0].type == "optional(tensor(float))"
    equal(session.run(None, {"o": None, "x": X[0]}), [X[0]])
    equal(session.run(None, {"o": X[1], "x": X[0]}), [X[1]])


def test_a_sequence_is_the_state_of_a_loop() -> None:
    body = (
        "e = SequenceEmpty () y = Loop (n, , e) <body = b (int64 i, bool ci, seq(float[q,4]) s) => (bool co, seq(float[r,4]) s2) "
        "{ co = Identity (ci) p = SequenceAt (parts, i) d = Exp (p) s2 = SequenceInsert (s, d) }>"
    )
    model = parse(body, "int64 n, seq(float[k,4]) parts", "seq(float[l,4]) y", 17)
    (got,) = run(model, {"n": np.array(3), "parts": PARTS})
    assert [g.shape for g in got] == [p.shape for p in PARTS]
    np.testing.assert_allclose(np.concatenate(got), np.exp(X), rtol=1e-6)


GROWING = (
    "e = SequenceEmpty () y = Loop (n, , e) <body = b (int64 i, bool ci, seq(float[q]) s) => (bool co, seq(float[r]) s2) "
    "{ co = Identity (ci) d = Exp (x) s2 = SequenceInsert (s, d) }>"
)


@pytest.mark.parametrize(
    ("body", "inputs", "length"),
    [
        (GROWING, "int64 n, float[k] x", 1000),
        (GROWING, "int64 n, float[k] x", 0),
        ("y = SequenceMap (s) <body = b (float[q] p) => (float[t] r) { r = Expand (p, x) }>",
         "seq(float[k]) s, int64[1] x", 0),
    ],
)  # fmt: skip
def test_the_bytes_of_a_sequence_are_bounded(body: str, inputs: str, length: int) -> None:
    """Those of empty arrays too."""
    feeds = {"n": np.array(2**62), "x": np.ones(length, np.float32)}
    if "seq" in inputs:
        feeds = {"s": [np.ones(1, np.float32)] * 100, "x": np.array([1000])}
    session = planish.InferenceSession(
        parse(body, inputs, "seq(float[l]) y", 17), planish.SessionOptions(byte_budget=100_000)
    )
    message = r"Sequence(Insert|Map)\)?.*: a sequence of \d+ bytes: exceeds the budget of 100000 bytes; raise SessionOptions\."
    with pytest.raises(ModelError, match=message) as error:
        session.run(None, feeds)
    assert "\n" not in str(error.value)


def test_a_branch_chooses_a_sequence() -> None:
    body = (
        "y = If (p) <then_branch = t () => (seq(float[a,4]) u) { u = SequenceConstruct (x, x) }, "
        "else_branch = e () => (seq(float[b,4]) v) { v = Identity (s) }>"
    )
    model = parse(body, "bool p, float[n,4] x, seq(float[m,4]) s", "seq(float[k,4]) y", 17)
    equal(run(model, {"p": np.array(True), "x": X, "s": PARTS}), [[X, X]])
    equal(run(model, {"p": np.array(False), "x": X, "s": PARTS}), [PARTS])


def test_sequence_map_runs_its_body_on_every_element() -> None:
    body = (
        "h = Abs (w) y, n = SequenceMap (s, x) <body = b (float[a,4] p, float[c,4] q) => (float[a,4] r, int64[2] d) "
        "{ e = MatMul (p, h) r = Add (e, q) d = Shape (p) }>"
    )
    model = parse(body, "seq(float[k,4]) s, float[1,4] x, float[4,4] w", "seq(float[l,4]) y, seq(int64[2]) n", 17)
    got, sizes = run(model, {"s": PARTS, "x": X[:1], "w": X[:4]})
    for g, p in zip(got, PARTS, strict=True):
        np.testing.assert_allclose(g, p @ np.abs(X[:4]) + X[:1], rtol=1e-5)
    equal(sizes, [np.array(p.shape) for p in PARTS])


def test_strings_cross_branches() -> None:
    body = (
        "y = If (p) <then_branch = t () => (string[a] u) { u = StringConcat (s, s) }, "
        "else_branch = e () => (string[b] v) { v = Identity (s) }>"
    )
    session = planish.InferenceSession(parse(body, "bool p, string[n] s", "string[k] y", 20))
    s = np.array(["a", "bc"], object)
    equal(session.run(None, {"p": np.array(True), "s": s}), [np.array(["aa", "bcbc"], object)])
    equal(session.run(None, {"p": np.array(False), "s": s}), [s])


def test_plans_hold_sequences(tmp_path: Any) -> None:
    model = parse(
        "p = SplitToSequence (x, k) y = SequenceAt (p, at)",
        "float[n,4] x, int64 at",
        "float[m,4] y",
        17,
        {"k": np.int64(2)},
    )
    planish.export(model, tmp_path / "s.plan")
    equal(planish.InferenceSession(tmp_path / "s.plan").run(None, {"x": X, "at": np.array(1)}), [X[2:4]])


def test_elements_of_different_types_are_not_taken_for_one_another() -> None:
    model = parse(
        "k = Cast <to = 7> (x) s = SequenceConstruct (x, k, x) "
        "y = SequenceMap (s) <body = b (float[a,4] e) => (float[a,4] r) { r = Abs (e) }>",
        "float[b,4] x",
        "seq(float[c,4]) y",
        17,
    )
    (y,) = planish.InferenceSession(model).run(None, {"x": X})
    assert [e.dtype for e in y] == [np.float32, np.int64, np.float32]
    equal(y, [np.abs(X), np.abs(X.astype(np.int64)), np.abs(X)])


def test_sequences_belong_to_the_caller() -> None:
    model = parse("y = SequenceConstruct (x, k, x)", "float[b,4] x", "seq(float[c,4]) y", 17, {"k": X[:1]})
    session = planish.InferenceSession(model)
    fed = X.copy()
    (y,) = session.run(None, {"x": fed})
    for element in y:
        element += 1
    equal(fed, X)
    equal(y, [X + 1, X[:1] + 1, X + 1])
    equal(session.run(None, {"x": fed}), [[X, X[:1], X]])


def test_foreign_byte_order_in_a_sequence() -> None:
    model = parse("y = SequenceAt (s, at)", "seq(float[a,4]) s, int64 at", "float[c,4] y", 17)
    with pytest.raises(InputError, match=r"input 's': the array's byte order is foreign; .*astype\('float32'\)"):
        planish.InferenceSession(model).run(None, {"s": [X.astype(">f4")], "at": np.array(0)})


def test_parts_whose_sum_overflows() -> None:
    model = parse("y = SplitToSequence (x, parts)", "float[6,4] x, int64[n] parts", "seq(float[a,4]) y", 17)
    session = planish.InferenceSession(model)
    for parts in ([2**62] * 4 + [6], [2**63 - 1, 2**63 - 1, 8], [-1, 7]):
        with pytest.raises(ModelError, match="make the parts add up"):
            session.run(None, {"x": X, "parts": np.array(parts)})
    equal(session.run(None, {"x": X, "parts": np.array([2, 3, 1])}), [PARTS])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y = SequenceAt (x, k)", "no sequence is given"),
        (
            "s = SequenceConstruct (x) y = If (s) <then_branch = t () => (float[a] p) { p = Abs (x) }, "
            "else_branch = e () => (float[b] q) { q = Neg (x) }>",
            "a sequence where a tensor decides",
        ),
    ],
)
def test_tensors_and_sequences_in_each_others_place(body: str, message: str) -> None:
    model = parse(body, "float[n] x", "float[m] y", 17, {"k": np.int64(0)})
    with pytest.raises(ModelError, match=message):
        planish.InferenceSession(model).run(None, {"x": X[0]})
