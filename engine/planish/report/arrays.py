"""Arrays in a line each: type, shape, smallest, mean and greatest value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from planish.report.table import Table
from planish.report.units import format_number, format_shape

Array = npt.NDArray[Any]


def summaries(arrays: Mapping[str, Array]) -> list[dict[str, Any]]:
    """One entry an array. min, mean and max are of finite values, None without any; `not_finite` counts the rest."""
    return [
        {"name": name, "dtype": array.dtype.name, "shape": list(array.shape), **_statistics(array)}
        for name, array in arrays.items()
    ]


def array_table(arrays: Mapping[str, Array]) -> Table:
    """The summaries as a table, with a warning under it for values that are not finite."""
    table = Table(("output", "type", "min>", "mean>", "max>"))
    for entry in summaries(arrays):
        numbers = [format_number(entry[key], 6) for key in ("min", "mean", "max")]
        table.rows.append([entry["name"], format_shape(entry["dtype"], entry["shape"]), *numbers])
        if entry["not_finite"]:
            table.footer.append(f"{entry['name']}: {entry['not_finite']} values are NaN or infinite")
    return table


def _statistics(array: Array) -> dict[str, Any]:
    if not array.size or not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
        return {"min": None, "mean": None, "max": None, "not_finite": 0}
    values = array.astype(np.complex128 if np.iscomplexobj(array) else np.float64).real
    finite = values[np.isfinite(values)]
    numbers = (finite.min(), finite.mean(), finite.max()) if finite.size else (None, None, None)
    low, mean, high = (None if n is None else float(n) for n in numbers)
    return {"min": low, "mean": mean, "max": high, "not_finite": int(values.size - finite.size)}
