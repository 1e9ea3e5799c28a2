"""The demo's network and images: scikit-learn's handwritten digits, enlarged to 32×32.

The package stores the 8×8 originals (uint8, 0..16); :func:`enlarge` makes the network's input from them, exactly and
the same everywhere. `tools/train_demo.py` writes both files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SIDE = 32
_SOURCE_SIDE = 8
_SOURCE_MAX = 16.0

MODEL_PATH = Path(__file__).with_name("digits.onnx")
DATA_PATH = Path(__file__).with_name("digits.npz")


@dataclass(frozen=True)
class DemoData:
    """Images as the network's input `image` takes them: float32[n,1,32,32] in 0..1; labels int64[n] in 0..9."""

    calibration: npt.NDArray[np.float32]
    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def enlarge(digits: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Enlarge 8×8 digits, values 0..16, to float32[n,1,32,32] in 0..1, bilinearly with half-pixel centres.

    Every factor is a multiple of 1/8 and every pixel a small integer, so the products and sums are exact in float32.
    """
    pixels = np.asarray(digits, dtype=np.float32).reshape(-1, _SOURCE_SIDE, _SOURCE_SIDE)
    rows = _bilinear_matrix()
    return np.divide(rows @ pixels @ rows.T, _SOURCE_MAX, dtype=np.float32)[:, None]


def load() -> DemoData:
    """Load the calibration images (all from the training part) and the held-back images with their labels."""
    with np.load(DATA_PATH, allow_pickle=False) as stored:
        return DemoData(
            calibration=enlarge(stored["calibration"]),
            images=enlarge(stored["images"]),
            labels=stored["labels"].astype(np.int64),
        )


def _bilinear_matrix() -> npt.NDArray[np.float32]:
    """The 32×8 matrix that interpolates one axis; beyond the outermost centres the edge pixel repeats."""
    centres = (np.arange(SIDE) + 0.5) * (_SOURCE_SIDE / SIDE) - 0.5
    centres = centres.clip(0, _SOURCE_SIDE - 1)
    distance = np.abs(centres[:, None] - np.arange(_SOURCE_SIDE)[None, :])
    matrix: npt.NDArray[np.float32] = np.maximum(0.0, 1.0 - distance).astype(np.float32)
    return matrix
