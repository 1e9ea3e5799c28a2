"""Feeds for a measurement: random by seed, or samples from arrays of the user's."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from planish.errors import InputError, UsageError
from planish.measure.contestant import InputSpec

Array = npt.NDArray[Any]
Feeds = dict[str, Array]
Shapes = Mapping[str, Sequence[int]]

#: The size of a free dimension that does not count samples.
FREE_LENGTH = 64

_MAX_ID = 100
_BYTE_BUDGET = 2 << 30
_NUMPY_NAMES = {"float": "float32", "double": "float64", "bool": "bool"}


def random_feeds(
    inputs: Sequence[InputSpec], *, shapes: Shapes | None = None, seed: int = 0
) -> tuple[Feeds, list[str]]:
    """One feed by `seed`: normal floats, pixels for 8-bit integers, ids 0..100 for longer ones, ones for masks, a word
    for texts.

    `shapes` gives the shapes of inputs by name, and with them the sizes of symbolic dimensions in other inputs. A size
    that stays unknown becomes 1 where it counts samples, else 64; the notes say so.
    Returns the feed and the notes. Raises UsageError for a shape that does not fit or an input that is not in the
    model, InputError for a type that cannot be made up.
    """
    wanted = dict(shapes or {})
    if unknown := wanted.keys() - {spec.name for spec in inputs}:
        known = ", ".join(spec.name for spec in inputs)
        raise UsageError(f"--shape {min(unknown)}: the model has no such input; it has {known}")
    given = _given_sizes(inputs, wanted)
    assumed: dict[str, int] = {}
    rng = np.random.default_rng(seed)
    feeds, notes = {}, []
    for spec in inputs:
        shape, guesses = _complete_shape(spec, given, assumed)
        if spec.name in wanted:
            shape = tuple(wanted[spec.name])
        elif guesses:
            notes.append(f"input '{spec.name}': {', '.join(guesses)}; --shape {spec.name}=… says otherwise")
        feeds[spec.name] = _random_array(spec, shape, rng)
    return feeds, notes


def read_feeds(path: str | Path, inputs: Sequence[InputSpec]) -> list[Feeds]:
    """The feeds of an .npz file whose keys are input names and whose first axis counts samples; see `split_samples`."""
    try:
        with open(path, "rb") as stream:
            stored = np.load(stream, allow_pickle=False)
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise InputError(f"{path}: a single array; save a .npz with one array per input name")
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: cannot be read: {reason}; give a .npz file") from None
    return split_samples(arrays, inputs)


def split_samples(arrays: Mapping[str, Array], inputs: Sequence[InputSpec]) -> list[Feeds]:
    """Cut arrays along their first axis into feeds of the model's batch (1 where it is symbolic).

    Scalars go into every feed; samples that do not fill a batch are left out. Raises InputError for arrays that are
    missing, not the model's, of unequal length, or too few for one batch.
    """
    names = {spec.name for spec in inputs}
    for name in sorted(names ^ arrays.keys()):
        problem = "missing" if name in names else "not an input of the model"
        raise InputError(f"input '{name}': {problem}; the arrays' names must be {', '.join(sorted(names))}")
    counts = {}
    for spec in inputs:
        if arrays[spec.name].ndim and spec.shape:
            batch = spec.shape[0] if isinstance(spec.shape[0], int) and spec.shape[0] > 0 else 1
            counts[spec.name] = (batch, len(arrays[spec.name]) // batch)
    feeds_count = min((count for _, count in counts.values()), default=1)
    if feeds_count < 1 or any(count != feeds_count for _, count in counts.values()):
        listed = ", ".join(
            f"'{name}' {len(arrays[name])} for batches of {batch}" for name, (batch, _) in counts.items()
        )
        raise InputError(f"inputs: the samples do not make the same number of batches: {listed}; give equal first axes")
    return [
        {
            name: array[i * counts[name][0] : (i + 1) * counts[name][0]] if name in counts else array
            for name, array in arrays.items()
        }
        for i in range(feeds_count)
    ]


def _given_sizes(inputs: Sequence[InputSpec], wanted: Shapes) -> dict[str, int]:
    """The sizes of symbolic dimensions that given shapes imply. UsageError for a shape that does not fit."""
    sizes: dict[str, int] = {}
    for spec in inputs:
        if spec.name not in wanted:
            continue
        shape = wanted[spec.name]
        fits = len(shape) == len(spec.shape) and all(
            size >= 0 and (not isinstance(dim, int) or dim in (size, -1))
            for size, dim in zip(shape, spec.shape, strict=True)
        )
        if not fits:
            declared = ",".join(str(dim if dim is not None else "?") for dim in spec.shape)
            text = "x".join(map(str, shape))
            raise UsageError(f"--shape {spec.name}={text}: does not fit the declared [{declared}]; change it")
        sizes.update({dim: size for size, dim in zip(shape, spec.shape, strict=True) if isinstance(dim, str)})
    return sizes


def _complete_shape(
    spec: InputSpec, given: Mapping[str, int], assumed: dict[str, int]
) -> tuple[tuple[int, ...], list[str]]:
    """The shape with assumed sizes, and what was assumed. A name has one size in all inputs, which `assumed` keeps."""
    shape, guesses = [], []
    for axis, dim in enumerate(spec.shape):
        if isinstance(dim, int) and dim >= 0:
            shape.append(dim)
        elif isinstance(dim, str) and dim in given:
            shape.append(given[dim])
        else:
            size = 1 if _is_batch(spec.shape, axis) else FREE_LENGTH
            if isinstance(dim, str):
                size = assumed.setdefault(dim, size)
            shape.append(size)
            guesses.append(f"{dim if isinstance(dim, str) else '?'} taken as {size}")
    return tuple(shape), guesses


def _is_batch(shape: Sequence[int | str | None], axis: int) -> bool:
    """Whether a free dimension counts samples: the first axis, or, as in recurrent states, the second of three."""
    return axis == 0 or (axis == 1 and isinstance(shape[0], int) and len(shape) == 3)


def _random_array(spec: InputSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if spec.type in ("tensor(str)", "tensor(string)"):
        return np.full(shape, "text", object)
    dtype = _dtype(spec)
    if int(np.prod([int(size) for size in shape], dtype=object)) * dtype.itemsize > _BYTE_BUDGET:
        sizes = "x".join(map(str, shape))
        raise UsageError(f"input '{spec.name}': {sizes} is over 2 GiB; give a smaller --shape")
    if dtype.kind == "f":
        return rng.standard_normal(shape, dtype=np.float32).astype(dtype)
    if dtype.kind == "b":
        return np.ones(shape, dtype)
    name = spec.name.lower()
    if "mask" in name:
        return np.ones(shape, dtype)
    if "token_type" in name or "segment" in name:
        return np.zeros(shape, dtype)
    if dtype.itemsize == 1:
        low, high = (0, 256) if dtype.kind == "u" else (-128, 128)
        return rng.integers(low, high, shape, dtype=dtype)
    return rng.integers(0, _MAX_ID + 1, shape, dtype=dtype)


def _dtype(spec: InputSpec) -> np.dtype[Any]:
    inner = spec.type.removeprefix("tensor(").removesuffix(")")
    try:
        dtype = np.dtype(_NUMPY_NAMES.get(inner, inner))
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "fiub" or not spec.type.startswith("tensor("):
        raise InputError(f"input '{spec.name}': no random values for {spec.type}; give the inputs as a .npz file")
    return dtype
