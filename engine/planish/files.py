"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from planish.errors import OutputError


@contextlib.contextmanager
def atomic_writer(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on success it replaces `path`, on any exception it is removed.

    The data is on the disk (fsync) before the rename, so a reader sees the old file or the new one, never a part.
    Raises OutputError where the file cannot be created or written.
    """
    target = Path(path)
    handle, name = _create_beside(target)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, target)
    except OSError as error:
        _remove(name)
        raise _output_error(target, error) from error
    except BaseException:
        _remove(name)
        raise


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` with `atomic_writer`."""
    with atomic_writer(path) as stream:
        stream.write(data)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OutputError now if `path` could not be written later; long work asks before it starts."""
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; give the name of a file in it")
    handle, name = _create_beside(target)
    os.close(handle)
    _remove(name)


def _create_beside(target: Path) -> tuple[int, str]:
    """Create an empty temporary file in the folder of `target`, readable as the process's umask allows."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise _output_error(target, error) from error
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(name, 0o666 & ~umask)
    return handle, name


def _remove(name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name)


def _output_error(target: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(f"{target}: cannot be written: {reason}; choose a folder that exists and has room")
