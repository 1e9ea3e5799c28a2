"""Who takes part in a measurement: the user's models, their float baseline, and the same files in other engines."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from planish.errors import UsageError
from planish.files import write_atomic
from planish.measure.contestant import ENGINES, Contestant
from planish.plan import is_plan

FLOAT = "float"
OPPONENTS = (FLOAT, *(engine for engine in ENGINES if engine != "planish"))


@dataclass
class LineUp:
    """The contestants in order; `baseline` is the name of the one that speeds are relative to."""

    contestants: list[Contestant] = field(default_factory=list)
    baseline: str | None = None
    notes: list[str] = field(default_factory=list)


@contextlib.contextmanager
def line_up(models: Sequence[str], against: str = "") -> Iterator[LineUp]:
    """The contestants for `planish bench`; the float baseline's file exists within the block.

    against: names of OPPONENTS, comma-separated. Raises UsageError for others and for files that do not exist.
    """
    opponents = [name.strip() for name in against.split(",") if name.strip()]
    if unknown := next((name for name in opponents if name not in OPPONENTS), None):
        raise UsageError(f"--against '{unknown}': unknown; use some of {', '.join(OPPONENTS)}")
    paths = [Path(model) for model in models]
    found = LineUp([Contestant(name, path) for name, path in zip(_names(paths), paths, strict=True)])
    for contestant in found.contestants:
        contestant.check()
    with tempfile.TemporaryDirectory(prefix="planish-bench-") as folder:
        if FLOAT in opponents:
            _add_float(found, Path(folder))
        files = [c for c in found.contestants if not is_plan(c.path)]
        for engine in opponents:
            if engine != FLOAT:
                found.contestants += [Contestant(f"{c.name} ({engine})", c.path, engine) for c in files]
        yield found


def _names(paths: Sequence[Path]) -> list[str]:
    """File names without their ending where that tells them apart, else whole paths."""
    for names in ([path.stem for path in paths], [path.name for path in paths]):
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _add_float(found: LineUp, folder: Path) -> None:
    """Put the float form of the first ONNX model in front, as the baseline."""
    import onnx_ir

    from planish.importing import load_model
    from planish.passes import canonicalise
    from planish.passes.undo_compression import undo_compression

    source = next((c for c in found.contestants if not is_plan(c.path)), None)
    if source is None:
        raise UsageError("--against float: a plan does not hold its float model; give an .onnx file too")
    model = canonicalise(load_model(source.path))
    if not undo_compression(model):
        found.notes.append(f"{source.name} is a float model already: it is the baseline")
        found.baseline = source.name
        return
    name = FLOAT if all(c.name != FLOAT for c in found.contestants) else f"{FLOAT} of {source.name}"
    path = folder / "float.onnx"
    write_atomic(path, onnx_ir.to_proto(model).SerializeToString())
    found.contestants.insert(0, Contestant(name, path))
    found.baseline = name
