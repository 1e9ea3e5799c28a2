"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence


def format_bytes(count: float) -> str:
    """Decimal units with three digits: 815 B, 2.10 MB."""
    if count < 1000:
        return f"{count:.0f} B"
    for factor, unit in ((1e3, "kB"), (1e6, "MB")):
        if count / factor < 999.5:
            return f"{count / factor:#.3g} {unit}".replace(". ", " ")
    return f"{count / 1e9:#.3g} GB".replace(". ", " ")


def format_count(count: float) -> str:
    """Three digits with a decimal factor: 27, 1.24 M, 349 M, 4.09 G."""
    for factor, unit in ((1.0, ""), (1e3, " k"), (1e6, " M")):
        if count / factor < 999.5:
            return f"{count:.0f}" if factor == 1.0 else f"{count / factor:#.3g}{unit}".replace(". ", " ")
    return f"{count / 1e9:#.3g} G".replace(". ", " ")


def format_seconds(seconds: float) -> str:
    """Three digits: 84.2 µs, 1.38 ms, 2.50 s."""
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:#.3g} {unit}".replace(". ", " ")
    return f"{seconds:#.3g} s".replace(". ", " ")


def format_shape(dtype: str, shape: Sequence[int | str | None] | None) -> str:
    """float32[N,3,224,224]; unknown dimensions are ?."""
    return f"{dtype}[{','.join('?' if d is None else str(d) for d in shape or ())}]"


def format_number(value: float | None, digits: int = 4) -> str:
    """A measured number; - where there is none."""
    return "-" if value is None else f"{value:.{digits}g}"
