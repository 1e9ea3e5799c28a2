"""The models of the table, and what is to be reached on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: The least speed of float32 against the best peer in float32: of each model, and as the geometric mean.
FLOAT_GOAL, FLOAT_MEAN_GOAL = 0.95, 1.05
#: The least speed of int8 against planish's own float32 on AVX2: exact products through 16 bits, and safe pairs.
EXACT_GOAL, SAFE_PAIRS_GOAL = 1.2, 1.5


@dataclass(frozen=True)
class Work:
    """A model at one shape. `source`: a float model's file in the folder of shared models, or `built:NAME` for one that
    bench.models builds; "" where there is only `quantized`, a file that is int8 as it came. Without one, each tool
    quantizes the float model itself.

    goal: the least speed of int8 against the best peer in any precision, with AMX. build: arguments of the builder.
    """

    name: str
    goal: float
    source: str = ""
    quantized: str = ""
    build: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def is_transformer(self) -> bool:
        return self.source in ("built:bert_base", "built:minilm")


def _encoder(name: str, model: str, batch: int, sequence: int, goal: float) -> Work:
    return Work(name, goal, f"built:{model}", build={"batch": batch, "sequence": sequence})


WORKS = (
    Work("ResNet-50", 1.8, "built:resnet50"),
    Work("MobileNetV2", 1.4, "built:mobilenet_v2"),
    _encoder("BERT-base, 128 tokens", "bert_base", 1, 128, 2.0),
    _encoder("MiniLM-L6, 32 tokens", "minilm", 1, 32, 1.8),
    _encoder("MiniLM-L6, 128 tokens", "minilm", 1, 128, 1.8),
    _encoder("MiniLM-L6, 16 × 32 tokens", "minilm", 16, 32, 1.8),
    _encoder("MiniLM-L6, 16 × 128 tokens", "minilm", 16, 128, 1.8),
    Work("squeezenet1.1", 1.5, "imagenet/squeezenet1.1_fp32.onnx"),
    Work("shufflenet-v2-int8", 1.5, quantized="imagenet/shufflenet-v2-12-int8.onnx"),
    Work(
        "mobilenet_v1 0.25 128",
        1.5,
        "imagenet/mobilenet_v1_0.25_128_quant.fp32.onnx",
        "imagenet/mobilenet_v1_0.25_128_quant.qdq.onnx",
    ),
    Work("mobilenet_v1 0.5 160", 1.5, quantized="imagenet/mobilenet_v1_0.5_160_quant.qdq.onnx"),
    Work("face RFB-320", 1.5, "face/version-RFB-320.onnx"),
    Work("face yunet 120×160", 1.5, "face/face_detection_yunet_120x160.onnx"),
    Work("FastestDet", 1.5, "detect/FastestDet.onnx"),
    Work("OCR cls", 1.5, "ocr/ch_ppocr_mobile_v2.0_cls.onnx", shapes={"x": (1, 3, 48, 192)}),
    Work("OCR rec", 1.5, "ocr/en_number_mobile_v2.0_rec.onnx", shapes={"x": (1, 3, 32, 320)}),
    Work("deeplab v3 mobilenet", 1.5, "segment/deeplab_v3_mnv2_1_default_1.onnx"),
    Work("keyword spotting", 2.0, "mlperf_tiny/kws_ref_model_float32.fp32.onnx", "mlperf_tiny/kws_ref_model.qdq.onnx"),
    Work("ResNet-8", 2.0, "mlperf_tiny/pretrainedResnet.fp32.onnx", "mlperf_tiny/pretrainedResnet_quant.qdq.onnx"),
    Work("vww 96", 2.0, "mlperf_tiny/vww_96_float.fp32.onnx", "mlperf_tiny/vww_96_int8.qdq.onnx"),
    Work("autoencoder ad01", 2.0, "mlperf_tiny/ad01_fp32.fp32.onnx", "mlperf_tiny/ad01_int8.qdq.onnx"),
    Work("mnist-8", 2.0, "mnist/mnist-8.onnx"),
    Work("magika", 2.0, "nlp/magika_fast_v2_1.onnx", shapes={"bytes": (1, 1024)}),
)
