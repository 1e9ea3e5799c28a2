"""Tables on the terminal: drawn by rich where it is installed and a person watches, else as aligned plain text."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO


@dataclass
class Table:
    """Rows of text. A column whose title ends in `>` is aligned to the right; the mark is not printed."""

    titles: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    heading: str = ""
    #: Lines below the table.
    footer: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[tuple[str, bool]]:
        """(title, whether aligned to the right) of each column."""
        return [(title.removesuffix(">"), title.endswith(">")) for title in self.titles]

    def print(self, stream: TextIO | None = None) -> None:
        """Print to `stream`, by default the standard output."""
        target = stream or sys.stdout
        if target.isatty() and importlib.util.find_spec("rich") is not None:
            _print_rich(self, target)
        else:
            target.write("\n".join([*plain_lines(self), ""]))


def plain_lines(table: Table) -> list[str]:
    """The table as text; columns that are empty in every row are left out."""
    columns = table.columns
    shown = [i for i in range(len(columns)) if any(row[i] for row in table.rows)]
    lines = [table.heading] if table.heading else []
    if shown:
        cells = [[columns[i][0] for i in shown], *([row[i] for i in shown] for row in table.rows)]
        widths = [max(len(row[k]) for row in cells) for k in range(len(shown))]
        rights = [columns[i][1] for i in shown]
        aligned = ["  ".join(map(_pad, row, widths, rights)).rstrip() for row in cells]
        lines += [aligned[0], "  ".join("-" * width for width in widths), *aligned[1:]]
    return [*lines, *table.footer]


def _pad(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _print_rich(table: Table, stream: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    columns = table.columns
    shown = [i for i in range(len(columns)) if any(row[i] for row in table.rows)]
    if table.heading:
        console.print(Text(table.heading, style="bold"))
    if shown:
        drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
        for i in shown:
            title, right = columns[i]
            drawn.add_column(Text(title), justify="right" if right else "left", overflow="fold", no_wrap=right)
        for row in table.rows:
            drawn.add_row(*(Text(row[i]) for i in shown))
        console.print(drawn)
    for line in table.footer:
        console.print(Text(line))
