"""Named arrays in `.npz` files, read without pickle and written whole or not at all."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from planish.errors import InputError
from planish.files import atomic_writer

Array = npt.NDArray[Any]


def read_npz(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays of an `.npz` by name. Raises InputError for what is none."""
    where = os.fspath(path)
    try:
        with open(path, "rb") as stream:
            if not zipfile.is_zipfile(stream):
                raise InputError(f"{where}: is not an .npz file; write it with numpy.savez, one array for each name")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror or error}; check the path") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{where}: is damaged ({reason}); write it again with numpy.savez") from None


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Write arrays under any names. Strings are stored as NumPy's fixed-width text. Raises OutputError."""
    with atomic_writer(path) as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            stored = array.astype(np.str_) if array.dtype == object else array
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(stored), allow_pickle=False)
