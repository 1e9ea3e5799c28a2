"""The session's contract: what it accepts and refuses; that runs are independent of each other and of threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnx.parser
import pytest

import planish
from planish import _core
from tests.lowering.harness import parse
from tests.lowering.quantized import Net

IMAGE = "float[n,3,32,32] x"


def convolution() -> planish.InferenceSession:
    w = np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32)
    return planish.InferenceSession(
        parse("c = Conv (x, W) y = Relu (c)", IMAGE, "float[n,8,h,w] y", constants={"W": w})
    )


def integer_network() -> tuple[object, dict[str, np.ndarray]]:
    """Convolution, depthwise, residual, pool and product, all in bytes, with two inputs that share a batch."""
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> str:
        return net.weights(rng.integers(-127, 128, shape).astype(np.int8), 0.00713, np.int8(0))

    net = Net()
    x = net.qdq(net.input("x", ["n", 3, "h", "w"]), 0.02017, np.uint8(120))
    a = net.qdq(net.op("Relu", net.op("Conv", x, weights(16, 3, 3, 3), pads=[1, 1, 1, 1])), 0.04019, np.uint8(0))
    b = net.qdq(net.op("Conv", a, weights(16, 1, 3, 3), group=16, pads=[1, 1, 1, 1]), 0.06131, np.uint8(131))
    c = net.qdq(
        net.op("Add", a, net.qdq(net.op("Conv", b, weights(16, 16, 1, 1)), 0.11713, np.int8(3))), 0.13, np.uint8(9)
    )
    p = net.qdq(net.op("GlobalAveragePool", net.op("MaxPool", c, kernel_shape=[2, 2])), 0.0917, np.uint8(5))
    y = net.op("MatMul", net.op("Flatten", p), weights(16, 10))
    net.output(net.qdq(y, 0.0931, np.uint8(120)), rank=2)
    return net.model(), {"x": rng.standard_normal((3, 3, 13, 11)).astype(np.float32)}


WRONG = {
    "missing": ({}, r"input 'x': missing; feed float32\[n,3,32,32\]"),
    "unknown": (
        {"x": np.zeros((1, 3, 32, 32), np.float32), "z": 1},
        r"input 'z': the model has no such input; it takes x",
    ),
    "double": ({"x": np.zeros((1, 3, 32, 32))}, r"expected float32\[n,3,32,32\], got float64\[1, 3, 32, 32\]; cast"),
    "integers": ({"x": [[1, 2]]}, r"got int64\[1, 2\]; cast"),
    "channels_last": ({"x": np.zeros((1, 32, 32, 3), np.float32)}, "transpose to NCHW"),
    "rank": ({"x": np.zeros((3, 32, 32), np.float32)}, "reshape it"),
    "byte_order": ({"x": np.zeros((1, 3, 32, 32), ">f4")}, "byte order"),
    "text": ({"x": "image.png"}, "got str"),
    "ragged": ({"x": [[1.0], [1.0, 2.0]]}, "input 'x'"),
    "nothing": ({"x": None}, "input 'x'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_are_one_line_errors(name):
    feeds, message = WRONG[name]
    session = convolution()
    session.run(None, {"x": np.zeros((1, 3, 32, 32), np.float32)})  # a signature that was accepted changes nothing
    with pytest.raises(planish.InputError, match=message) as error:
        session.run(None, feeds)
    assert "\n" not in str(error.value)


def test_unknown_output_names_the_choices():
    with pytest.raises(planish.InputError, match="output 'z': the model has no such output; choose from y"):
        convolution().run(["z"], {"x": np.zeros((1, 3, 32, 32), np.float32)})


def test_inputs_that_disagree_on_a_symbol():
    session = planish.InferenceSession(parse("y = Add (a, b)", "float[n,2] a, float[n,2] b", "float[n,2] y"))
    one, two = np.zeros((1, 2), np.float32), np.zeros((2, 2), np.float32)
    session.run(None, {"a": two, "b": two})
    with pytest.raises(planish.InputError, match="dimension 'n' is 2, but 1 in input 'a'"):
        session.run(None, {"a": one, "b": two})


def test_shapes_that_do_not_fit_name_the_node():
    session = planish.InferenceSession(parse("y = MatMul (a, b)", "float[n,m] a, float[k,l] b", "float[n,l] y"))
    with pytest.raises(planish.PlanishError, match="do not multiply") as error:
        session.run(None, {"a": np.zeros((2, 3), np.float32), "b": np.zeros((2, 3), np.float32)})
    assert "\n" not in str(error.value)


def test_indices_outside_are_an_error():
    x = np.arange(1, 4, dtype=np.float32)
    session = planish.InferenceSession(parse("y = Gather (x, i)", "float[n] x, int64[m] i", "float[m] y"))
    assert session.run(None, {"x": x, "i": np.int64([2, -3])})[0].tolist() == [3, 1]
    for bad in (3, -4, 2**62):
        with pytest.raises(planish.PlanishError, match=r"\(Gather, node 0\): an index lies outside the axis"):
            session.run(None, {"x": x, "i": np.int64([0, bad])})
    assert session.run(None, {"x": x, "i": np.int64([0])})[0].tolist() == [1]  # and the session lives on
    model = parse("y = Gather (x, i)", "float[n] x", "float[m] y", constants={"i": np.int64([0, 3])})
    with pytest.raises(planish.PlanishError, match="index 3 is outside axis 0 of size 3"):
        planish.InferenceSession(model).run(None, {"x": x})


def test_constant_indices_outside_do_not_hold_up_loading():
    """onnx.reference goes through as many choices as the largest index says."""
    model = parse("y = GatherElements<axis = -1> (k, k) z = Neg (x)", "float[n] x", "int64[2,1] y, float[n] z",
                  constants={"k": np.int64([[0], [1 << 47]])})  # fmt: skip
    with pytest.raises(planish.PlanishError, match="index"):
        planish.InferenceSession(model).run(None, {"x": np.ones(2, np.float32)})


def test_a_tensor_beyond_the_budget_is_an_error():
    model = parse("y = Expand (x, s)", "float[n] x, int64[k] s", "float[p,q] y")
    session = planish.InferenceSession(model, planish.SessionOptions(byte_budget=1 << 20))
    for shape in ([1 << 10, 1 << 10], [1 << 40, 1 << 40], [1 << 62, 4]):
        with pytest.raises(planish.PlanishError) as error:
            session.run(None, {"x": np.ones(1, np.float32), "s": np.int64(shape)})
        assert "\n" not in str(error.value)


def test_a_step_beyond_its_budget_is_an_error():
    """Little memory, endless work: a sum over a broadcast; and a product, for a budget of its own."""
    model = parse("e = Expand (x, s) y = ReduceSum<keepdims = 0> (e)", "float[n] x, int64[k] s", "float y")
    feeds = {"x": np.ones(1, np.float32), "s": np.int64([1 << 21, 1 << 21])}
    with pytest.raises(planish.PlanishError, match=r"operations exceed the budget of 1.1e\+12 a step; raise Session"):
        planish.InferenceSession(model).run(None, feeds)
    model = parse("y = MatMul (a, b)", "float[n,m] a, float[m,l] b", "float[n,l] y")
    a = np.ones((100, 100), np.float32)
    session = planish.InferenceSession(model, planish.SessionOptions(step_budget=999_999))
    with pytest.raises(planish.PlanishError, match=r"1e\+06 operations exceed the budget"):
        session.run(None, {"a": a, "b": a})
    session.run(None, {"a": a, "b": a[:, :99]})


#: Steps that do much more than touch their operands: body, outputs, constants; inputs are ones of these shapes.
INNER_WORK = {
    "fourier transform": ("y = DFT (x)", "float[a,b,2] y", {}, {"x": (1, 4096, 1)}),
    "cubic samples": (
        "y = GridSample <mode = 'cubic'> (x, g)", "float[a,b,c,d] y", {}, {"x": (1, 1, 20, 20), "g": (1, 20, 20, 2)},
    ),
    "deformable convolution": (
        "y = DeformConv (x, w, o)", "float[a,b,c,d] y", {"w": np.ones((1, 2, 3, 3), np.float32)},
        {"x": (1, 2, 22, 22), "o": (1, 18, 20, 20)},
    ),
    "cubic interpolation": (
        "y = Resize <mode = 'cubic'> (x, , , s)", "float[a,b,c,d] y", {"s": np.int64([1, 1, 40, 40])},
        {"x": (1, 1, 20, 20)},
    ),
    "samples of regions": (
        "y = RoiAlign <output_height = 1, output_width = 1> (x, r, i)", "float[a,b,c,d] y", {"i": np.int64([0])},
        {"x": (1, 1, 90, 90), "r": (1, 4)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INNER_WORK)
def test_inner_work_counts_in_the_budget_of_a_step(name):
    """The budget covers every operand, but not what is done to it."""
    body, outputs, constants, shapes = INNER_WORK[name]
    inputs = ", ".join(f"float[{','.join(f'{n}{i}' for i in range(len(s)))}] {n}" for n, s in shapes.items())
    model = parse(body.replace("'", '"'), inputs, outputs, 20, constants)
    feeds = {n: np.ones(s, np.float32) for n, s in shapes.items()}
    planish.InferenceSession(model).run(None, feeds)
    session = planish.InferenceSession(model, planish.SessionOptions(step_budget=9000))
    with pytest.raises(planish.PlanishError, match=r"operations exceed the budget of 9e\+03 a step"):
        session.run(None, feeds)


def test_sizes_of_an_empty_view_must_not_overflow():
    """Whatever a kernel combines them to, before it finds that there is nothing to do."""
    f32 = _core.DTYPES.index("float32")
    for shape, strides in (
        ([0, 2], [4, -(1 << 63)]),
        ([0, 1 << 40, 1 << 40], [4, 4, 4]),
        ([0, 1 << 40], [4, 1 << 40]),
        ([0, 1, 1], [4, (1 << 63) - 1, (1 << 63) - 1]),
    ):
        program = _core.Program(1)
        view = (program.arena(64), 0, f32, shape, strides)
        with pytest.raises(planish.PlanishError, match="overflows 64 bits"):
            program.add("step", "copy", [view], [view], {})


def test_the_memory_of_a_run_is_bounded():
    body = " ".join(f"y{i} = Expand (x, s)" for i in range(20))
    outputs = ", ".join(f"float[p{i}] y{i}" for i in range(20))
    options = planish.SessionOptions(byte_budget=1 << 20)
    session = planish.InferenceSession(parse(body, "float[n] x, int64[k] s", outputs), options)
    with pytest.raises(planish.PlanishError, match=r"a run of .* bytes: exceeds 8 times the budget"):
        session.run(None, {"x": np.ones(1, np.float32), "s": np.int64([1 << 18])})


def test_a_tile_of_many_repetitions_is_few_instructions():
    model = parse("y = Tile (x, r)", "float[a,b,c] x", "float[d,e,f] y", constants={"r": np.int64([30, 1, 40])})
    session = planish.InferenceSession(model)
    x = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], np.tile(x, (30, 1, 40)))
    segment = session.executor.first_segment({session.lowered.inputs[0].tensor: x})
    assert len(segment.program.steps) <= 3


def test_a_slice_of_an_endless_step():
    model = parse(
        "y = Slice (x, s, e, a, t) z = Slice (y, s, e, a, t)",
        "float[n,m] x",
        "float[k,m] y, float[l,m] z",
        constants={"s": np.int64([0]), "e": np.int64([9]), "a": np.int64([0]), "t": np.int64([1 << 51])},
    )
    x = np.ones((3, 2), np.float32)
    assert [r.shape for r in planish.InferenceSession(model).run(None, {"x": x})] == [(1, 2), (1, 2)]


def test_results_that_nobody_wants_are_no_results():
    """A step whose outputs are all left out, above one whose input is."""
    model = parse(
        "a, , c = LSTM<hidden_size = 2> (x, w, r) b = Clip (x, , h) y = Relu (b)",
        "float[t,n,3] x",
        "float[t,n,3] y",
        constants={"w": np.ones((1, 8, 3), np.float32), "r": np.ones((1, 8, 2), np.float32), "h": np.float32(1)},
    )
    (y,) = planish.InferenceSession(model).run(None, {"x": np.full((1, 1, 3), 2, np.float32)})
    assert y.tolist() == [[[1, 1, 1]]]


def test_nan_and_infinity_pass_through_float_and_are_defined_in_bytes():
    model = parse("y = Relu (x)", "float[n] x", "float[n] y")
    (y,) = planish.InferenceSession(model).run(None, {"x": np.float32([np.nan, np.inf, -np.inf, -1])})
    assert np.isnan(y[0])
    assert y[1:].tolist() == [np.inf, 0, 0]
    net = Net()
    net.output(net.q(net.input("x", ["n"]), 0.5, np.uint8(10)), np.uint8, rank=1)
    (y,) = planish.InferenceSession(net.model()).run(None, {"x": np.float32([np.nan, np.inf, -np.inf, 1e30, -1e30])})
    assert y.tolist() == [0, 255, 0, 255, 0]


def test_strided_and_read_only_inputs():
    session = convolution()
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    (expected,) = session.run(None, {"x": x})
    strided = np.asfortranarray(x)
    locked = x.copy()
    locked.flags.writeable = False
    for form in (strided, locked, x[::-1].copy()[::-1]):
        np.testing.assert_array_equal(session.run(None, {"x": form})[0], expected)


def test_integer_results_do_not_depend_on_isa_or_threads():
    model, feeds = integer_network()
    results = []
    try:
        for isa in _core.usable_isas():
            _core.set_isa(isa)
            for threads in (1, 2, 5):
                session = planish.InferenceSession(model, planish.SessionOptions(intra_op_num_threads=threads))
                results.append(session.run(None, feeds)[0])
    finally:
        _core.set_isa("")
    assert len(np.unique(results[0])) > 5
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_eight_threads_share_a_session():
    """Every thread feeds its own data at changing shapes, and gets what a lone run gives."""
    model, _ = integer_network()
    session = planish.InferenceSession(model, planish.SessionOptions(intra_op_num_threads=2))
    rng = np.random.default_rng(1)
    shapes = [(1, 3, 8, 8), (2, 3, 9, 7), (3, 3, 16, 5)]
    feeds = [rng.standard_normal(shapes[i % 3]).astype(np.float32) for i in range(24)]
    expected = [planish.InferenceSession(model).run(None, {"x": x})[0] for x in feeds]
    start = threading.Barrier(8)

    def work(first: int) -> None:
        start.wait()
        for i in range(60):
            at = (first * 3 + i) % len(feeds)
            np.testing.assert_array_equal(session.run(None, {"x": feeds[at]})[0], expected[at])

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, i) for i in range(8)]:
            done.result()


def test_signatures_are_bounded():
    from planish.runtime import executor

    session = planish.InferenceSession(parse("y = Relu (x)", "float[n] x", "float[n] y"))
    for n in [*range(executor.CACHE_SIZE + 20), 5, 5]:
        assert session.run(None, {"x": -np.ones(n, np.float32)})[0].tolist() == [0] * n
    assert len(session.executor._cache) == executor.CACHE_SIZE


def test_no_output_names_mean_all_outputs():
    session = planish.InferenceSession(parse("a = Relu (x) b = Neg (x)", "float[2] x", "float[2] a, float[2] b"))
    assert len(session.run([], {"x": np.ones(2, np.float32)})) == 2


def test_a_pool_makes_do_with_the_threads_the_system_grants():
    code = (
        "import resource, numpy as np\n"
        "from planish import _core\n"
        "x, y = np.ones((512, 512), np.float32), np.zeros((512, 512), np.float32)\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)\n"
        "program = _core.Program(threads=8)\n"
        "view = (x.shape, x.strides)\n"
        "a, b, f32 = program.input(0, x.nbytes), program.output(0, y.nbytes), _core.DTYPES.index('float32')\n"
        "program.add('copy', 'copy', [(a, 0, f32, *view)], [(b, 0, f32, *view)], {})\n"
        "program.finalize()\n"
        "program.run([x], [y])\n"
        "assert (x == y).all()\n"
    )
    environment = {**os.environ, "PLANISH_NUM_THREADS": "1024"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_fallback_steps_may_follow_one_another_without_end():
    """More than Python's frames: what a segment is found by does not nest."""
    shifts = ('"LEFT"', '"RIGHT"')
    body = " ".join(f"b{i} = BitShift <direction = {shifts[i % 2]}> (b{i - 1}, one)" for i in range(1, 1101))
    model = parse(body, "uint8[n] b0", "uint8[n] b1100", constants={"one": np.array([1], np.uint8)})
    x = np.array([2, 5, 255], np.uint8)
    (found,) = planish.InferenceSession(model).run(None, {"b0": x})
    np.testing.assert_array_equal(found, x & 0xFE)


