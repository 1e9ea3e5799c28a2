"""A model's graph as inline SVG: one box an instruction, in rows by their distance from the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from planish.inspection.result import LayerFacts
from planish.report.units import format_bytes, format_count

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 230, 58, 24, 34, 16
#: Characters that fit into a box.
_FIT = 36
_FILL, _FOREIGN_FILL = "#eef4fb", "#fdecea"


def draw_graph(layers: Sequence[LayerFacts]) -> str:
    """The drawing as an <svg> element; nothing for a model without instructions."""
    if not layers:
        return ""
    edges = _edges(layers)
    places = _place(len(layers), edges)
    columns = 1 + max(column for column, _ in places)
    rows = 1 + max(row for _, row in places)
    width = 2 * _MARGIN + columns * (_WIDTH + _GAP_X) - _GAP_X
    height = 2 * _MARGIN + rows * (_HEIGHT + _GAP_Y) - _GAP_Y
    corners = [(_MARGIN + c * (_WIDTH + _GAP_X), _MARGIN + r * (_HEIGHT + _GAP_Y)) for c, r in places]
    drawn = [_edge(corners[a], corners[b]) for a, b in edges]
    drawn += [_box(layer, *corner) for layer, corner in zip(layers, corners, strict=True)]
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">\n{"".join(drawn)}</svg>'


def _edges(layers: Sequence[LayerFacts]) -> list[tuple[int, int]]:
    """(producer, consumer) pairs. A layer whose producer cost nothing hangs on the layer before it."""
    makers: dict[int, int] = {}
    edges: list[tuple[int, int]] = []
    for number, layer in enumerate(layers):
        found = sorted({makers[tensor] for tensor in layer.reads if tensor in makers})
        if not found and number:
            found = [number - 1]
        edges += [(maker, number) for maker in found]
        makers.update(dict.fromkeys(layer.makes, number))
    return edges


def _place(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(column, row) of each box: the row is the longest way from the inputs, columns fill from the left."""
    rows = [0] * count
    for maker, user in edges:
        rows[user] = max(rows[user], rows[maker] + 1)
    used: dict[int, int] = {}
    places = []
    for row in rows:
        column = used.get(row, 0)
        used[row] = column + 1
        places.append((column, row))
    return places


def _edge(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + _WIDTH // 2, start[1] + _HEIGHT
    x2, y2 = end[0] + _WIDTH // 2, end[1]
    bend = max(_GAP_Y // 2, (y2 - y1) // 2)
    return f'<path d="M{x1},{y1} C{x1},{y1 + bend} {x2},{y2 - bend} {x2},{y2}" fill="none" stroke="#9aa5b1"/>\n'


def _box(layer: LayerFacts, x: int, y: int) -> str:
    """Name, kernel and sizes; the whole text appears when pointed at."""
    sizes = [layer.outputs[0] if layer.outputs else ""]
    if layer.weights is not None:
        sizes.append(format_bytes(layer.weights.packed))
    if layer.macs:
        sizes.append(f"{format_count(layer.macs)} MACs")
    lines = (layer.name or layer.op, f"{layer.op}: {layer.kernel}", ", ".join(filter(None, sizes)))
    fill = _FILL if layer.native else _FOREIGN_FILL
    texts = [f'<text x="{x + 8}" y="{y + 17 + 16 * i}">{escape(_cut(line))}</text>' for i, line in enumerate(lines)]
    hint = escape("\n".join(filter(None, [*lines, layer.reason, *layer.notes])))
    return (
        f'<g><title>{hint}</title><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{fill}" '
        f'stroke="#5b7083"/>{"".join(texts)}</g>\n'
    )


def _cut(text: str) -> str:
    return text if len(text) <= _FIT else text[: _FIT - 1] + "…"
