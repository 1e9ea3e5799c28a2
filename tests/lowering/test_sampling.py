"""Operators that read images at computed positions, transforms, and pooling's rarer forms, against references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

import planish
from planish.errors import PlanishError
from tests.lowering.harness import by_onnxruntime, native, node_model

RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("align_corners", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_grid_sample(mode: str, padding: str, align_corners: int) -> None:
    feeds = {"x": floats(2, 3, 5, 6), "grid": floats(2, 4, 3, 2)}
    attrs = {"mode": mode, "padding_mode": padding, "align_corners": align_corners}
    native(node_model("GridSample", feeds, {}, 20, **attrs), feeds)
    if mode != "cubic":
        feeds = {"x": floats(1, 2, 4, 3, 5), "grid": floats(1, 2, 3, 4, 3)}
        native(node_model("GridSample", feeds, {}, 20, **attrs), feeds)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("coordinate", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("ratio", [0, 2])
def test_roi_align(ratio: int, coordinate: str, mode: str) -> None:
    rois = np.array([[1, 2, 9, 7], [0, 0, 3, 3], [-4, -4, 2, 30], [5, 5, 5, 5]], np.float32)
    feeds = {"x": floats(2, 3, 8, 10), "rois": rois, "which": np.array([0, 1, 1, 0])}
    attrs = {"output_height": 3, "output_width": 2, "sampling_ratio": ratio, "spatial_scale": 0.8, "mode": mode}
    model = node_model("RoiAlign", feeds, {}, 16, coordinate_transformation_mode=coordinate, **attrs)
    native(model, feeds, reference=by_onnxruntime)


@pytest.mark.parametrize("rest", [(), ("b",), ("b", "m")])
def test_deform_conv(rest: tuple[str, ...]) -> None:
    every = {"b": floats(6), "m": floats(2, 12, 3, 7)}
    feeds = {"x": floats(2, 4, 6, 7), "w": floats(6, 2, 3, 2), "o": floats(2, 24, 3, 7), **{k: every[k] for k in rest}}
    attrs = {"group": 2, "offset_group": 2, "strides": [2, 1], "dilations": [1, 2], "pads": [1, 1, 1, 1]}
    native(node_model("DeformConv", feeds, {}, 19, kernel_shape=[3, 2], **attrs), feeds, reference=by_onnxruntime)


@pytest.mark.parametrize("center", [0, 1])
def test_non_max_suppression(center: int) -> None:
    feeds = {"boxes": RNG.random((2, 20, 4)).astype(np.float32), "scores": RNG.random((2, 3, 20)).astype(np.float32)}
    constants = {"most": np.array([4]), "iou": np.array([0.3], np.float32), "score": np.array([0.4], np.float32)}
    others = {k: RNG.random(v.shape).astype(np.float32) for k, v in feeds.items()}
    model = node_model("NonMaxSuppression", feeds, constants, 11, center_point_box=center)
    native(model, feeds, others, {**feeds, "scores": feeds["scores"] * 0}, reference=by_onnxruntime)


@pytest.mark.parametrize("attrs", [{}, {"onesided": 1}, {"inverse": 1}])
def test_dft(attrs: dict[str, int]) -> None:
    parts = 1 if "onesided" in attrs else 2
    feeds = {"x": floats(2, 12, 3, parts)}
    for length in (8, 12, 15):
        model = node_model("DFT", feeds, {"n": np.array(length), "axis": np.array(1)}, 20, **attrs)
        native(model, feeds)


def test_inverse_of_half_a_spectrum() -> None:
    x = floats(2, 9, 1)
    spectrum = np.fft.rfft(x[..., 0].astype(np.float64), axis=1)
    feeds = {"x": np.stack([spectrum.real, spectrum.imag], -1).astype(np.float32)}
    model = node_model("DFT", feeds, {"n": np.array(9), "axis": np.array(1)}, 20, inverse=1, onesided=1)
    native(model, feeds, reference=lambda *_: [x])


@pytest.mark.parametrize("onesided", [0, 1])
def test_stft(onesided: int) -> None:
    feeds = {"x": floats(2, 50, 1)}
    window = np.hanning(16).astype(np.float32)
    model = node_model("STFT", feeds, {"hop": np.array(5), "window": window, "n": np.array(16)}, 17, onesided=onesided)
    native(model, feeds, reference=by_onnxruntime)


def test_det() -> None:
    feeds = {"x": floats(3, 2, 4, 4)}
    native(node_model("Det", feeds, {}, 11), feeds)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_lp_pool(p: int) -> None:
    feeds = {"x": floats(2, 3, 7, 8)}
    attrs: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1], "p": p}
    native(node_model("LpPool", feeds, {}, 18, **attrs), feeds, reference=by_onnxruntime)
    native(node_model("GlobalLpPool", feeds, {}, 2, p=p), feeds, reference=by_onnxruntime)


@pytest.mark.parametrize("order", [0, 1])
def test_max_pool_with_indices(order: int) -> None:
    feeds = {"x": floats(2, 3, 7, 8)}
    attrs: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1], "dilations": [1, 2]}
    model = node_model("MaxPool", feeds, {}, 12, outputs=2, storage_order=order, **attrs)
    native(model, feeds, reference=by_onnxruntime)


def test_col2im() -> None:
    attrs = {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 2, 1]}
    feeds = {"x": floats(2, 3 * 6, 4 * 5)}
    model = node_model("Col2Im", feeds, {"size": np.array([7, 6]), "block": np.array([3, 2])}, 18, **attrs)
    native(model, feeds)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_resize_keeps_the_aspect_ratio(policy: str) -> None:
    feeds = {"x": floats(1, 2, 4, 6)}
    constants = {"roi": np.zeros(0, np.float32), "scales": np.zeros(0, np.float32), "sizes": np.array([9, 9])}
    attrs = {"axes": [2, 3], "keep_aspect_ratio_policy": policy}
    native(node_model("Resize", feeds, constants, 19, mode="linear", **attrs), feeds)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("outside", [0, 1])
def test_resize_antialiased(mode: str, outside: int) -> None:
    feeds = {"x": floats(1, 2, 9, 11)}
    constants = {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 0.4, 1.7], np.float32)}
    native(node_model("Resize", feeds, constants, 19, mode=mode, antialias=1, exclude_outside=outside), feeds)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_crops(mode: str) -> None:
    feeds = {"x": floats(1, 1, 5, 6)}
    constants = {
        "roi": np.array([0, 0, 0.2, -0.3, 1, 1, 0.7, 1.4], np.float32),
        "scales": np.zeros(0, np.float32),
        "sizes": np.array([1, 1, 4, 7]),
    }
    attrs = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 10.0}
    native(node_model("Resize", feeds, constants, 19, mode=mode, **attrs), feeds)


@pytest.mark.parametrize(
    ("op", "opset", "feeds", "constants", "attrs"),
    [
        ("GridSample", 20, [floats(1, 1, 3, 3), floats(1, 2, 2, 3)], [], {}),
        ("NonMaxSuppression", 11, [floats(1, 4, 4), floats(1, 1, 5)], [np.array([3])], {}),
        ("DFT", 20, [floats(2, 5, 1)], [np.array(-3), np.array(1)], {}),
        ("DFT", 20, [floats(2, 5, 1)], [np.array(5), np.array(2)], {}),
        ("STFT", 17, [floats(1, 5, 1)], [np.array(0), np.ones(4, np.float32)], {}),
        ("STFT", 17, [floats(1, 5, 1)], [np.array(1), np.ones(9, np.float32)], {}),
        ("Col2Im", 18, [floats(1, 4, 9)], [np.array([4, -4]), np.array([2, 2])], {}),
        ("Col2Im", 18, [floats(1, 4, 9)], [np.array([5, 4]), np.array([2, 2])], {}),
        ("DeformConv", 19, [floats(1, 1, 3, 3), floats(1, 1, 2, 2), floats(1, 8, 3, 3)], [], {}),
        ("Resize", 19, [floats(1, 4)], [np.array([0, 0, 1, np.nan], np.float32), np.array([1, 2], np.float32)],
         {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear"}),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(op: str, opset: int, feeds: Any, constants: Any, attrs: Any) -> None:
    given = {f"x{i}": v for i, v in enumerate(feeds)}
    names = [*given, *(f"c{i}" for i in range(len(constants)))]
    ports = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), [None] * v.ndim)
        for k, v in given.items()
    ]
    tensors = [numpy_helper.from_array(v, f"c{i}") for i, v in enumerate(constants)]
    node = helper.make_node(op, names, ["y"], name="node", **attrs)
    graph = helper.make_graph([node], "g", ports, [helper.make_empty_tensor_value_info("y")], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    with pytest.raises(PlanishError):
        planish.InferenceSession(model).run(None, given)
