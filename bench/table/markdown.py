"""The table as Markdown, and its place in a document: between two marks, which stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.memory import ONNX_GOAL as MEMORY_ONNX_GOAL
from bench.memory import PLAN_GOAL as MEMORY_PLAN_GOAL
from bench.startup import ONNX_GOAL, PLAN_GOAL, StartUp
from bench.table.judge import (
    SCALING_GOAL,
    Line,
    Row,
    Verdict,
    against_float,
    line,
    mean_ratio,
    scalings,
)

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NOT_MEASURED = "not measured on this machine"
#: Microseconds of a whole call, its least speed against ONNX Runtime, and microseconds of one instruction.
CALL_GOAL, CALL_RATIO_GOAL, INSTRUCTION_GOAL = 3.0, 2.0, 0.2


def write_region(path: Path, text: str) -> None:
    """Put the text between the marks of a document, or write a document of the marks and the text alone."""
    region = f"{BEGIN}\n{text}{END}\n"
    if path.exists():
        before, begin, rest = path.read_text().partition(BEGIN)
        _, end, after = rest.partition(f"{END}\n")
        if not begin or not end:
            raise ValueError(f"{path}: lacks the marks {BEGIN} and {END}; add them where the table is to stand")
        region = before + region + after
    path.write_text(region)


def render(results: dict[str, Any]) -> str:
    """Everything that was measured; sections that were not are left out."""
    rows: list[Row] = list(results.get("rows", {}).values())
    has_amx = "amx" in results["machine"]["isas"]
    parts = [_machine(results["machine"], rows)]
    for threads in sorted({row["threads"] for row in rows}):
        chosen = [row for row in rows if row["threads"] == threads]
        parts += [_precision(chosen, threads, "float32", has_amx), _precision(chosen, threads, "int8", has_amx)]
        parts.append(_own(chosen, threads))
    parts.append(_scaling(rows))
    parts += [_overhead(results), _startup(results), _memory(results), _elsewhere(results["machine"]["isas"])]
    return "\n".join(part for part in parts if part)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns whose title ends in `>` are set right."""
    titles = [column.rstrip(">") for column in columns]
    marks = ["---:" if column.endswith(">") else "---" for column in columns]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in (titles, marks, *rows))


def _machine(machine: dict[str, Any], rows: Sequence[Row]) -> str:
    versions = sorted({f"{c['engine']} {c['version']}" for row in rows for c in row["contestants"]})
    text = f"{machine['cpu']}, {machine['cpus']} CPUs, {', '.join(machine['isas'])}; {machine['system']}; measured "
    text += f"{machine['date']}. {', '.join(versions)}.\n"
    revisions: dict[str, list[str]] = {}
    for row in rows:
        revisions.setdefault(row["revision"], []).append(row["work"])
    if len(revisions) > 1:
        latest = list(revisions)[-1]
        older = [f"{name}: {', '.join(dict.fromkeys(works))}" for name, works in revisions.items() if name != latest]
        text += f"\nplanish at commit {latest}; measured earlier, at commit {'; at '.join(older)}.\n"
    elif revisions:
        text += f"\nplanish at commit {next(iter(revisions))}.\n"
    limits = [row["limits"] for row in rows]
    for threads in sorted({limit["threads"] for limit in limits}):
        chosen = [limit for limit in limits if limit["threads"] == threads]
        names = chosen[0]["operations"]
        rates = ", ".join(f"{name} {_spread(limit['operations'][name] / 1e9 for limit in chosen)}" for name in names)
        reads = ", ".join(
            f"{_size(int(size))} {_spread(limit['bandwidth'][size] / 1e9 for limit in chosen)}"
            for size in chosen[0]["bandwidth"]
        )
        text += f"\nLimits of {_threads(threads)}, least to most over the run: {rates} GOP/s; reading {reads} GB/s.\n"
    return text


def _precision(rows: Sequence[Row], threads: int, kind: str, has_amx: bool) -> str:
    lines = [found for row in rows if (found := line(row, kind, has_amx)) is not None]
    if not lines:
        return ""
    against = "peers in float32" if kind == "float32" else "peers in any precision"
    text = f"\n### {kind}, {_threads(threads)}, against {against}\n\n"
    columns = (
        "model",
        "planish, ms>",
        "quartiles>",
        "limit, ms>",
        "of limit>",
        "best peer",
        "its ms>",
        "planish faster by",
    )
    text += table((*columns, "goal"), [_cells(item) for item in lines])
    mean = mean_ratio(lines) if kind == "float32" else None
    if mean is not None:
        text += f"\nGeometric mean {mean.ratio:.2f}×; goal ≥ {mean.goal:.2f}×: {_word(mean.reached)}.\n"
    return text


def _cells(item: Line) -> list[str]:
    own = [item.work, _ms(item.ours["p50"]), "–".join(map(_ms, item.ours["quartiles"])), _ms(item.limit)]
    own.append(f"{item.share:.0%}")
    if item.peer is None or item.verdict is None:
        return [*own, "refused by all", "", "", ""]
    peer = f"{item.peer['engine']}, {_file(item.peer['kind'])}"
    return [*own, peer, _ms(item.peer["p50"]), str(item.verdict), _goal(item.verdict)]


