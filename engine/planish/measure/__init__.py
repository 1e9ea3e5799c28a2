"""Measuring models side by side: each contestant in a process of its own, in alternating blocks, outputs verified."""

from planish.measure.contestant import ENGINES, Contestant, InputSpec
from planish.measure.inputs import random_feeds, read_feeds, split_samples
from planish.measure.model_size import model_bytes
from planish.measure.result import ContestantResult, Measurement
from planish.measure.run import measure
from planish.measure.statistics import Agreement, Interval, agreement, median_interval

__all__ = [
    "ENGINES",
    "Agreement",
    "Contestant",
    "ContestantResult",
    "InputSpec",
    "Interval",
    "Measurement",
    "agreement",
    "measure",
    "median_interval",
    "model_bytes",
    "random_feeds",
    "read_feeds",
    "split_samples",
]
