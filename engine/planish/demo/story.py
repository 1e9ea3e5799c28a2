"""The whole story on the embedded network: every form of it compressed, judged on held-back images, and timed."""

from __future__ import annotations

import io
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planish.arrays import write_npz
from planish.compress import Report
from planish.demo.data import MODEL_PATH, DemoData, load
from planish.errors import OutputError
from planish.files import write_atomic
from planish.lowering.lowered import Packed
from planish.measure import Contestant, ContestantResult, Measurement, measure
from planish.session import InferenceSession

Progress = Callable[[int, int, str], None]

_RULE = 'version = 1\n[[rules]]\nmatch = {{op = ["Conv", "Gemm", "MatMul"]}}\n{}\n'
_INT8 = 'weights = "int8"\nactivations = "uint8"'

_GLOBAL = 'scope = "global", score = "magnitude"'

#: Form → recipe: a name, or TOML.
FORMS = {
    "int8": "int8",
    "pruned 90 %": _RULE.format(f"prune = {{sparsity = 0.9, {_GLOBAL}}}"),
    "int8, pruned 80 % in 1x4": _RULE.format(f'prune = {{sparsity = 0.8, {_GLOBAL}, pattern = "1x4"}}\n{_INT8}'),
    "int8, pruned 80 % in 16x4": _RULE.format(f'prune = {{sparsity = 0.8, {_GLOBAL}, pattern = "16x4"}}\n{_INT8}'),
    "codebook, 4 bits": _RULE.format("weights = {codebook = 4}"),
    "codebook, pruned 80 %": _RULE.format(f"prune = {{sparsity = 0.8, {_GLOBAL}}}\nweights = {{codebook = 4}}"),
}
FLOAT = "float"

#: Images that calibrate a form.
CALIBRATION = 100
_BATCH = 64
#: Each form is timed for this long; with loading and compressing, the demo stays under a minute on two cores.
_SECONDS = 1.8


@dataclass(frozen=True)
class Chapter:
    """One form: `accuracy` is the share of held-back images it gets right.

    formats: how many layers run from which weight format. remarks: layers that were kept or declined, and why.
    """

    name: str
    accuracy: float
    timing: ContestantResult
    formats: dict[str, int]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Story:
    """All chapters, the float network first, and under which conditions they were timed."""

    chapters: tuple[Chapter, ...]
    images: int
    calibration: int
    measurement: Measurement


def tell(threads: int = 1, progress: Progress | None = None) -> Story:
    """Compress, judge and time the embedded network in all FORMS."""
    data = load()
    steps = _Steps(progress)
    with tempfile.TemporaryDirectory(prefix="planish-demo-") as folder:
        paths, reports = {FLOAT: MODEL_PATH}, {}
        samples = Path(folder) / "calibration.npz"
        write_npz(samples, {"image": data.calibration})
        for name, recipe in FORMS.items():
            paths[name], reports[name] = _compress(Path(folder), name, recipe, samples)
            steps.advance(f"compress: {name}")
        sessions = {name: InferenceSession(path) for name, path in paths.items()}
        judged = {}
        for name, session in sessions.items():
            judged[name] = _accuracy(session, data)
            steps.advance(f"judge: {name}")
        measured = measure(
            [Contestant(name, path) for name, path in paths.items()],
            feeds=[{"image": data.images[:1]}],
            threads=threads,
            seconds=_SECONDS,
            progress=steps.measuring,
        )
    chapters = [
        Chapter(name, judged[name], measured[name], _formats(session), _remarks(session, reports.get(name)))
        for name, session in sessions.items()
    ]
    return Story(tuple(chapters), len(data.images), CALIBRATION, measured)


def save(folder: str | os.PathLike[str]) -> list[Path]:
    """Write model.onnx, calibration.npz, images.npz and labels.npy; the folder is made where it is missing.

    Raises OutputError where something cannot be written.
    """
    target, data, labels = Path(folder), load(), io.BytesIO()
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target}: cannot be made a folder: {error.strerror}; choose another name") from None
    np.save(labels, data.labels)
    write_atomic(target / "model.onnx", MODEL_PATH.read_bytes())
    write_npz(target / "calibration.npz", {"image": data.calibration})
    write_npz(target / "images.npz", {"image": data.images})
    write_atomic(target / "labels.npy", labels.getvalue())
    return [target / name for name in ("model.onnx", "calibration.npz", "images.npz", "labels.npy")]


class _Steps:
    """Counts over all parts of the demo; the share of the measurement is known once it begins."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._done = 0
        self._ahead = 2 * len(FORMS) + 1

    def advance(self, what: str) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, 4 * self._ahead, what)

    def measuring(self, what: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(self._ahead * total + 3 * self._ahead * done, 4 * self._ahead * total, what)


def _compress(folder: Path, name: str, recipe: str, samples: Path) -> tuple[Path, Report]:
    """The compressed file and its report."""
    import planish

    path = folder / f"{name.replace(' ', '-').replace('%', '').replace(',', '')}.onnx"
    return path, planish.compress(MODEL_PATH, path, recipe=recipe, calibration=samples, samples=CALIBRATION)


def _accuracy(session: InferenceSession, data: DemoData) -> float:
    """The share of held-back images whose greatest score is the right digit's."""
    right = 0
    for start in range(0, len(data.images), _BATCH):
        (scores,) = session.run(None, {"image": data.images[start : start + _BATCH]})
        right += int((scores.argmax(-1) == data.labels[start : start + _BATCH]).sum())
    return right / len(data.images)


def _formats(session: InferenceSession) -> dict[str, int]:
    """Weight format → layers."""
    constants = session.lowered.constants.values()
    return dict(Counter(value.format for value in constants if isinstance(value, Packed)).most_common())


def _remarks(session: InferenceSession, report: Report | None) -> tuple[str, ...]:
    """What compression kept as it was, and what lowering declined."""
    kept = [f"{layer.layer}: {layer.note}" for layer in report.layers if layer.note] if report is not None else []
    return (*kept, *session.lowered.notes)
