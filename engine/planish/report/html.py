"""The page of `planish inspect --html`: one file without scripts or anything from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape

from planish.files import write_atomic
from planish.inspection.result import Inspection
from planish.report.drawing import draw_graph
from planish.report.inspection import layer_cells, layer_titles, operator_table, storage_table, summary
from planish.report.table import Table

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem; color: #1a1a1a; background: #fff; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } th, td { padding: .2rem .7rem; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #888; } td { border-bottom: 1px solid #ddd; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.foreign td { background: #fdecea; } .problem { color: #b3261e; font-weight: bold; }
.wide { overflow: auto; max-height: 90vh; border: 1px solid #ddd; }
svg text { font: 11px system-ui, sans-serif; }
"""


def write_page(found: Inspection, path: str | os.PathLike[str]) -> None:
    """Write the page, whole or not at all. Raises OutputError."""
    write_atomic(path, page(found).encode())


def page(found: Inspection) -> str:
    """Summary, stored forms, operators, layers and the drawn graph. Every text from the model is escaped."""
    title = escape(os.path.basename(found.path))
    problems = "".join(f'<p class="problem">cannot run: {escape(problem)}</p>' for problem in found.problems)
    facts = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in summary(found))
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    marks = ["" if layer.native else "foreign" for layer in found.layers]
    layers = _table(layer_titles(), [layer_cells(layer) for layer in found.layers], marks)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{title}</h1>{problems}<table>{facts}</table>\n"
        f"{_section('Stored forms', _plain(storage_table(found)))}"
        f"{_section('Operators', _plain(operator_table(found)))}"
        f"{_section('Graph', draw_graph(found.layers))}"
        f"{_section('Layers', layers)}"
        f"{_section('Notes', f'<ul>{notes}</ul>' if notes else '')}"
        "</body></html>\n"
    )


def _section(title: str, body: str) -> str:
    return f'<h2>{title}</h2><div class="wide">{body}</div>\n' if body else ""


def _plain(table: Table) -> str:
    return _table(table.columns, table.rows, [""] * len(table.rows)) if table.rows else ""


def _table(columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]], marks: Sequence[str]) -> str:
    if not rows:
        return ""
    kinds = [' class="number"' if right else "" for _, right in columns]
    head = "".join(f"<th{kind}>{escape(title)}</th>" for (title, _), kind in zip(columns, kinds, strict=True))
    lines = []
    for row, mark in zip(rows, marks, strict=True):
        cells = [f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)]
        lines.append(f'<tr class="{mark}">{"".join(cells)}</tr>\n')
    body = "".join(lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"
