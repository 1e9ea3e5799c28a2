"""Plans: they run the same bits as the session they were made of, and whatever is wrong with one is a clear error."""

from __future__ import annotations

import base64
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import planish
from planish import _core, plan
from tests.plan_document import decode, encode

GARBAGE = {"node": "AAAA", "op": "Relu", "opset": 21, "captured": []}
RELU = base64.b64encode(helper.make_node("Relu", ["a"], ["b"]).SerializeToString()).decode()


def small_model() -> bytes:
    """Conv, Relu, global average, Gemm with a dynamic batch."""
    rng = np.random.default_rng(0)
    w = numpy_helper.from_array(rng.standard_normal((8, 3, 3, 3)).astype(np.float32), "w")
    g = numpy_helper.from_array(rng.standard_normal((8, 5)).astype(np.float32), "g")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "g"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])
    graph = helper.make_graph(nodes, "small", [x], [y], [w, g])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


@pytest.fixture
def exported(tmp_path):
    path = tmp_path / "small.plan"
    session = planish.InferenceSession(small_model())
    planish.export(session, path)
    return session, path


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 3, 5, 9)])
def test_a_plan_runs_the_same_bits_at_any_shape(exported, shape):
    session, path = exported
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    (expected,) = session.run(None, {"x": x})
    for source in (path, str(path), path.read_bytes()):
        (found,) = planish.InferenceSession(source).run(None, {"x": x})
        np.testing.assert_array_equal(found, expected)


def test_the_same_model_gives_the_same_plan(exported, tmp_path):
    """In another process too, whatever its hash seed: builds that package plans are reproducible."""
    model, again = tmp_path / "model.onnx", tmp_path / "again.plan"
    model.write_bytes(small_model())
    code = "import sys, planish; planish.export(sys.argv[1], sys.argv[2])"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, model, again], check=True, env=environment)
        assert again.read_bytes() == exported[1].read_bytes()