def _file(kind: str) -> str:
    """What the peer ran."""
    return {"float32": "float32", "int8": "planish's int8 file", "onnxruntime-dynamic": "own dynamic int8"}.get(
        kind, "own int8"
    )


def _own(rows: Sequence[Row], threads: int) -> str:
    found = [(row["work"], row["roofline"]["int8"], v) for row in rows if (v := against_float(row)) is not None]
    if not found:
        return ""
    text = f"\n### int8 against planish's own float32, {_threads(threads)}\n\n"
    return text + table(
        ("model", "on safe pairs>", "int8 faster by", "goal"),
        [[name, f"{work['safe'] / max(1, work['macs']):.0%}", str(v), _goal(v)] for name, work, v in found],
    )


def _scaling(rows: Sequence[Row]) -> str:
    found = scalings(rows)
    if not found:
        return ""
    text = "\n### Two threads against one\n\n"
    return text + table(
        ("model", "precision", "gain>", "of the arithmetic>", f"goal ≥ {SCALING_GOAL} of it"),
        [[s.work, s.kind, f"{s.gain:.2f}×", f"{s.machine:.2f}×", _word(s.reached)] for s in found],
    )


def _overhead(results: dict[str, Any]) -> str:
    found = results.get("overhead")
    if found is None:
        return ""
    ours, theirs = (found["call"][engine]["p50"] * 1e6 for engine in ("planish", "onnxruntime"))
    instruction = found["instruction"] * 1e6
    reached = ours <= CALL_GOAL and theirs / ours >= CALL_RATIO_GOAL
    return "\n### Overhead\n\n" + table(
        ("what", "planish, µs>", "ONNX Runtime, µs>", "goal", ""),
        [
            [
                "`run` of a 3-layer, 32-wide perceptron, whole Python call",
                f"{ours:.2f}",
                f"{theirs:.2f}",
                f"≤ {CALL_GOAL:g} µs and ≥ {CALL_RATIO_GOAL:g}×",
                f"{theirs / ours:.2f}×: {_word(reached)}",
            ],
            [
                "one instruction in a Program",
                f"{instruction:.3f}",
                "–",
                f"≤ {INSTRUCTION_GOAL} µs",
                _word(instruction <= INSTRUCTION_GOAL),
            ],
        ],
    )


def _startup(results: dict[str, Any]) -> str:
    found = [StartUp(**row) for row in results.get("startup", [])]
    if not found:
        return ""
    goals = f"from .onnx ≤ {ONNX_GOAL:g}×, from .plan ≤ max(1 ms, {PLAN_GOAL:g}×) of ONNX Runtime"
    text = f"\n### Start-up\n\nGoals: {goals}.\n"
    return (
        text
        + "\n"
        + table(
            ("model", ".onnx, ms>", ".plan, ms>", "ONNX Runtime, ms>", ".onnx>", ".plan>", "goals"),
            [
                [
                    row.model,
                    *(_ms(seconds) for seconds in (row.onnx, row.plan, row.onnxruntime)),
                    *(f"{seconds / row.onnxruntime:.2f}×" for seconds in (row.onnx, row.plan)),
                    _word(row.reached),
                ]
                for row in found
            ],
        )
    )


def _memory(results: dict[str, Any]) -> str:
    found = results.get("memory")
    if found is None:
        return ""
    reference = found["onnxruntime"]
    goals = {"planish .onnx": MEMORY_ONNX_GOAL, "planish .plan": MEMORY_PLAN_GOAL}
    text = "\n### Peak memory running ResNet-50 int8\n\n"
    return text + table(
        ("process", "MB>", "of ONNX Runtime>", "goal"),
        [
            [
                name,
                f"{nbytes / 1e6:.0f}",
                f"{nbytes / reference:.2f}×",
                f"≤ {goals[name]:g}×: {_word(nbytes <= goals[name] * reference)}" if name in goals else "",
            ]
            for name, nbytes in found.items()
        ],
    )


def _elsewhere(isas: Sequence[str]) -> str:
    """The goals that need instructions this machine lacks."""
    lines = []
    if "amx" not in isas:
        lines += ["int8 against the best peer, with AMX (the goals of the int8 tables)"]
        lines += ['`precision="fast"` (bf16 on AMX) ≥ 1.2× of OpenVINO bf16', "int8 GEMM ≥ 65 % of the AMX limit"]
    if "avx512vnni" not in isas:
        lines += [
            "`PLANISH_ISA=avx512vnni`, int8, against OpenVINO held to the same: ResNet-50 ≥ 1.0×, the rest ≥ 1.2×"
        ]
        lines += ["int8 GEMM ≥ 75 % of the VNNI limit"]
    if not lines:
        return ""
    return "\n### Goals for other machines\n\n" + table(("goal", ""), [[text, NOT_MEASURED] for text in lines])


def _goal(verdict: Verdict) -> str:
    return NOT_MEASURED if verdict.goal is None else f"≥ {verdict.goal:g}×: {_word(verdict.reached)}"


def _word(reached: bool) -> str:
    return "reached" if reached else "**missed**"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}"


def _spread(values: Iterable[float]) -> str:
    ordered = sorted(values)
    return f"{ordered[0]:.0f}–{ordered[-1]:.0f}"


def _size(nbytes: int) -> str:
    return f"{nbytes >> 20} MiB" if nbytes >= 1 << 20 else f"{nbytes >> 10} KiB"
