"""load_model: what it accepts, and the error that each kind of broken model gets."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as onh
import onnx_ir
import pytest

from planish.errors import ModelError
from planish.importing import load_model
from planish.passes import canonicalise

F = onnx.TensorProto.FLOAT


def small_model(weights: onnx.TensorProto | None = None, opset: int = 13, ir_version: int = 8) -> onnx.ModelProto:
    w = weights if weights is not None else onh.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w")
    nodes = [oh.make_node("MatMul", ["x", "w"], ["h"], name="mm"), oh.make_node("Relu", ["h"], ["y"], name="act")]
    x = oh.make_tensor_value_info("x", F, ["N", 3])
    y = oh.make_tensor_value_info("y", F, ["N", 2])
    graph = oh.make_graph(nodes, "g", [x], [y], [w])
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", opset)], ir_version=ir_version)


def external_model(folder: Path, location: str, dims: tuple[int, ...] = (3, 2), **info: int) -> Path:
    weights = onnx.TensorProto(name="w", data_type=F, dims=dims, data_location=onnx.TensorProto.EXTERNAL)
    for key, value in {"location": location, **info}.items():
        weights.external_data.add(key=key, value=str(value))
    path = folder / "model.onnx"
    path.write_bytes(small_model(weights).SerializeToString())
    return path


def weight_of(model: onnx_ir.Model) -> np.ndarray:
    tensor = model.graph.initializers["w"].const_value
    assert tensor is not None
    return tensor.numpy()


def error_of(source: bytes) -> str | None:
    try:
        load_model(source)
    except ModelError as error:
        return str(error)
    return None


def test_accepts_path_bytes_proto_and_model(tmp_path: Path) -> None:
    proto = small_model()
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    for source in (path, str(path), proto.SerializeToString(), proto, load_model(proto)):
        model = load_model(source)
        assert [node.name for node in model.graph] == ["mm", "act"]
        assert weight_of(model).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_leaves_a_given_proto_unchanged() -> None:
    proto = small_model()
    before = proto.SerializeToString(deterministic=True)
    model = load_model(proto)
    model.graph.initializers["w"].name = "other"
    assert proto.SerializeToString(deterministic=True) == before


def test_maps_external_data(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"....." * 4 + np.arange(6, dtype=np.float32).tobytes())
    model = load_model(external_model(tmp_path, "w.bin", offset=20, length=24))
    weights = weight_of(model)
    assert weights.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert not weights.flags.owndata
    assert not weights.flags.writeable


@pytest.mark.parametrize("location", ["/etc/hostname", "../w.bin", "sub/../../w.bin", "", "w\0.bin"])
def test_refuses_locations_outside_the_folder(tmp_path: Path, location: str) -> None:
    with pytest.raises(ModelError, match="leaves the model's folder"):
        load_model(external_model(tmp_path, location))


def test_refuses_links_out_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(24))
    os.symlink(tmp_path / "w.bin", inside / "w.bin")
    with pytest.raises(ModelError, match="links out of the model's folder"):
        load_model(external_model(inside, "w.bin"))


def test_refuses_external_data_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tensor 'w': external data file 'w.bin' cannot be read"):
        load_model(external_model(tmp_path, "w.bin"))
    (tmp_path / "w.bin").write_bytes(bytes(23))
    with pytest.raises(ModelError, match="has 23 bytes, 24 are needed"):
        load_model(external_model(tmp_path, "w.bin"))
    with pytest.raises(ModelError, match=r"20 bytes at 0, but FLOAT\[3, 2\] needs 24"):
        load_model(external_model(tmp_path, "w.bin", length=20))
    with pytest.raises(ModelError, match="external data offset is '-4', not a size"):
        load_model(external_model(tmp_path, "w.bin", offset=-4))
    with pytest.raises(ModelError, match="give the path"):
        load_model(external_model(tmp_path, "w.bin").read_bytes())


def test_refuses_what_is_not_onnx(tmp_path: Path) -> None:
    data = small_model().SerializeToString()
    for name, content in {"empty": b"", "cut": data[: len(data) // 2], "text": b"{}", "zeros": bytes(64)}.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelError) as caught:
            load_model(path)
        message = str(caught.value)
        assert "\n" not in message
        assert message.startswith(f"{path}: ")
        assert "; " in message
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        load_model(tmp_path / "missing.onnx")


def test_every_truncation_is_a_model_error_or_loads() -> None:
    data = small_model().SerializeToString()
    messages = [message for size in range(len(data)) if (message := error_of(data[:size])) is not None]
    assert messages
    assert not any("\n" in message for message in messages)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m.opset_import[0], "version", 999), "opset 999 is unknown"),
        (lambda m: setattr(m, "ir_version", 99), "IR version 99 is not supported"),
        (lambda m: m.opset_import.pop(), "no opset is imported"),
        (lambda m: m.graph.node[0].input.__setitem__(0, "q"), r"node 'mm' \(MatMul\): input 'q' is neither"),
        (lambda m: m.graph.node[1].output.__setitem__(0, "h"), r"node 'act' \(Relu\): output 'h' is defined twice"),
        (lambda m: m.graph.node[0].input.__setitem__(0, "y"), "contains a cycle"),
        (lambda m: m.graph.node[0].input.append("x"), r"node 'mm' \(MatMul\): has 3 inputs, opset 13 wants 2"),
        (lambda m: m.graph.output[0].__setattr__("name", "z"), "graph output 'z' is produced by no node"),
        (lambda m: m.graph.initializer.append(m.graph.initializer[0]), "initializer 'w' is unnamed or named twice"),
        (lambda m: m.graph.input.append(m.graph.input[0]), "graph input 'x' is unnamed or named twice"),
        (lambda m: m.graph.node[0].attribute.append(oh.make_attribute("a", 1)), "attribute 'a' is unknown"),
        (lambda m: m.graph.node[1].__setattr__("op_type", "Concat"), "attribute 'axis' is missing"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, 4), r"has 24 bytes, but FLOAT\[4, 2\] needs 32"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, -3), "negative dimension -3"),
        (lambda m: m.graph.initializer[0].__setattr__("data_type", 77), "element type 77 is unknown"),
        (lambda m: m.graph.output.pop(), "has no outputs"),
    ],
)
def test_structural_errors_name_the_place(change: object, message: str) -> None:
    proto = small_model()
    change(proto)  # type: ignore[operator]
    with pytest.raises(ModelError, match=message) as caught:
        load_model(proto)
    assert "; " in str(caught.value)


def test_wrong_attribute_type_is_an_error() -> None:
    proto = small_model()
    proto.graph.node[1].op_type = "Softmax"
    proto.graph.node[1].attribute.append(oh.make_attribute("axis", "last"))
    with pytest.raises(ModelError, match=r"node 'act' \(Softmax\): attribute 'axis' has the wrong type"):
        load_model(proto)


def test_typed_data_are_counted() -> None:
    weights = oh.make_tensor("w", F, [3, 2], [0.0] * 6)
    weights.float_data.pop()
    with pytest.raises(ModelError, match=r"has 5 entries, but FLOAT\[3, 2\] needs 6"):
        load_model(small_model(weights))


def test_sorts_nodes() -> None:
    proto = small_model()
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))
    assert [node.name for node in load_model(proto).graph] == ["mm", "act"]


def test_names_are_made_unique() -> None:
    proto = small_model()
    proto.graph.node[0].name = proto.graph.node[1].name = "same"
    assert [node.name for node in load_model(proto).graph] == ["same", "same_1"]


@pytest.mark.parametrize("linear", [True, False])
def test_sparse_initializers_become_dense(linear: bool) -> None:
    proto = small_model()
    del proto.graph.initializer[:]
    indices = [1, 4] if linear else [[0, 1], [2, 0]]
    proto.graph.sparse_initializer.append(
        oh.make_sparse_tensor(
            onh.from_array(np.array([7, 8], np.float32), "w"), onh.from_array(np.array(indices, np.int64), "i"), [3, 2]
        )
    )
    before = proto.SerializeToString(deterministic=True)
    assert weight_of(load_model(proto)).tolist() == [[0, 7], [0, 0], [8, 0]]
    assert proto.SerializeToString(deterministic=True) == before
    proto.graph.sparse_initializer[0].dims[0] = 2
    with pytest.raises(ModelError, match="sparse tensor 'w': indices are out of range"):
        load_model(proto)


def test_sparse_constant_becomes_dense() -> None:
    sparse = oh.make_sparse_tensor(
        onh.from_array(np.array([7], np.float32), "v"), onh.from_array(np.array([2], np.int64), "i"), [3]
    )
    nodes = [oh.make_node("Constant", [], ["c"], sparse_value=sparse), oh.make_node("Add", ["x", "c"], ["y"])]
    values = [oh.make_tensor_value_info(n, F, [3]) for n in "xy"]
    proto = oh.make_model(oh.make_graph(nodes, "g", values[:1], values[1:]), ir_version=8)
    proto.opset_import[0].version = 13
    constant = load_model(proto).graph[0].attributes["value"].as_tensor().numpy()
    assert constant.tolist() == [0, 0, 7]


def test_small_types_stay_packed() -> None:
    values = np.array([[1, -2, 3], [-4, 5, -6]])
    weights = oh.make_tensor("w", onnx.TensorProto.INT4, [2, 3], values.reshape(-1).tolist())
    proto = small_model()
    proto.graph.initializer.append(weights)
    del proto.graph.initializer[0]
    model = load_model(proto)
    tensor = model.graph.initializers["w"].const_value
    assert isinstance(tensor, onnx_ir.PackedTensor)
    assert tensor.numpy().astype(int).tolist() == values.tolist()


def test_a_required_input_left_out_is_an_error() -> None:
    proto = small_model()
    proto.graph.node[0].input[1] = ""
    with pytest.raises(ModelError, match=r"node 'mm' \(MatMul\): input 1 'B' is left out"):
        load_model(proto)


def test_weights_above_two_gibibytes_are_mapped_not_read(tmp_path: Path) -> None:
    rows = 2**29 + 2**26
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(rows * 4)  # a sparse file: it takes no space on disk
    weights = onnx.TensorProto(name="w", data_type=F, dims=(rows, 1), data_location=onnx.TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value="w.bin")
    path = tmp_path / "model.onnx"
    path.write_bytes(small_model(weights).SerializeToString())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = canonicalise(load_model(path))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert weight_of(model).shape == (rows, 1)
    assert grown < 2**18  # KiB


def test_a_negative_dimension_is_an_unknown_one() -> None:
    """onnx's shape inference takes it for a size, and ends the process at an assertion."""
    constants = [onh.from_array(np.array([v]), n) for n, v in (("s", 4), ("e", -3), ("a", 0), ("t", 1))]
    node = oh.make_node("Slice", ["x", "s", "e", "a", "t"], ["y"])
    x, y = oh.make_tensor_value_info("x", F, [-1]), oh.make_tensor_value_info("y", F, [None])
    graph = oh.make_graph([node], "g", [x], [y], constants)
    model = canonicalise(load_model(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 18)], ir_version=8)))
    assert model.graph.inputs[0].shape == onnx_ir.Shape([None])


def test_names_that_are_not_utf8_are_an_error() -> None:
    data = small_model().SerializeToString()
    for name in (b"MatMul", b"Relu", b"mm", b"w"):
        with contextlib.suppress(ModelError):
            canonicalise(load_model(data.replace(name, name[:-1] + b"\xff")))
    assert "malformed" in str(error_of(data.replace(b"Relu", b"Rel\xff")))