def test_loading_and_running_imports_no_onnx(exported):
    _, path = exported
    code = (
        "import sys, numpy as np, planish\n"
        f"s = planish.InferenceSession({str(path)!r})\n"
        "s.run(None, {'x': np.zeros((1, 3, 4, 4), np.float32)})\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('onnx', 'onnx_ir', 'rich')]\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


def corrupted(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


def test_every_kind_of_damage_is_an_error(exported, tmp_path):
    _, path = exported
    data = path.read_bytes()
    cases = {
        "not a plan": b"not a plan at all" + data[17:],
        "truncated": data[:40],
        "bytes, ": data[:-1],
        "format 99": data[:8] + struct.pack("<I", 99) + data[12:],
        "header was altered": corrupted(data, 70),
        "section 1 was altered": corrupted(data, 200),
        "section 2 was altered": corrupted(data, len(data) - 100),
    }
    for message, content in cases.items():
        bad = tmp_path / "bad.plan"
        bad.write_bytes(content)
        with pytest.raises(planish.PlanError, match=message):
            planish.InferenceSession(bad)


def test_every_single_byte_matters(exported):
    """A change of any byte of the header, the table, the manifest or the padding is noticed."""
    _, path = exported
    data = path.read_bytes()
    for at in range(0, 4096, 7):
        with pytest.raises(planish.PlanishError):
            planish.InferenceSession(corrupted(data, at)).run(None, {"x": np.zeros((1, 3, 4, 4), np.float32)})


def test_a_plan_for_an_isa_that_the_machine_lacks(exported, tmp_path):

    session, _ = exported
    lacking = sorted(set(_core.built_isas()) - set(_core.cpu_isas()))
    if not lacking:
        pytest.skip("this machine has every instruction set that was built")
    path = tmp_path / "other.plan"
    planish.export(session, path, isa=[lacking[0]])
    with pytest.raises(planish.PlanError, match=f"made for {lacking[0]}, which this machine lacks"):
        planish.InferenceSession(path)


def test_fixed_shapes(exported, tmp_path):
    session, _ = exported
    path = tmp_path / "fixed.plan"
    planish.export(session, path, shapes={"x": [1, 3, 8, 8]})
    with pytest.raises(planish.InputError, match=r"expected float32\[1,3,8,8\]"):
        planish.InferenceSession(path).run(None, {"x": np.zeros((2, 3, 8, 8), np.float32)})


def test_steps_that_need_the_fallback_are_named(tmp_path):
    node = helper.make_node("Binarizer", ["x"], ["y"], domain="ai.onnx.ml", threshold=1.0)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xy")
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=opsets, ir_version=8)
    with pytest.raises(planish.PlanError, match=r"ai\.onnx\.ml::Binarizer have no native kernel"):
        planish.export(model.SerializeToString(), tmp_path / "a.plan")
    planish.export(model.SerializeToString(), tmp_path / "b.plan", allow_fallback=True)
    (found,) = planish.InferenceSession(tmp_path / "b.plan").run(None, {"x": np.array([[2, 1], [1, 3]], np.float32)})
    assert found.tolist() == [[1, 0], [0, 1]]


def test_a_plan_that_needs_onnx_says_so_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = helper.make_node("Normalizer", ["x"], ["y"], "n", domain="ai.onnx.ml", norm="L2")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy"]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    planish.export(model, tmp_path / "m.plan", allow_fallback=True)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(planish.ModelError, match=r"m\.plan: node 'n' .*onnx is not installed here; install onnx"):
        planish.InferenceSession(tmp_path / "m.plan")


def test_an_output_that_cannot_be_written(exported):
    session, _ = exported
    with pytest.raises(planish.OutputError, match="no-such-folder"):
        plan.export(session, "/no-such-folder/a.plan")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["steps"][0][4].update(branches=[{"inputs": [], "outputs": [], "steps": []}]),
        lambda m: m["steps"][0][4].update(kernels={"branches": 1}, branches=[]) or m["steps"][0].__setitem__(0, "if"),
        lambda m: m["steps"][0][4].update(_evaluator=[1]),
        lambda m: m["steps"][0].__setitem__(0, "onnx"),
        lambda m: m["steps"][0].__setitem__(slice(0, 5), ["onnx", "s", [0], m["steps"][0][3], GARBAGE]),
        lambda m: m["steps"][0].__setitem__(3, m["steps"][0][3] * 2),
        lambda m: m["steps"][0][4].update(pads=[10**40] * 4),
        lambda m: m["inputs"][0].update(dtype="object"),
        lambda m: m["steps"][0].__setitem__(slice(0, 3), ["identity", "s", []]),
        lambda m: m["steps"][0].__setitem__(slice(0, 3), ["identity", "s", [-1]]),
        lambda m: m["steps"][0].__setitem__(slice(0, 3), ["sequence", "s", [0]]),
        lambda m: (m["steps"][0].__setitem__(0, "sequence"), m["steps"][0][4].update(op=["SequenceAt"])),
        lambda m: (m["steps"][0].__setitem__(0, "sequence"), m["steps"][0][4].update(op="SequenceAt")),
        lambda m: (m["steps"][0].__setitem__(0, "sequence"), m["steps"][0][4].update(op="SequenceLength")),
        lambda m: m["inputs"].append(m["inputs"][0] | {"name": "x2"}),
        lambda m: m["inputs"].append(m["inputs"][0] | {"tensor": m["steps"][0][3][0]}),
        lambda m: m["inputs"][0].update(shape=[1, 3, -4, 4]),
        lambda m: m["inputs"][0].update(shape=[True, 3, 4, 4]),
        lambda m: m["steps"][-1][4].update(N=True),
        lambda m: m["steps"][-1][4].update(dtype=["float32"]),
        lambda m: m["steps"][-1][4].update(N=1 << 60),
        lambda m: m["steps"][-1].__setitem__(3, [-1]),
        lambda m: m["constants"][0].update(offset="0"),
        lambda m: m["steps"][0].__setitem__(slice(0, 2), ["no\nkind", "a\nname"]),
        lambda m: m["steps"][0].__setitem__(
            slice(0, 5), ["onnx", "s", m["steps"][0][2][:2], m["steps"][0][3], {**GARBAGE, "node": RELU}]
        ),
        lambda m: m["steps"][0].__setitem__(
            slice(0, 5),
            ["onnx", "s", m["steps"][0][2][:1], m["steps"][0][3], {**GARBAGE, "node": RELU, "opset": 1 << 64}],
        ),
    ],
    ids=[
        "branches",
        "no branches",
        "private",
        "no node",
        "no protobuf",
        "one output twice",
        "huge",
        "dtype",
        "nothing",
        "absent",
        "no operator",
        "odd operator",
        "no sequence",
        "length",
        "one tensor, two inputs",
        "one name, two inputs",
        "negative",
        "truth",
        "a width of truth",
        "types",
        "overflow",
        "no output",
        "offset",
        "lines",
        "weights for numbers",
        "opset",
    ],
)
def test_a_plan_with_sound_checksums_and_wrong_contents_is_an_error(exported, change):
    _, path = exported
    dtype = []
    damaged = altered(path, lambda m: (change(m), dtype.append(m["inputs"][0]["dtype"])))
    x = np.zeros((1, 3, 4, 4), object if dtype == ["object"] else np.float32)
    with pytest.raises(planish.PlanishError) as error:
        planish.InferenceSession(damaged).run(None, {"x": x})
    assert "\n" not in str(error.value)


