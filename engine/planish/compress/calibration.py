"""Calibration data: every accepted source becomes a re-readable stream of feeds that fit the model's inputs."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from planish.errors import CalibrationError, first_line

Feed = dict[str, NDArray[Any]]

#: How many samples are fed at once where the model's batch is free.
FREE_BATCH = 8
#: The length that random data gives to a free dimension that is not the batch: of images, and of other data.
RANDOM_SIDE = 64
RANDOM_LENGTH = 512


@runtime_checkable
class DataReader(Protocol):
    """ONNX Runtime's CalibrationDataReader: the next feed, or None at the end."""

    def get_next(self) -> Mapping[str, NDArray[Any]] | None: ...


CalibrationSource = str | os.PathLike[str] | DataReader | Iterable[Mapping[str, NDArray[Any]]]


class Calibration:
    """Feeds for a model, readable any number of times with constant memory.

    `kind` names the source for the report ("npz", "folder", "random", "reader", "feeds"); `samples` counts the feeds'
    samples once they were read to the end.
    """

    def __init__(
        self, kind: str, open_feeds: Callable[[], Iterator[Mapping[str, NDArray[Any]]]], samples: int, model: ir.Model
    ) -> None:
        self.kind = kind
        self.samples = 0
        self.limit = samples
        self._open = open_feeds
        self._inputs = model_inputs(model)

    def __iter__(self) -> Iterator[Feed]:
        """The feeds, checked, up to the limit of samples. Raises CalibrationError for feeds that do not fit."""
        seen = 0
        for number, feed in enumerate(self._open()):
            checked = _check_feed(self._inputs, feed, number)
            yield checked
            seen += _samples_in(self._inputs, checked)
            if seen >= self.limit:
                break
        if seen == 0:
            raise CalibrationError("calibration: has no samples; give at least one")
        self.samples = seen

    def count(self) -> int:
        """How many feeds there are."""
        return sum(1 for _ in self)


def model_inputs(model: ir.Model) -> dict[str, ir.Value]:
    """The inputs a caller feeds, by name: those without an initializer."""
    return {str(value.name): value for value in model.graph.inputs if value.name not in model.graph.initializers}


@contextlib.contextmanager
def open_calibration(
    source: CalibrationSource, model: ir.Model, samples: int = 300, seed: int = 0
) -> Iterator[Calibration]:
    """Open any calibration source: an `.npz`, a folder of `.npy`, "random", a data reader, or an iterable of feeds.

    `samples` bounds how many are used. A source that can be read only once is spooled to a temporary folder.
    """
    if samples < 1:
        raise CalibrationError(f"calibration: samples = {samples}; give at least 1")
    with contextlib.ExitStack() as stack:
        kind, feeds = _open_source(source, model, samples, seed, stack)
        yield Calibration(kind, feeds, samples, model)


def _open_source(
    source: CalibrationSource, model: ir.Model, samples: int, seed: int, stack: contextlib.ExitStack
) -> tuple[str, Callable[[], Iterator[Mapping[str, NDArray[Any]]]]]:
    inputs = model_inputs(model)
    if isinstance(source, str | os.PathLike):
        if str(source) == "random":
            return "random", lambda: _random_feeds(inputs, samples, seed)
        path = Path(source)
        if path.is_dir():
            return "folder", _folder_feeds(path, inputs)
        return "npz", _npz_feeds(path, inputs)
    if isinstance(source, Mapping):
        arrays = {name: np.asarray(array) for name, array in source.items()}
        return "arrays", lambda: _split(arrays, inputs, "calibration")
    if isinstance(source, DataReader):
        return "reader", _spool(iter(source.get_next, None), samples, stack)
    if isinstance(source, Iterator):
        return "feeds", _spool(source, samples, stack)
    if not isinstance(source, Iterable):
        raise CalibrationError(
            f"calibration: {type(source).__name__} is no source; give an .npz, a folder, a data reader or feeds"
        )
    return "feeds", lambda: iter(source)


