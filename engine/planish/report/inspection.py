"""An inspection as tables."""

from __future__ import annotations

from planish.inspection.result import Inspection, LayerFacts, WeightFacts
from planish.report.table import Table
from planish.report.units import format_bytes, format_count, format_shape

_LAYER_TITLES = (
    "layer", "op", "input", "output", "MACs>", "weights", "dense>", "packed>", "zeros>", "values>",
    "kernel here", "why",
)  # fmt: skip


def print_inspection(found: Inspection) -> None:
    """Summary, stored forms, operators, layers, notes; problems come last, where they are seen."""
    Table((), footer=[f"{name:<10} {text}" for name, text in summary(found)]).print()
    for table in (storage_table(found), operator_table(found), layer_table(found)):
        if table.rows:
            print()
            table.print()
    if found.notes:
        print("\nnotes")
        print("\n".join(f"  {note}" for note in found.notes))
    for problem in found.problems:
        print(f"\ncannot run: {problem}")


def summary(found: Inspection) -> list[tuple[str, str]]:
    """What it is, in pairs of a name and a line."""
    lines = [("model", f"{found.path}, {format_bytes(found.file_bytes)}")]
    if found.source is not None:
        source = found.source
        opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in source.opsets.items())
        by = f", by {source.producer}" if source.producer else ""
        lines.append(("format", f"ONNX IR {source.ir_version}, opset {opsets}{by}"))
        lines += [(key.removeprefix("planish."), value) for key, value in source.metadata.items()]
        lines.append(("parameters", format_count(source.parameters)))
    lines += [("input", f"{t.name}  {format_shape(t.dtype, t.shape)}") for t in found.inputs]
    lines += [("output", f"{t.name}  {format_shape(t.dtype, t.shape)}") for t in found.outputs]
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    lines.append(("here", f"{found.isa}, {threads}"))
    if not found.problems:
        fallback = f"{found.fallbacks} in the reference evaluator" if found.fallbacks else "none falls back"
        lines.append(("runs", f"{found.native} native instructions, {fallback}; {found.free_steps} steps cost nothing"))
        lines.append(("MACs", format_count(found.macs)))
        arena, tensors = format_bytes(found.arena), format_bytes(found.tensors)
        lines.append(("memory", f"{arena} for intermediate tensors, {tensors} without sharing"))
    resident, packed = format_bytes(found.resident), format_bytes(found.packed)
    lines.append(("weights", f"{resident} resident, {packed} of them packed for kernels"))
    return lines


def storage_table(found: Inspection) -> Table:
    """The forms that constants are stored in."""
    table = Table(("stored as", "elements>", "bytes>"))
    if found.source is not None:
        for form, (elements, size) in found.source.storage.items():
            table.rows.append([form, format_count(elements), format_bytes(size)])
    return table


def operator_table(found: Inspection) -> Table:
    """Operators, and which of them fall back."""
    table = Table(("operator", "nodes>", "fall back>", "why"))
    for op in found.operators:
        table.rows.append([op.name, str(op.count), str(op.fallback or ""), "; ".join(op.reasons)])
    return table


def layer_table(found: Inspection) -> Table:
    """Instructions in order, with the kernels chosen here."""
    return Table(_LAYER_TITLES, [layer_cells(layer) for layer in found.layers])


def layer_titles() -> list[tuple[str, bool]]:
    """(title, whether aligned to the right) of `layer_cells`."""
    return Table(_LAYER_TITLES).columns


def layer_cells(layer: LayerFacts) -> list[str]:
    """One layer as text."""
    return [
        layer.name,
        layer.op,
        ", ".join(layer.inputs),
        ", ".join(layer.outputs),
        format_count(layer.macs) if layer.macs else "",
        *_weight_cells(layer.weights),
        layer.kernel,
        "; ".join(filter(None, [layer.reason, *layer.notes])),
    ]


def _weight_cells(weights: WeightFacts | None) -> list[str]:
    if weights is None:
        return [""] * 5
    shape = f" [{','.join(map(str, weights.shape))}]" if weights.shape else ""
    zeros = "" if weights.zeros is None else f"{100 * weights.zeros:.1f} %"
    values = "" if weights.zeros is None else "many" if weights.unique is None else str(weights.unique)
    return [weights.format + shape, format_bytes(weights.dense), format_bytes(weights.packed), zeros, values]