DEFAULT = """<ir_version: 7, opset_import: ["" : 13]> g (float[n] x, float[2,2] w, float[2] b) => (float[n] y)
    { p = MatMul (x, w) y = Add (p, b) }"""


def with_defaults() -> onnx.ModelProto:
    model = onnx.parser.parse_model(DEFAULT)
    for name, value in (("w", np.eye(2)), ("b", np.ones(2))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value.astype(np.float32), name))
    return model


@pytest.mark.parametrize("form", ["proto", "bytes", "path"])
def test_default_values_may_be_overridden(form, tmp_path):
    model = with_defaults()
    path = tmp_path / "defaults.onnx"
    onnx.save(model, path)
    session = planish.InferenceSession({"proto": model, "bytes": model.SerializeToString(), "path": path}[form])
    assert [i.name for i in session.get_inputs()] == ["x"]
    assert [(i.name, i.shape, i.type) for i in session.get_overridable_initializers()] == [
        ("w", [2, 2], "tensor(float)"),
        ("b", [2], "tensor(float)"),
    ]
    x, w, b = (np.array(v, np.float32) for v in ([1, 2], [[0, 3], [1, 0]], [5, 7]))
    for _ in range(2):
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], x + 1)
        np.testing.assert_array_equal(session.run(None, {"x": x, "b": b})[0], x + b)
        np.testing.assert_array_equal(session.run(["y"], {"x": x, "w": w, "b": b})[0], x @ w + b)
    with pytest.raises(planish.InputError, match=r"input 'b': expected float32\[2\], got float32\[3\]"):
        session.run(None, {"x": x, "b": np.zeros(3, np.float32)})


