"""A run that repeats the shapes of the one before is one native call, with the same results and the same checks."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

import planish
from planish import _core

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
sums (float[N,4] a, int64[N,1] b, float[2] unused) => (float[N,4] c, float[N,4] d) {
  e = Cast<to=1>(b)
  c = Add(a, e)
  d = Mul(a, a)
}"""


def feed(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((rows, 4)).astype(np.float32)
    return {"a": a, "b": rng.integers(0, 9, (rows, 1)), "unused": np.zeros(2, np.float32)}


def check(session: planish.InferenceSession, given: dict[str, Any]) -> None:
    a, b = np.asarray(given["a"]), np.asarray(given["b"])
    c, d = session.run(None, given)
    np.testing.assert_array_equal(c, a + b.astype(np.float32))
    np.testing.assert_array_equal(d, a * a)


@pytest.fixture
def session() -> planish.InferenceSession:
    session = planish.InferenceSession(onnx.parser.parse_model(TEXT))
    session.run(None, feed(3))
    assert session._call is not None
    return session


def test_the_call_takes_feeds_like_the_latest(session: planish.InferenceSession) -> None:
    assert session._call is not None
    assert session._call(feed(3, 1)) is not None
    for seed in range(3):
        check(session, feed(3, seed))
    first, second = session.run(None, feed(3)), session.run(None, feed(3))
    assert not np.shares_memory(first[0], second[0])


def test_other_feeds_go_the_long_way(session: planish.InferenceSession) -> None:
    good = feed(3)
    others: list[Any] = [
        feed(5),
        {**good, "a": np.asfortranarray(good["a"])},
        {**good, "a": np.lib.stride_tricks.as_strided(good["a"], (3, 4), (0, 4))},
        {**good, "a": good["a"].view(np.memmap)},
        {**good, "b": good["b"].tolist()},
        {name: good[name] for name in reversed(good)},
    ]
    for given in others[:-1]:
        call = session._call
        assert call is not None
        assert call(given) is None
        check(session, given)
        session.run(None, good)
    check(session, others[-1])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"a": np.zeros((3, 4))}, "cast it"),
        ({"a": np.zeros((3, 5), np.float32)}, "reshape"),
        ({"x": 1}, "no such input"),
    ],
)
def test_wrong_feeds_are_errors_still(session: planish.InferenceSession, changed: Any, message: str) -> None:
    with pytest.raises(planish.InputError, match=message):
        session.run(None, {**feed(3), **changed})
    with pytest.raises(planish.InputError, match="missing"):
        session.run(None, {"a": feed(3)["a"]})


def test_errors_of_a_run_name_the_file(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    picks (float[4] x, int64[1] i) => (float[1] y) { y = Gather(x, i) }"""
    path = tmp_path / "picks.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    session = planish.InferenceSession(path)
    x = np.zeros(4, np.float32)
    for _ in range(2):  # the first goes the long way
        with pytest.raises(planish.PlanishError, match=r"picks\.onnx: .*an index lies outside the axis"):
            session.run(None, {"x": x, "i": np.array([4])})
        session.run(None, {"x": x, "i": np.array([3])})


def test_named_outputs(session: planish.InferenceSession) -> None:
    given = feed(3)
    (d,) = session.run(["d"], given)
    np.testing.assert_array_equal(d, given["a"] ** 2)


def test_a_description_that_does_not_fit_the_program_is_refused() -> None:
    program = _core.Program()
    f32 = _core.DTYPES.index("float32")
    view = [(program.input(0, 16), 0, f32, (4,), (4,)), (program.output(0, 16), 0, f32, (4,), (4,))]
    program.add("copy", "copy", view[:1], view[1:], {})
    program.finalize()
    good, small = (np.dtype(np.float32), (4,)), (np.dtype(np.float32), (3,))
    x = np.arange(4, dtype=np.float32)
    (y,) = _core.Call(program, [("x", *good, 0)], [good])({"x": x})  # type: ignore[misc]
    np.testing.assert_array_equal(y, x)
    for feeds, results in (
        ([("x", *small, 0)], [good]),
        ([("x", *good, 0)], [small]),
        ([("x", *good, 1)], [good]),
        ([("x", *good, -1)], [good]),
        ([("x", *good, 0)], []),
    ):
        with pytest.raises(planish.PlanishError, match="this is a bug"):
            _core.Call(program, feeds, results)


def test_threads_share_the_call(session: planish.InferenceSession) -> None:
    failures: list[BaseException] = []

    def work(rows: int) -> None:
        try:
            for seed in range(200):
                check(session, feed(rows, seed))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(rows,)) for rows in (3, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
