"""Wrong calls as a new user would make them, each with the exit code and the exact line it gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import planish
from planish import _core

from .conftest import Call

ISAS = ", ".join(isa for isa in _core.cpu_isas() if isa in _core.built_isas())
SAMPLES = "compress model.onnx -o out.onnx --calibration samples.npz"
RANDOM = "compress model.onnx -o out.onnx --calibration random"
CALIBRATION = "compress model.onnx -o out.onnx --calibration"
NO_FOLDER = "cannot be written: No such file or directory; choose a folder that exists and has room"

#: (arguments, exit code, message after `planish: error: `)
COMMANDS = [
    ("", 2, "planish: the following arguments are required: COMMAND; see planish --help"),
    ("run", 2, "planish run: the following arguments are required: MODEL; see planish run --help"),
    ("run model.onnx --thread 2", 2, "planish: unrecognized arguments: --thread 2; see planish --help"),
    ("run missing.onnx", 1, "missing.onnx: cannot be read: No such file or directory; check the path"),
    ("run folder", 1, "folder: cannot be read: Is a directory; check the path"),
    ("run text.onnx", 1, "text.onnx: is truncated or not an ONNX file (DecodeError); get it again"),
    ("run half.onnx", 1, "half.onnx: is truncated or not an ONNX file (DecodeError); get it again"),
    ("run empty.onnx", 1, "empty.onnx: is empty; export or download the model again"),
    ("run missing.plan", 1, "missing.plan: cannot open the file (No such file or directory); check the path"),
    (
        "run model.onnx --shape 1x3x16x16",
        2,
        "planish run: argument --shape: '1x3x16x16' is not NAME=DIMS, such as x=1x3x224x224; see planish run --help",
    ),
    (
        "run model.onnx --shape x=1xC",
        2,
        "planish run: argument --shape: 'x=1xC' is not NAME=DIMS, such as x=1x3x224x224; see planish run --help",
    ),
    ("run model.onnx --shape z=1", 2, "--shape z: the model has no such input; it has x"),
    (
        "run model.onnx --shape x=1x4x16x16",
        2,
        "--shape x=1x4x16x16: does not fit the declared [N,3,16,16]; change it",
    ),
    ("run model.onnx --shape x=1x3x16x16 --shape x=2x3x16x16", 2, "--shape x: given twice; give each input once"),
    (
        "run model.onnx --shape x=99999999x3x16x16",
        2,
        "input 'x': 99999999x3x16x16 is over 2 GiB; give a smaller --shape",
    ),
    (
        "run model.onnx --shape x=1x3x16x16 --inputs samples.npz",
        2,
        "--shape: the arrays of --inputs have shapes of their own; leave one of the two out",
    ),
    (
        "run model.onnx --inputs missing.npz",
        1,
        "missing.npz: cannot be read: No such file or directory; check the path",
    ),
    (
        "run model.onnx --inputs text.npz",
        1,
        "text.npz: is not an .npz file; write it with numpy.savez, one array for each name",
    ),
    (
        "run model.onnx --inputs array.npy",
        1,
        "array.npy: is not an .npz file; write it with numpy.savez, one array for each name",
    ),
    ("run model.onnx --inputs wrong_name.npz", 1, "input 'x': missing (given: 'image'); feed float32[N,3,16,16]"),
    (
        "run model.onnx --inputs wrong_type.npz",
        1,
        "input 'x': expected float32[N,3,16,16], got float64[24, 3, 16, 16]; cast it with .astype('float32')",
    ),
    (
        "run model.onnx --inputs channels_last.npz",
        1,
        "input 'x': expected float32[N,3,16,16], got float32[24, 16, 16, 3]; transpose to NCHW",
    ),
    ("run model.onnx --output no/where.npz", 1, f"no/where.npz: {NO_FOLDER}"),
    ("run model.onnx --output folder", 1, "folder: is a folder; give the name of a file in it"),
    (
        "run model.onnx --threads 0",
        2,
        "planish run: argument --threads: '0' is not a whole number from 1 to 1024; see planish run --help",
    ),
    ("run model.onnx --isa sse9", 2, f"--isa 'sse9': not among what this machine can run; use one of {ISAS}"),
    (
        "run model.onnx --seed -1",
        2,
        "planish run: argument --seed: '-1' is not a whole number from 0; see planish run --help",
    ),
    (
        "run --json model.onnx",
        2,
        "planish run: argument --json: 'model.onnx' does not end in .json; put --json last, or name a .json file; "
        "see planish run --help",
    ),
    ("inspect model.onnx --html no/page.html", 1, f"no/page.html: {NO_FOLDER}"),
    ("inspect model.onnx --json no/page.json", 1, f"no/page.json: {NO_FOLDER}"),
    ("compress model.onnx", 2, "-o: missing; name the file to write, or give --dry-run"),
    (
        "compress model.onnx -o out.onnx",
        1,
        "recipe 'int8', layer 'conv0': uint8 activations need calibration data; "
        'give an .npz, a folder, feeds, or calibration="random"',
    ),
    (f"{RANDOM} --recipe int7", 1, "recipe 'int7': neither a known name nor a file; try int8"),
    (f"{RANDOM} --recipe bad.toml", 1, "recipe 'bad.toml', rule 1: unknown key 'weigths'; use weights"),
    (
        f"{RANDOM} --recipe nothing.toml",
        1,
        "recipe 'nothing.toml', rule 1: no layer matches conv9; the nearest are conv0, gemm4",
    ),
    (f"{CALIBRATION} nan.npz", 1, "calibration: sample 0 of input 'x' has NaN or infinity; remove it"),
    (f"{CALIBRATION} none.npz", 1, "calibration: has no samples; give at least one"),
    (f"{CALIBRATION} wrong_name.npz", 1, "wrong_name.npz: no input is called 'image'; the model's inputs are x"),
    (
        f"{CALIBRATION} channels_last.npz",
        1,
        "calibration: input 'x' expects [?,3,16,16], got [8,16,16,3]; reshape the samples",
    ),
    (f"{CALIBRATION} folder", 1, "folder: no .npy file for input 'x'; give one a sample"),
    ("compress model.onnx -o no/out.onnx --calibration random", 1, f"no/out.onnx: {NO_FOLDER}"),
    (
        f"{SAMPLES} --max-drop 1",
        2,
        "--max-drop: needs --labels to know the accuracy; give F.npy with the right classes",
    ),
    (
        f"{SAMPLES} --max-drop 101 --labels labels.npy",
        2,
        "planish compress: argument --max-drop: '101' is not a number of percentage points from 0 to 100; "
        "see planish compress --help",
    ),
    (
        f"{SAMPLES} --samples 0",
        2,
        "planish compress: argument --samples: '0' is not a whole number of at least 1; see planish compress --help",
    ),
    (
        "compare model.onnx model.onnx",
        2,
        "planish compare: the following arguments are required: --inputs; see planish compare --help",
    ),
    (
        "compare model.onnx model.onnx --inputs samples.npz --labels few_labels.npy",
        2,
        "compare: 3 labels for more samples than that; give one a sample, in order",
    ),
    ("export model.onnx -o model.bin", 2, "-o model.bin: a plan's name ends in .plan; rename it"),
    (
        "export model.onnx -o out.plan --isa sse9",
        2,
        f"isa 'sse9': unknown; use some of {', '.join(_core.built_isas())}",
    ),
    ("export model.onnx -o no/out.plan", 1, f"no/out.plan: {NO_FOLDER}"),
    (
        "export model.onnx -o out.plan --shape x=1x4x16x16",
        2,
        "shape of 'x': 1x4x16x16 does not fit the declared [N,3,16,16]; change it",
    ),
    (
        "export fallback.onnx -o out.plan",
        1,
        "out.plan: ai.onnx.ml::Binarizer have no native kernel; export with --allow-fallback "
        "(the plan then needs onnx)",
    ),
    ("bench missing.onnx", 2, "missing.onnx: no such file; give a .onnx or .plan file"),
    (
        "bench model.onnx --against tensorrt",
        2,
        "--against 'tensorrt': unknown; use some of float, onnxruntime, openvino",
    ),
    (
        "bench model.onnx --seconds 0",
        2,
        "planish bench: argument --seconds: '0' is not a positive number of seconds; see planish bench --help",
    ),
    ("bench model.onnx --plot figure.txt", 2, "figure.txt: no such figure format; end the name in .png, .svg, .pdf"),
    ("bench model.onnx model.onnx", 2, "contestant 'model.onnx': given twice; give different names"),
    ("demo --save model.onnx", 1, "model.onnx: cannot be made a folder: File exists; choose another name"),
    (
        "doctor --json doctor.txt",
        2,
        "planish doctor: argument --json: 'doctor.txt' does not end in .json; put --json last, or name a .json file; "
        "see planish doctor --help",
    ),
]


@pytest.mark.parametrize(("arguments", "code", "message"), COMMANDS, ids=[c[0] or "nothing" for c in COMMANDS])
def test_command(call: Call, place: Path, arguments: str, code: int, message: str) -> None:
    before = sorted(place.iterdir())
    outcome = call(*arguments.split())
    assert outcome.err == f"planish: error: {message}\n"
    assert outcome.code == code
    assert outcome.out == ""
    assert sorted(place.iterdir()) == before


def _session() -> planish.InferenceSession:
    return planish.InferenceSession("model.onnx")


def _image(**change: Any) -> np.ndarray[Any, Any]:
    return np.zeros(**{"shape": (1, 3, 16, 16), "dtype": np.float32, **change})


def _single(op: str, **attributes: Any) -> onnx.ModelProto:
    """A model of a node and, for an unknown operator, another after it."""
    weights = onnx.numpy_helper.from_array(np.ones((3, 3, 3, 3), np.float32), "w")
    nodes = [onnx.helper.make_node(op, ["w", "x"] if op == "Gather" else ["x", "w"], ["y"], "n", **attributes)]
    if op == "FancyOp":
        nodes.append(onnx.helper.make_node(op, ["y"], ["z"], "m"))
    kind = onnx.TensorProto.INT64 if op == "Gather" else onnx.TensorProto.FLOAT
    port = onnx.helper.make_tensor_value_info("x", kind, ["n"] if op == "Gather" else [1, 3, 16, 16])
    result = onnx.helper.make_tensor_value_info(nodes[-1].output[0], onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph(nodes, "g", [port], [result], [weights])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


#: (what is called, the error's class, its message)
CALLS: list[tuple[Callable[[], Any], type[planish.PlanishError], str]] = [
    (
        lambda: planish.InferenceSession(np.zeros(3)),  # type: ignore[arg-type]
        planish.UsageError,
        "model: got ndarray; give a path, the bytes of a file, an onnx.ModelProto or an onnx_ir.Model",
    ),
    (
        lambda: planish.InferenceSession(""),
        planish.UsageError,
        "model: the path is empty; give a path, the bytes of a file, an onnx.ModelProto or an onnx_ir.Model",
    ),
    (
        lambda: planish.InferenceSession(b"PK\x03\x04 and more"),
        planish.ModelError,
        "model: is a zip archive, as PyTorch and Keras write, not an ONNX file; export it (torch.onnx.export)",
    ),
    (
        lambda: planish.InferenceSession(b"\x1c\0\0\0TFL3 and more"),
        planish.ModelError,
        "model: is a TensorFlow Lite file, not an ONNX file; convert it (tf2onnx)",
    ),
    (
        lambda: planish.compress(b"PLANISH\0 and more", recipe="int8-weights"),
        planish.ModelError,
        "model: is a compiled plan, not a model; give the .onnx file that it was exported from",
    ),
    (
        lambda: planish.InferenceSession("model.onnx", {"intra_op_num_threads": 1}),  # type: ignore[arg-type]
        planish.UsageError,
        "sess_options: got dict; give a planish.SessionOptions",
    ),
    (
        lambda: planish.InferenceSession(_single("FancyOp")),
        planish.ModelError,
        "node 'n' (FancyOp, node 0): no native kernel, and the reference evaluator does not know this operator "
        "(and 1 more nodes); replace it, or define it by a function in the model",
    ),
    (
        lambda: planish.InferenceSession(_single("Conv", kernel_shape=[5, 5])),
        planish.ModelError,
        "node 'n' (Conv, node 0): kernel_shape [5, 5] with weights of shape [3, 3, 3, 3]; repair the model",
    ),
    (
        lambda: _session().run(None, [_image()]),  # type: ignore[arg-type]
        planish.InputError,
        "input_feed: expected a dictionary, got list; feed input name → array",
    ),
    (
        lambda: _session().run("y", {"x": _image()}),
        planish.InputError,
        "output_names: 'y' is not a list; give ['y'], or None for all",
    ),
    (
        lambda: _session().run(None, {"image": _image()}),
        planish.InputError,
        "input 'x': missing (given: 'image'); feed float32[N,3,16,16]",
    ),
    (
        lambda: _session().run(None, {"x": _image().astype(object)}),
        planish.InputError,
        "input 'x': expected float32[N,3,16,16], got object[1, 3, 16, 16]; feed an array of numbers",
    ),
    (
        lambda: _session().run(None, {"x": [[1.0], [2.0, 3.0]]}),
        planish.InputError,
        "input 'x': expected float32[N,3,16,16], got no array; feed numbers of one shape",
    ),
    (
        lambda: planish.InferenceSession(_single("Gather")).run(None, {"x": np.array([7])}),
        planish.ModelError,
        "node 'n' (Gather, node 0): an index lies outside the axis that it selects from; check the inputs that indices "
        "come from",
    ),
    (
        lambda: planish.export("model.onnx", "model.onnx"),
        planish.UsageError,
        "model.onnx: a plan is not an .onnx file; give a name that ends in .plan",
    ),
    (
        lambda: planish.export("model.onnx", "out.plan", isa="sse9"),
        planish.UsageError,
        f"isa 'sse9': unknown; use some of {', '.join(_core.built_isas())}",
    ),
    (
        lambda: planish.InferenceSession("missing.onnx"),
        planish.ModelError,
        "missing.onnx: cannot be read: No such file or directory; check the path",
    ),
    (
        lambda: planish.InferenceSession(b"nonsense"),
        planish.ModelError,
        "model: is truncated or not an ONNX file (DecodeError); get it again",
    ),
    (
        lambda: planish.InferenceSession(b""),
        planish.ModelError,
        "model: is empty; export or download the model again",
    ),
    (
        lambda: planish.InferenceSession("model.onnx", planish.SessionOptions(intra_op_num_threads=-1)),
        planish.UsageError,
        "intra_op_num_threads: -1 is not a number of threads; use 0 for all, or a positive number up to 1024",
    ),
    (
        lambda: planish.InferenceSession("model.onnx", planish.SessionOptions(intra_op_num_threads=1 << 31)),
        planish.UsageError,
        "intra_op_num_threads: 2147483648 is not a number of threads; use 0 for all, or a positive number up to 1024",
    ),
    (
        lambda: planish.InferenceSession("model.onnx", planish.SessionOptions(byte_budget="2G")),  # type: ignore[arg-type]
        planish.UsageError,
        "byte_budget: '2G' is not a budget; use a whole number below 2^63",
    ),
    (
        lambda: planish.InferenceSession("model.onnx", planish.SessionOptions(step_budget=-1)),
        planish.UsageError,
        "step_budget: -1 is not a budget; use a whole number below 2^63",
    ),
    (
        lambda: planish.InferenceSession("model.onnx", planish.SessionOptions(loop_budget=1e9)),  # type: ignore[arg-type]
        planish.UsageError,
        "loop_budget: 1000000000.0 is not a budget; use a whole number below 2^63",
    ),
    (lambda: _session().run(None, {}), planish.InputError, "input 'x': missing; feed float32[N,3,16,16]"),
    (
        lambda: _session().run(None, {"x": _image(), "z": _image()}),
        planish.InputError,
        "input 'z': the model has no such input; it takes x",
    ),
    (
        lambda: _session().run(None, {"x": _image(dtype=np.float64)}),
        planish.InputError,
        "input 'x': expected float32[N,3,16,16], got float64[1, 3, 16, 16]; cast it with .astype('float32')",
    ),
    (
        lambda: _session().run(None, {"x": _image(shape=(1, 16, 16, 3))}),
        planish.InputError,
        "input 'x': expected float32[N,3,16,16], got float32[1, 16, 16, 3]; transpose to NCHW",
    ),
    (
        lambda: _session().run(None, {"x": _image(shape=(3, 16, 16))}),
        planish.InputError,
        "input 'x': expected float32[N,3,16,16], got float32[3, 16, 16]; reshape it",
    ),
    (
        lambda: _session().run(["scores"], {"x": _image()}),
        planish.InputError,
        "output 'scores': the model has no such output; choose from y",
    ),
    (
        lambda: planish.compress("model.onnx", recipe="int9"),
        planish.RecipeError,
        "recipe 'int9': neither a known name nor a file; try int8",
    ),
    (
        lambda: planish.compress("model.onnx", recipe="int8", calibration=iter(())),
        planish.CalibrationError,
        "calibration: has no samples; give at least one",
    ),
    (
        lambda: planish.compress("model.onnx", max_drop=1.0, calibration="random"),
        planish.UsageError,
        "compress: max_drop without a score; give evaluate or labels",
    ),
    (
        lambda: planish.export("model.onnx", "out.plan", shapes={"z": (1,)}),
        planish.UsageError,
        "shape of 'z': the model has no such input; it takes x",
    ),
    (
        lambda: planish.export("fallback.onnx", "out.plan"),
        planish.PlanError,
        "out.plan: ai.onnx.ml::Binarizer have no native kernel; export with --allow-fallback "
        "(the plan then needs onnx)",
    ),
]


@pytest.mark.parametrize(("function", "kind", "message"), CALLS, ids=[c[2] for c in CALLS])
@pytest.mark.usefixtures("place")
def test_api(function: Callable[[], Any], kind: type[planish.PlanishError], message: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        function()