def test_few_sets_of_overridden_defaults_are_kept():
    names = [f"w{i}" for i in range(12)]
    inputs = ", ".join(["float[2] x", *(f"float[2] {name}" for name in names)])
    model = parse("s = Sum (x, " + ", ".join(names) + ") y = Neg (s)", inputs, "float[2] y")
    for name in names:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(2, np.float32), name))
    session = planish.InferenceSession(model)
    one = np.ones(2, np.float32)
    for name in [*names, names[-2], *names]:
        np.testing.assert_array_equal(session.run(None, {"x": one, name: 3 * one})[0], -15 * one)
    assert list(session._overridden) == [frozenset([name]) for name in names[-8:]]


def test_runs_with_overridden_defaults_are_profiled_and_leave_the_optimized_model(tmp_path):
    options = planish.SessionOptions(enable_profiling=True, optimized_model_filepath=str(tmp_path / "optimized.onnx"))
    onnx.save(with_defaults(), tmp_path / "defaults.onnx")
    session = planish.InferenceSession(tmp_path / "defaults.onnx", options)
    written = (tmp_path / "optimized.onnx").read_bytes()
    session.run(None, {"x": np.ones(2, np.float32)})
    session.run(None, {"x": np.ones(2, np.float32), "w": np.ones((2, 2), np.float32)})
    assert len(session.profile()) == 2
    assert session.profile()[1]
    assert (tmp_path / "optimized.onnx").read_bytes() == written


