"""Progress of long work on the standard error: only where a person watches, and never in the way of a pipe."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator

#: Called with the steps done, the steps in all (0 where unknown), and what is being done.
Progress = Callable[[int, int, str], None]


@contextlib.contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Progress | None]:
    """A progress callback that draws a bar; None where nobody watches, with `quiet`, or without rich."""
    if quiet or not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    percentage, what = TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}", markup=False)
    columns = (BarColumn(), percentage, TimeElapsedColumn(), TimeRemainingColumn(), what)
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)

        def update(done: int, total: int, what: str) -> None:
            bars.update(task, completed=done, total=total or None, description=what)

        yield update