def _spool(
    feeds: Iterable[Mapping[str, NDArray[Any]] | None], samples: int, stack: contextlib.ExitStack
) -> Callable[[], Iterator[Feed]]:
    """Write the first `samples` feeds to disk, so that a one-way source can be read again."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="planish-calibration-")))
    names: list[Path] = []
    for number, feed in enumerate(itertools.islice(feeds, samples)):
        if not isinstance(feed, Mapping):
            raise CalibrationError(f"calibration: feed {number} is {type(feed).__name__}; give a dict of name to array")
        path = folder / f"{number}.npz"
        arrays: dict[str, Any] = {f"feed/{name}": np.asarray(array) for name, array in feed.items()}
        np.savez(path, **arrays)
        names.append(path)

    def read() -> Iterator[Feed]:
        for path in names:
            with np.load(path, allow_pickle=False) as arrays:
                yield {name.removeprefix("feed/"): arrays[name] for name in arrays.files}

    return read


def _npz_feeds(path: Path, inputs: Mapping[str, ir.Value]) -> Callable[[], Iterator[Feed]]:
    arrays = _load(path)
    if isinstance(arrays, np.ndarray):
        if len(inputs) != 1:
            raise CalibrationError(f"{path}: one array for {len(inputs)} inputs; give an .npz with their names as keys")
        arrays = {next(iter(inputs)): arrays}
    unknown = sorted(set(arrays) - set(inputs))
    if unknown:
        raise CalibrationError(f"{path}: no input is called '{unknown[0]}'; the model's inputs are {', '.join(inputs)}")
    return lambda: _split(arrays, inputs, str(path))


def _load(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    try:
        with open(path, "rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise CalibrationError(f"{path}: cannot be read: No such file or directory; check the path") from None
    except (OSError, ValueError, EOFError) as error:
        reason = first_line(error)
        raise CalibrationError(
            f"{path}: cannot be read as .npz or .npy: {reason}; write it with numpy.savez"
        ) from error
    except Exception as error:
        raise CalibrationError(f"{path}: is not a whole .npz file; write it with numpy.savez") from error


def _split(arrays: Mapping[str, NDArray[Any]], inputs: Mapping[str, ir.Value], where: str) -> Iterator[Feed]:
    """Split arrays whose first axis is samples into feeds of the model's batch."""
    missing = [name for name in inputs if name not in arrays]
    if missing:
        raise CalibrationError(f"{where}: nothing for input '{missing[0]}'; its keys are {', '.join(arrays) or 'none'}")
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    total = min(counts.values())
    if total != max(counts.values()):
        raise CalibrationError(f"{where}: its arrays hold {counts} samples; give the same number for every input")
    batch = _batch(arrays, inputs)
    if 0 < total < batch:
        raise CalibrationError(f"{where}: {total} samples for a model of batch {batch}; give at least {batch}")
    step = batch or FREE_BATCH
    for start in range(0, total - (step - 1 if batch else 0), step):
        yield {
            name: array[start] if array.ndim == _rank(inputs[name]) + 1 else array[start : start + step]
            for name, array in arrays.items()
        }


def _rank(value: ir.Value) -> int:
    return len(value.shape) if value.shape is not None else -2


def _batch(arrays: Mapping[str, NDArray[Any]], inputs: Mapping[str, ir.Value]) -> int:
    """The model's fixed batch; 0 where it is free; 1 where an input has no batch axis."""
    if any(arrays[name].ndim == _rank(value) + 1 for name, value in inputs.items()):
        return 1
    firsts = [value.shape[0] for value in inputs.values() if value.shape is not None and len(value.shape)]
    fixed = {first for first in firsts if isinstance(first, int)}
    return fixed.pop() if len(fixed) == 1 else (1 if fixed else 0)


