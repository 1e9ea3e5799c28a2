"""The whole measurement on tiny models, with ONNX Runtime in the workers, and how it fails."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from planish.errors import InputError, ModelError, OutputError, PlanishError, UsageError
from planish.measure import Contestant, Measurement, contestant, measure, run
from planish.measure.plot import save_plot
from planish.measure.process import WorkerProcess
from planish.measure.table import to_table
from planish.report.units import format_bytes, format_seconds

WriteLinear = Callable[..., Path]


def ort(path: Path, name: str = "model") -> Contestant:
    return Contestant(name, path, "onnxruntime")


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "BLOCK_SECONDS", 0.01)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, write_linear: WriteLinear) -> Measurement:
    folder = tmp_path_factory.mktemp("measured")
    original = write_linear(folder / "a.onnx")
    near = write_linear(folder / "b.onnx", scale=1.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "BLOCK_SECONDS", 0.01)
        contestants = [ort(original, "original"), ort(original, "again"), ort(near, "near")]
        return measure(contestants, threads=1, seconds=0.01, baseline="again")


def test_every_column_is_measured(measured: Measurement) -> None:
    for row in measured.contestants:
        assert 0 < row.p50 <= row.p90 <= row.p99
        assert row.load_seconds > 0
        assert row.first_seconds > 0
        assert row.per_second > 0
        assert 10e6 < row.peak_bytes < 1e9
        assert row.file_bytes < 1000
        assert len(row.block_medians) == 6
        assert row.runs >= 6 * 24
        assert row.version.count(".") == 2


def test_outputs_are_compared_with_the_first(measured: Measurement) -> None:
    assert measured["original"].agreement is None
    again, near = measured["again"].agreement, measured["near"].agreement
    assert again is not None
    assert near is not None
    assert again.identical
    assert not near.identical
    assert near.error == pytest.approx(0.01, rel=1e-3)
    assert near.top1 == 1.0


def test_speed_is_paired_with_the_baseline(measured: Measurement) -> None:
    assert measured["again"].speedup is None
    speedup = measured["original"].speedup
    assert speedup is not None
    assert speedup.low <= speedup.median <= speedup.high
    ratios = np.divide(measured["again"].block_medians, measured["original"].block_medians)
    assert speedup.median == pytest.approx(float(np.median(ratios)))


def test_json_and_table_say_everything(measured: Measurement) -> None:
    data = json.loads(measured.to_json())
    assert [row["name"] for row in data["contestants"]] == ["original", "again", "near"]
    assert data["threads"] == 1
    assert data["notes"] == ["input 'x': N taken as 1; --shape x=… says otherwise"]
    stream = io.StringIO()
    to_table(measured).print(stream)
    for expected in ("speed against again", "same bits", "reference", "inferences/s", "1 thread; onnxruntime"):
        assert expected in stream.getvalue()


def test_plot_is_written_whole_or_not_at_all(measured: Measurement, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    save_plot(measured, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match=r"end the name in \.png"):
        save_plot(measured, tmp_path / "figure.txt")
    with pytest.raises(OutputError):
        save_plot(measured, tmp_path / "none" / "figure.svg")


def test_feeds_run_in_turn_and_progress_counts(linear: Path) -> None:
    steps: list[tuple[int, int]] = []
    feeds = [{"x": np.full((n, 8), n, np.float32)} for n in (1, 2, 3)]
    progress = lambda _, done, total: steps.append((done, total))  # noqa: E731
    assert measure([ort(linear)], feeds=feeds, seconds=0.01, progress=progress).feeds == 3
    assert steps == [(n + 1, 8) for n in range(8)]


def test_feeds_come_from_a_file(linear: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "feeds.npz", x=np.ones((4, 8), np.float32))
    assert measure([ort(linear)], feeds=tmp_path / "feeds.npz", seconds=0.01).feeds == 4


def test_planish_agrees_with_onnxruntime(linear: Path) -> None:
    pytest.importorskip("planish._core", reason="the extension is not built")
    result = measure([ort(linear), Contestant("planish", linear)], seconds=0.01)
    agreement = result["planish"].agreement
    assert agreement is not None
    assert agreement.error < 1e-4


def test_usage_errors(linear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="nothing to measure"):
        measure([])
    with pytest.raises(UsageError, match="contestant 'a': given twice"):
        measure([ort(linear, "a"), ort(linear, "a")])
    with pytest.raises(UsageError, match="baseline 'float': not among"):
        measure([ort(linear)], baseline="float")
    with pytest.raises(UsageError, match="--threads 9999"):
        measure([ort(linear)], threads=9999)
    with pytest.raises(UsageError, match="--seconds"):
        measure([ort(linear)], seconds=float("nan"))
    with pytest.raises(UsageError, match="engine 'tvm': unknown"):
        measure([Contestant("a", linear, "tvm")])
    with pytest.raises(UsageError, match="no such file"):
        measure([ort(tmp_path / "none.onnx")])
    monkeypatch.setattr(contestant.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="engine 'openvino': not installed; pip install openvino"):
        measure([Contestant("a", linear, "openvino")])


def test_what_a_worker_refuses_reaches_the_caller(linear: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.plan"
    broken.write_bytes(b"\xff" * 64)
    with pytest.raises(ModelError, match=r"contestant 'broken': .*onnxruntime refuses it"):
        measure([ort(broken, "broken")])
    with pytest.raises(PlanishError, match=r"contestant 'model': .*check the model and its inputs"):
        measure([ort(linear)], feeds=[{"x": np.ones((1, 9), np.float32)}])


def test_unlike_models_are_refused(linear: Path, tmp_path: Path, write_linear: WriteLinear) -> None:
    wide = write_linear(tmp_path / "wide.onnx", outputs=4)
    with pytest.raises(ModelError, match=r"contestant 'wide': output 'y' is \[1, 4\], expected \[1, 3\]"):
        measure([ort(linear), ort(wide, "wide")])
    other = write_linear(tmp_path / "other.onnx", input_name="z")
    with pytest.raises(InputError, match="contestant 'other': takes z, but 'model' x"):
        measure([ort(linear), ort(other, "other")])
    infinite = write_linear(tmp_path / "infinite.onnx", scale=1e38)
    with pytest.raises(ModelError, match="contestant 'infinite': output 'y' is not finite where"):
        measure([ort(linear), ort(infinite, "infinite")], feeds=[{"x": np.full((1, 8), 1e3, np.float32)}])


def test_interruption_kills_the_workers(linear: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    plain_init = WorkerProcess.__init__

    def remember(self: WorkerProcess, name: str) -> None:
        plain_init(self, name)
        started.append(self.pid)

    def interrupt(_: str, done: int, __: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(WorkerProcess, "__init__", remember)
    with pytest.raises(KeyboardInterrupt):
        measure([ort(linear, "a"), ort(linear, "b")], progress=interrupt)
    assert len(started) == 2
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_worker_that_dies_is_an_error() -> None:
    with WorkerProcess("victim") as process:
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(PlanishError, match="contestant 'victim': its process was ended by SIGKILL"):
            process.ask("memory")


def test_units_keep_three_digits() -> None:
    sizes = (0, 999, 1000, 2_078_000, 999_600_000)
    assert [format_bytes(n) for n in sizes] == ["0 B", "999 B", "1.00 kB", "2.08 MB", "1.00 GB"]
    times = (8.42e-5, 9.997e-4, 0.123456, 2.5)
    assert [format_seconds(s) for s in times] == ["84.2 µs", "1.00 ms", "123 ms", "2.50 s"]
