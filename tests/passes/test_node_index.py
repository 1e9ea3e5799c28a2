"""The index of nodes finds what reading the graph finds, and never outlives a node's making."""

from __future__ import annotations

import threading

import onnx.parser
import onnx_ir
import pytest

from planish.importing import load_model
from planish.passes import canonicalise
from planish.passes.inference_proto import inference_proto
from planish.passes.node_index import drop_index, has_index, index_nodes
from planish.passes.patterns import graphs_of, nodes_of, subgraphs_of
from planish.passes.resolve_shapes import resolve_shapes
from planish.passes.rewrite import insert_before, make_node

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[2] x, bool c) => (float[2] y) {
  a = Relu(x)
  b = If(c) <then_branch = t () => (float[2] p) { p = Abs(a) }, else_branch = e () => (float[2] q) { q = Relu(a) }>
  d = Abs(b)
  y = Relu(d)
}"""


@pytest.fixture
def model() -> onnx_ir.Model:
    return load_model(onnx.parser.parse_model(TEXT))


def names(model: onnx_ir.Model, *op_types: str) -> list[str | None]:
    return [node.outputs[0].name for node in nodes_of(model, *op_types)]


def test_nodes_come_in_the_same_order(model: onnx_ir.Model) -> None:
    wanted = [("Relu",), ("Abs",), ("Relu", "Abs"), ("If", "Abs"), ("Conv",), ()]
    read = [names(model, *ops) for ops in wanted]
    index_nodes(model, subgraphs_of)
    assert has_index(model)
    assert [names(model, *ops) for ops in wanted] == read
    assert read[2] == ["a", "d", "y", "p", "q"]
    drop_index()


def test_a_new_node_ends_the_index(model: onnx_ir.Model) -> None:
    index_nodes(model, subgraphs_of)
    last = list(nodes_of(model, "Relu"))[1]
    last.replace_input_with(0, insert_before(last, make_node("Relu", [last.inputs[0]])))
    assert not has_index(model)
    assert len(list(nodes_of(model, "Relu"))) == 4


def test_removed_nodes_are_left_out(model: onnx_ir.Model) -> None:
    index_nodes(model, subgraphs_of)
    node = next(nodes_of(model, "Abs"))
    node.outputs[0].replace_all_uses_with(node.inputs[0])
    model.graph.remove(node, safe=True)
    assert names(model, "Abs") == ["p"]
    drop_index()


def test_graphs_inside_nodes_come_in_the_same_order_and_go_with_their_node(model: onnx_ir.Model) -> None:
    read = graphs_of(model)
    index_nodes(model, subgraphs_of)
    assert graphs_of(model) == read
    (branching,) = nodes_of(model, "If")
    branching.outputs[0].replace_all_uses_with(branching.inputs[0])
    model.graph.remove(branching, safe=True)
    assert graphs_of(model) == [model.graph]
    drop_index()


def test_other_domains_are_read_from_the_graph() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21, "com.example" : 1]>
    g (float[2] x) => (float[2] y) { a = Relu(x)  y = com.example.Relu(a) }"""
    model = load_model(onnx.parser.parse_model(text))
    index_nodes(model, subgraphs_of)
    assert [node.outputs[0].name for node in nodes_of(model, "Relu", domain="com.example")] == ["y"]
    drop_index()


def test_it_belongs_to_its_model_and_thread(model: onnx_ir.Model) -> None:
    index_nodes(model, subgraphs_of)
    assert not has_index(model.clone())
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(has_index(model)))
    thread.start()
    thread.join()
    assert seen == [False]
    canonicalise(model)
    assert not has_index(model)


def test_inference_sees_types_and_shapes_but_no_weights() -> None:
    source = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
    g (float[1,N] x, float[300,2] w) => (float[1,M] y)
    <float s = {0.5}, uint8 z = {3}, int64[2] shape = {1, -1}> {
      h = MatMul(x, w)
      q = QuantizeLinear(h, s, z)
      d = DequantizeLinear(q, s, z)
      y = Reshape(d, shape)
    }""")
    model = load_model(source)
    proto = inference_proto(model, model.graph, 1024)
    assert {t.name for t in proto.graph.initializer} == {"shape"}
    assert {i.name for i in proto.graph.input} == {"x", "w", "s", "z"}
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in inferred.graph.value_info}
    assert shapes["h"] == shapes["q"] == shapes["d"] == [1, 2]


def test_inference_sees_a_part_with_what_it_reads() -> None:
    source = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
    g (float[N,4] x, bool c) => (float[N,4] y, float[N,4] z) <float[4,4] w, float[4] s = {1, 2, 3, 4}> {
      h = Mul(x, s)
      y = If(c) <then_branch = t () => (float[N,4] p) { p = MatMul(h, w) }, else_branch = e () => (float[N,4] q)
        <float[4] k = {1, 2, 3, 4}> { q = Gemm(h, w, k) }>
      z = Relu(y)
    }""")
    source.graph.initializer.append(onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [4, 4], [0.0] * 16))
    model = load_model(source)
    resolve_shapes(model)
    branching = [node for node in model.graph if node.op_type == "If"]
    proto = inference_proto(model, branching, 1024)
    assert [node.op_type for node in proto.graph.node] == ["If"]
    assert {info.name for info in proto.graph.input} == {"x", "c", "h", "w", "k"}
    assert not any(attribute.g.initializer for attribute in proto.graph.node[0].attribute)
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    (dims,) = [[d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in inferred.graph.output]
    assert dims == ["N", 4]
