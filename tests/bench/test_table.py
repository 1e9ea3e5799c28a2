"""The table's arithmetic, its document, and that it goes on where it was interrupted."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import planish
from bench import overhead
from bench.startup import StartUp
from bench.table import __main__ as command
from bench.table import judge, markdown
from bench.table.files import Files
from bench.table.limits import measure_limits
from bench.table.roofline import _bytes_of, roofline
from bench.table.works import WORKS, Work

SECONDS = {"planish float32": 4.0, "planish int8": 2.0, "onnxruntime float32": 5.0, "openvino openvino": 3.0}


def row(work: str = "ResNet-50", threads: int = 1, scale: float = 1.0) -> dict[str, Any]:
    contestants = [
        {
            "engine": engine,
            "kind": kind,
            "version": "1",
            "p50": seconds * scale,
            "quartiles": [seconds, seconds],
            "blocks": [seconds * scale * f for f in (1.0, 1.1, 0.9)],
        }
        for (engine, kind), seconds in ((name.split(), s) for name, s in SECONDS.items())
    ]
    roof = {"seconds": 1.0, "macs": 10, "integer": 10, "safe": 10, "nbytes": 1}
    rates = {"f32": 1e9 * threads, "u8s8": 1e9, "u8s8_pairs": 1e9 * threads}
    return {
        "work": work,
        "threads": threads,
        "contestants": contestants,
        "notes": [],
        "revision": "abc",
        "limits": {"threads": threads, "operations": rates, "bandwidth": {"1024": 1e9}},
        "roofline": {"float32": roof, "int8": roof},
    }


def results(rows: list[dict[str, Any]], isas: tuple[str, ...] = ("scalar", "avx2")) -> dict[str, Any]:
    machine = {"cpu": "CPU", "cpus": 2, "isas": list(isas), "system": "Linux", "date": "today"}
    return {"machine": machine, "rows": {f"{r['work']}, {r['threads']}": r for r in rows}}


def test_float_meets_float_and_int8_meets_the_fastest_precision() -> None:
    floats, ints = judge.line(row(), "float32", False), judge.line(row(), "int8", True)
    assert floats is not None
    assert ints is not None
    assert floats.verdict is not None
    assert ints.verdict is not None
    assert (floats.verdict.ratio, floats.verdict.goal, floats.verdict.reached) == (1.25, 0.95, True)
    assert (ints.verdict.ratio, ints.verdict.goal, ints.verdict.reached) == (1.5, 1.8, False)
    assert ints.share == 0.5


def test_goals_of_amx_are_no_verdict_elsewhere() -> None:
    text = markdown.render(results([row()]))
    assert text.count(markdown.NOT_MEASURED) >= 5
    assert "1.50× (1.50–1.50)" in text
    assert markdown.NOT_MEASURED not in markdown.render(results([row()], ("scalar", "avx2", "avx512vnni", "amx")))


def test_int8_is_held_to_more_where_pairs_are_safe() -> None:
    exact = row()
    exact["roofline"]["int8"] = {**exact["roofline"]["int8"], "safe": 0}
    safe, plain = judge.against_float(row()), judge.against_float(exact)
    assert safe is not None
    assert plain is not None
    assert (safe.ratio, safe.goal, plain.goal) == (2.0, judge.SAFE_PAIRS_GOAL, judge.EXACT_GOAL)


def test_scaling_is_judged_by_what_the_arithmetic_gains() -> None:
    good = judge.scalings([row(), row(threads=2, scale=0.55)])
    bad = judge.scalings([row(), row(threads=2, scale=0.65)])
    assert [s.reached for s in good] == [True, True]
    assert [s.reached for s in bad] == [False, False]
    assert judge.scalings([row()]) == []


def test_startup_goals() -> None:
    assert StartUp("m", onnx=5e-3, plan=1e-3, onnxruntime=1e-3).reached
    assert not StartUp("m", onnx=5.1e-3, plan=1e-3, onnxruntime=1e-3).reached
    assert not StartUp("m", onnx=5e-3, plan=1.1e-3, onnxruntime=1e-3).reached
    assert StartUp("m", onnx=5e-3, plan=1.9e-3, onnxruntime=20e-3).reached


def test_the_region_of_a_document_is_replaced(tmp_path: Path) -> None:
    document = tmp_path / "d.md"
    document.write_text(f"before\n{markdown.BEGIN}\nold\n{markdown.END}\nafter\n")
    markdown.write_region(document, "new\n")
    assert document.read_text() == f"before\n{markdown.BEGIN}\nnew\n{markdown.END}\nafter\n"
    document.write_text("no marks\n")
    with pytest.raises(ValueError, match="lacks the marks"):
        markdown.write_region(document, "new\n")


def test_bytes_of_values() -> None:
    assert _bytes_of("float32[1,64,56,56]") == 4 * 64 * 56 * 56
    assert _bytes_of("uint8[3,5]") == 15
    assert _bytes_of("int64[]") == 8


def test_limits_and_roofline(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "perceptron.onnx"
    onnx.save(overhead.perceptron(), path)
    limits = measure_limits(1, (1 << 14, 1 << 16))
    assert limits.bandwidth.keys() == {1 << 14, 1 << 16}
    found = roofline(path, {}, limits)
    assert (found.macs, found.integer) == (3 * 32 * 32, 0)
    assert found.nbytes >= 3 * (32 * 32 + 2 * 32) * 4
    if limits.operations:
        assert found.seconds >= max(
            2 * found.macs / limits.operations["f32"], found.nbytes / max(limits.bandwidth.values())
        )


def test_perceptron_and_chain_compute() -> None:
    model = overhead.perceptron()
    feed = {"x": np.random.default_rng(0).standard_normal((1, 32)).astype(np.float32)}
    expected = ReferenceEvaluator(model).run(None, feed)[0]
    np.testing.assert_allclose(planish.InferenceSession(model).run(None, feed)[0], expected, rtol=1e-5, atol=1e-4)
    x, y = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    overhead._chain(3, x.nbytes).run([x], [y])
    np.testing.assert_array_equal(y, x)


def test_files_are_made_once(tmp_path: Path) -> None:
    import onnx

    (tmp_path / "models").mkdir()
    onnx.save(overhead.perceptron(), tmp_path / "models" / "p.onnx")
    work = Work("a perceptron", 1.0, "p.onnx")
    files = Files(work, tmp_path / "models", tmp_path / "files")
    assert {"float32", "int8"} <= files.paths.keys()
    stamps = {kind: path.stat().st_mtime_ns for kind, path in files.paths.items()}
    again = Files(work, tmp_path / "models", tmp_path / "files")
    assert stamps == {kind: path.stat().st_mtime_ns for kind, path in again.paths.items()}


def test_an_interrupted_table_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raced: list[tuple[str, int]] = []

    def fake_race(files: Any, engines: Any, threads: int, seconds: float, report: Any) -> dict[str, Any]:
        if len(raced) == 3:
            raise KeyboardInterrupt
        raced.append((files.work.name, threads))
        made = row(files.work.name, threads)
        made["limits"]["bandwidth"] = {1024: 1e9}  # sizes are numbers before the file holds them
        return made

    class FakeFiles:
        def __init__(self, work: Work, *_: Any) -> None:
            self.work = work

    monkeypatch.setattr(command, "race", fake_race)
    monkeypatch.setattr(command, "Files", FakeFiles)
    arguments = argparse.Namespace(
        sections=("models",), only=["MiniLM"], threads=[1, 2], again=False, seconds=1.0,
        json=tmp_path / "out" / "table.json", models=tmp_path, folder=tmp_path,
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        command.Table(arguments).measure()
    assert len(json.loads(arguments.json.read_text())["rows"]) == 3
    done, raced[:] = list(raced), []
    resumed = command.Table(arguments)
    with pytest.raises(KeyboardInterrupt):
        resumed.measure()
    assert not set(done) & set(raced)
    assert "MiniLM" in resumed.text()
    assert len(json.loads(arguments.json.read_text())["rows"]) == 6
    assert sum("MiniLM" in work.name for work in WORKS) * 2 == 8