def test_default_values_of_a_plan_are_constants(tmp_path):
    planish.export(with_defaults(), tmp_path / "defaults.plan")
    session = planish.InferenceSession(tmp_path / "defaults.plan")
    x = np.ones(2, np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x + 1)
    with pytest.raises(planish.InputError, match=r"input 'w': a default value, which is compiled in as a constant"):
        session.run(None, {"x": x, "w": np.eye(2, dtype=np.float32)})


def test_initializers_of_ir_version_3_are_no_defaults():
    model = with_defaults()
    model.ir_version = 3
    model.opset_import[0].version = 8
    session = planish.InferenceSession(model)
    assert session.get_overridable_initializers() == []
    with pytest.raises(planish.InputError, match=r"input 'w': the model has no such input; it takes x"):
        session.run(None, {"x": np.ones(2, np.float32), "w": np.eye(2, dtype=np.float32)})


def test_an_output_may_be_listed_twice() -> None:
    graph = """twice (float[2] x) => (float[2] y, float[2] y) { y = Neg(x) }"""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {graph}')
    session, x = planish.InferenceSession(model), np.ones(2, np.float32)
    assert [y.tolist() for y in session.run(None, {"x": x})] == [[-1, -1], [-1, -1]]
    assert session.run_arrays({"x": x})["y"].tolist() == [-1, -1]
