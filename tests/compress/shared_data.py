"""The labelled data beside the shared models, ready to feed: (inputs float32, labels int64)."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
from PIL import Image

Labelled = tuple[np.ndarray, np.ndarray]


def imagenet(folder: Path) -> Labelled:
    """[100,3,224,224]: resized to 256, centre crop, ImageNet's mean and deviation."""
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    images, labels = [], []
    with open(folder / "imagenet" / "labels.csv", newline="") as stream:
        for row in csv.DictReader(stream):
            image = Image.open(folder / "imagenet" / row["file"]).convert("RGB")
            factor = 256 / min(image.size)
            image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BILINEAR)
            left, top = (image.width - 224) // 2, (image.height - 224) // 2
            pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
            images.append(((pixels - mean) / deviation).transpose(2, 0, 1))
            labels.append(int(row["index"]))
    return np.stack(images), np.array(labels)


def cifar10(folder: Path) -> Labelled:
    """[500,3,32,32] in 0...255, in a fixed shuffled order."""
    images, labels = [], []
    for label, place in enumerate(sorted((folder / "cifar10_jpg").iterdir())):
        for path in sorted(place.iterdir()):
            images.append(np.asarray(Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1))
            labels.append(label)
    order = np.random.default_rng(0).permutation(len(labels))
    return np.stack(images)[order], np.array(labels)[order]


def keywords(folder: Path) -> Labelled:
    """[200,1,49,10]: features of spoken words."""
    features, labels = [], []
    for line in (folder / "kws01" / "y_labels.csv").read_text().split():
        name, _, label = line.split(",")
        raw = np.fromfile(folder / "kws01" / name, np.int8).astype(np.float32)
        features.append(((raw - 83) * np.float32(0.5847029)).reshape(1, 49, 10))
        labels.append(int(label))
    return np.stack(features), np.array(labels)


def digits(folder: Path) -> Labelled:
    """The first 2,500 of MNIST's test images, [2500,1,28,28] in 0...255."""
    images = gzip.decompress((folder / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "mnist" / "t10k-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)[:2500]
    return pixels.astype(np.float32), np.frombuffer(labels, np.uint8, offset=8)[:2500].astype(np.int64)