def altered(path, change) -> bytes:
    """The plan's bytes with other contents, under sound checksums."""
    document, constants = decode(path.read_bytes())
    change(document)
    return encode(document, constants)


LOOP = """<ir_version: 8, opset_import: ["" : 17]> g (int64 n, float[4] x) => (float[4] y, float[k,4] s) {
    o = Abs (x)
    y, s = Loop (n, , x) <body = b (int64 i, bool c, float[4] h) => (bool d, float[4] h2, float[4] t)
        { d = Identity (c) h2 = Add (h, o) t = Neg (h2) }>
}"""


def loop_of(manifest):
    return next(step for step in manifest["steps"] if step[0] == "loop")


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s[4]["branches"].append(s[4]["branches"][0]),
        lambda s: s[4]["branches"].clear(),
        lambda s: s[4]["branches"][0]["inputs"].pop(),
        lambda s: s[4]["branches"][0]["outputs"].pop(),
        lambda s: s[4]["branches"][0]["inputs"].clear(),
        lambda s: s[4]["branches"][0]["inputs"][0].update(tensor=s[2][2]),
        lambda s: s[4]["branches"][0]["outputs"][0].update(tensor=10**6),
        lambda s: s[2].pop(),
        lambda s: s[2].__setitem__(0, -1) or s[2].__setitem__(2, -1),
        lambda s: s[3].pop(),
        lambda s: s.__setitem__(0, "scan"),
        lambda s: (s.__setitem__(0, "scan"), s[4].update(scans="1")),
        lambda s: (s.__setitem__(0, "scan"), s[4].update(scans=2)),
        lambda s: s.__setitem__(0, "sequence_map"),
        lambda s: s.__setitem__(0, "sequence"),
        lambda s: s.__setitem__(0, "if"),
    ],
)
def test_a_loop_that_does_not_fit_its_body_is_an_error(tmp_path, change):
    import onnx

    path = tmp_path / "loop.plan"
    planish.export(onnx.parser.parse_model(LOOP), path)
    feeds = {"n": np.array(2), "x": np.ones(4, np.float32)}
    np.testing.assert_array_equal(planish.InferenceSession(path).run(None, feeds)[0], np.full(4, 3, np.float32))
    with pytest.raises(planish.PlanishError):
        planish.InferenceSession(altered(path, lambda m: change(loop_of(m)))).run(None, feeds)


def test_a_small_plan_may_be_cut_short_once_it_is_loaded(exported):
    session, path = exported
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    loaded = planish.InferenceSession(path)
    os.truncate(path, 100)
    np.testing.assert_array_equal(loaded.run(None, {"x": x})[0], session.run(None, {"x": x})[0])
