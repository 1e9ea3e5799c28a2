"""What `inspect` says is what is so: counts, bytes, MACs, fallbacks, and the page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest

import planish
from planish.inspection import Inspection, inspect_model
from planish.report.drawing import draw_graph
from planish.report.html import page

from .conftest import Call

CONV_MACS = 16 * 16 * 16 * 27
GEMM_MACS = 10 * 16


@pytest.fixture
def found(place: Path) -> Inspection:
    return inspect_model("model.onnx", {"x": (1, 3, 16, 16)}, 1)


def test_counts(found: Inspection) -> None:
    assert found.source is not None
    assert found.source.parameters == 16 * 27 + 16 + 160 + 10
    assert found.source.storage == {"float32": (618, 4 * 618)}
    assert {op.name: op.count for op in found.operators} == {
        "Conv": 1, "Relu": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1,
    }  # fmt: skip
    assert found.macs == CONV_MACS + GEMM_MACS
    assert found.fallbacks == 0
    assert found.problems == []
    assert found.file_bytes == Path("model.onnx").stat().st_size


def test_macs_grow_with_the_batch(place: Path) -> None:
    assert inspect_model("model.onnx", {"x": (5, 3, 16, 16)}).macs == 5 * (CONV_MACS + GEMM_MACS)


def test_layers_name_the_kernels_that_run(found: Inspection) -> None:
    session = planish.InferenceSession("model.onnx", planish.SessionOptions(1, enable_profiling=True))
    session.run(None, {"x": np.zeros((1, 3, 16, 16), np.float32)})
    assert [(layer.name, layer.kernel) for layer in found.layers] == [(t.label, t.kernel) for t in session.profile()[0]]
    conv, gemm = (next(layer for layer in found.layers if layer.op == op) for op in ("conv", "gemm"))
    assert conv.outputs == ("float32[1,16,16,16]",)
    assert gemm.weights is not None
    assert (gemm.weights.shape, gemm.weights.zeros, gemm.weights.unique) == ((10, 16), 0.0, 160)
    assert gemm.weights.dense == 4 * 160


def test_memory_is_shared_between_tensors(found: Inspection) -> None:
    assert 0 < found.arena <= found.tensors
    assert 0 < found.packed <= found.resident


def test_stored_forms_and_what_runs_of_them(place: Path) -> None:
    rule = 'version = 1\n[[rules]]\nmatch = {op = ["Conv", "Gemm"]}\nweights = {codebook = 4}\n'
    planish.compress("model.onnx", "codebook.onnx", recipe=rule)
    source = inspect_model("codebook.onnx").source
    assert source is not None
    indices, entries = 16 * 27 + 160, 2 * 16
    assert source.storage["codebook"] == (indices + entries, indices // 2 + 4 * entries)
    assert source.metadata["planish.calibration_samples"] == "0"
    recipe = 'version = 1\n[[rules]]\nmatch = {op = "Conv"}\nprune = {sparsity = 0.75}\n'
    planish.compress("model.onnx", "pruned.onnx", recipe=recipe)
    conv = next(layer for layer in inspect_model("pruned.onnx").layers if layer.op.endswith("conv") and layer.weights)
    assert conv.weights is not None
    assert conv.weights.zeros == pytest.approx(0.75)


def test_a_plan_tells_as_much_without_its_source(place: Path) -> None:
    planish.export("model.onnx", "model.plan")
    shapes = {"x": (1, 3, 16, 16)}
    model, plan = inspect_model("model.onnx", shapes), inspect_model("model.plan", shapes)
    assert plan.source is None
    assert plan.layers == model.layers
    assert (plan.resident, plan.packed) == (model.resident, model.packed)


def test_fallbacks_say_why(call: Call, place: Path) -> None:
    outcome = call("inspect", "fallback.onnx", "--json")
    found = json.loads(outcome.out)
    binarizer = "ai.onnx.ml::Binarizer"
    (left,) = (layer for layer in found["layers"] if not layer["native"])
    assert (left["op"], left["kernel"], left["reason"]) == (binarizer, "onnx.reference", "no native kernel")
    assert left["inputs"] == ["float32[1,4,4]"]
    assert [op["fallback"] for op in found["operators"] if op["name"] == binarizer] == [1]
    assert [layer["op"] for layer in found["layers"]].count(binarizer) == 1
    assert found["native"] >= 2


def test_a_model_that_cannot_run_is_still_described(place: Path) -> None:
    model = onnx.load("fallback.onnx")
    for node, op in zip(model.graph.node, ("Twist", "Inverse"), strict=False):
        node.op_type, node.domain, node.name = op, "com.example", op.lower()
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    onnx.save(model, "foreign.onnx")
    found = inspect_model("foreign.onnx")
    assert [problem.partition(": ")[0] for problem in found.problems] == [
        "node 'twist' (com.example::Twist, node 0)",
        "node 'inverse' (com.example::Inverse, node 1)",
    ]
    assert [layer.op for layer in found.layers if not layer.native] == ["com.example::Twist", "com.example::Inverse"]


def test_compressed_weights_stay_packed_in_memory(place: Path) -> None:
    from planish.demo.data import MODEL_PATH

    prune = '{sparsity = 0.8, pattern = "16x4", scope = "global"}'
    rule = f'version = 1\n[[rules]]\nmatch = {{op = "Conv"}}\nprune = {prune}\n'
    planish.compress(MODEL_PATH, "pruned.onnx", recipe=rule)
    found = inspect_model("pruned.onnx")
    assert "block16x4_f32" in {layer.weights.format for layer in found.layers if layer.weights}
    assert found.resident <= 1.1 * found.packed
    assert found.packed < 0.5 * inspect_model(MODEL_PATH).packed


class _Balance(HTMLParser):
    """Checks that tags close in order, and collects what is used."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "data")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_nothing_else(call: Call, place: Path) -> None:
    assert call("inspect", "model.onnx", "--html", "page.html").code == 0
    text = (place / "page.html").read_text()
    reader = _Balance()
    reader.feed(text)
    assert reader.open == []
    assert reader.links == []
    assert {"svg", "table", "title"} <= reader.seen
    assert reader.seen.isdisjoint({"script", "link", "img", "iframe"})
    for kernel in {layer.kernel for layer in inspect_model("model.onnx").layers}:
        assert kernel in text


def test_names_from_the_model_cannot_become_markup(place: Path) -> None:
    model = onnx.load("model.onnx")
    model.graph.node[0].name = '<script>alert("x")</script>'
    onnx.save(model, "evil.onnx")
    text = page(inspect_model("evil.onnx"))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_drawing_puts_every_layer_below_what_it_reads(place: Path) -> None:
    layers = inspect_model("model.onnx").layers
    svg = ElementTree.fromstring(draw_graph(layers))
    boxes = svg.findall("{http://www.w3.org/2000/svg}g")
    assert len(boxes) == len(layers)
    rows = [float(box.find("{http://www.w3.org/2000/svg}rect").get("y")) for box in boxes]  # type: ignore[union-attr, arg-type]
    assert rows == sorted(rows)
    assert len(set(rows)) == len(rows)