def _folder_feeds(folder: Path, inputs: Mapping[str, ir.Value]) -> Callable[[], Iterator[Feed]]:
    """Single input: each `.npy` is a feed or a sample. Several: a sub-folder an input, files matched by their order."""
    files: dict[str, list[Path]] = {}
    for name in inputs:
        place = folder if len(inputs) == 1 and not (folder / name).is_dir() else folder / name
        files[name] = sorted(place.glob("*.npy"))
        if not files[name]:
            raise CalibrationError(f"{place}: no .npy file for input '{name}'; give one a sample")
    if len({len(paths) for paths in files.values()}) != 1:
        raise CalibrationError(f"{folder}: the inputs have different numbers of files; give the same for every input")

    def read() -> Iterator[Feed]:
        for row in zip(*files.values(), strict=True):
            feed: Feed = {}
            for (name, value), path in zip(inputs.items(), row, strict=True):
                array = _load(path)
                if not isinstance(array, np.ndarray):
                    raise CalibrationError(f"{path}: is an .npz; give .npy files")
                feed[name] = array[np.newaxis] if array.ndim == _rank(value) - 1 else array
            yield feed

    return read


def _random_feeds(inputs: Mapping[str, ir.Value], samples: int, seed: int) -> Iterator[Feed]:
    """Standard normal floats, small non-negative integers, at shapes the inputs declare."""
    generator = np.random.default_rng(seed)
    shapes = _random_shapes(inputs)
    for _ in range(samples):
        feed: Feed = {}
        for name, value in inputs.items():
            shape, dtype = shapes[name], _numpy_dtype(value)
            if np.issubdtype(dtype, np.floating):
                feed[name] = generator.standard_normal(shape).astype(dtype)
            else:
                feed[name] = generator.integers(0, 2, shape).astype(dtype)
        yield feed


def _random_shapes(inputs: Mapping[str, ir.Value]) -> dict[str, list[int]]:
    """A shape for each input; a symbol that is the first dimension of one input is 1 everywhere."""
    declared = {name: list(value.shape) if value.shape is not None else [] for name, value in inputs.items()}
    batches = {str(dims[0]) for dims in declared.values() if dims and not isinstance(dims[0], int)}
    shapes: dict[str, list[int]] = {}
    for name, dims in declared.items():
        length = RANDOM_SIDE if len(dims) >= 4 else RANDOM_LENGTH
        shapes[name] = [
            dim if isinstance(dim, int) else 1 if i == 0 or str(dim) in batches else length
            for i, dim in enumerate(dims)
        ]
    return shapes


def _numpy_dtype(value: ir.Value) -> np.dtype[Any]:
    return np.dtype(value.dtype.numpy()) if value.dtype is not None else np.dtype(np.float32)


def _check_feed(inputs: Mapping[str, ir.Value], feed: Mapping[str, Any], number: int) -> Feed:
    """`feed` as arrays of the right names, types and ranks, all finite."""
    if not isinstance(feed, Mapping):
        raise CalibrationError(f"calibration: feed {number} is {type(feed).__name__}; give a dict of name to array")
    checked: Feed = {}
    for name, value in inputs.items():
        if name not in feed:
            raise CalibrationError(
                f"calibration: feed {number} lacks input '{name}'; it has {', '.join(feed) or 'none'}"
            )
        array, dtype = np.asarray(feed[name]), _numpy_dtype(value)
        if array.dtype != dtype:
            if not np.can_cast(array.dtype, dtype, "same_kind"):
                raise CalibrationError(f"calibration: input '{name}' is {array.dtype}, expected {dtype}; cast it")
            array = array.astype(dtype)
        _check_shape(name, value, array)
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise CalibrationError(f"calibration: sample {number} of input '{name}' has NaN or infinity; remove it")
        checked[name] = array
    return checked


def _check_shape(name: str, value: ir.Value, array: NDArray[Any]) -> None:
    if value.shape is None:
        return
    expected = [dim if isinstance(dim, int) else None for dim in value.shape]
    fits = len(expected) == array.ndim and all(e in (None, n) for e, n in zip(expected, array.shape, strict=True))
    if not fits:
        wanted = ",".join("?" if dim is None else str(dim) for dim in expected)
        got = ",".join(map(str, array.shape))
        raise CalibrationError(f"calibration: input '{name}' expects [{wanted}], got [{got}]; reshape the samples")


def _samples_in(inputs: Mapping[str, ir.Value], feed: Feed) -> int:
    """The number of samples of a feed: the first axis where the model's batch is free or fixed, else 1."""
    first = next(iter(inputs), None)
    if first is None or feed[first].ndim == 0:
        return 1
    return max(int(feed[first].shape[0]), 1)
