"""Tables and progress: rich where a person watches, plain text elsewhere, the same cells in both."""

from __future__ import annotations

import io
import sys

import pytest

from planish.report.document import write_json
from planish.report.progress import progress_bar
from planish.report.table import Table, plain_lines
from planish.report.units import format_bytes, format_count, format_seconds, format_shape

TABLE = Table(("name", "size>", "note"), [["[red]a[/red]", "1", ""], ["bb", "22", ""]], "heading", ["below"])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_table_is_aligned_and_leaves_empty_columns_out() -> None:
    assert plain_lines(TABLE) == [
        "heading",
        "name          size",
        "------------  ----",
        "[red]a[/red]     1",
        "bb              22",
        "below",
    ]


def test_rich_table_has_the_same_cells() -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    stream = Terminal()
    TABLE.print(stream)
    for cell in ("heading", "name", "size", "[red]a[/red]", "22", "below"):
        assert cell in stream.getvalue()
    assert "note" not in stream.getvalue()


def test_progress_only_where_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    with progress_bar() as progress:
        assert progress is None
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(quiet=True) as progress:
        assert progress is None
    with progress_bar() as progress:
        assert progress is not None
        progress(1, 2, "work")
        progress(2, 0, "more work")


def test_json_has_finite_numbers_only(capsys: pytest.CaptureFixture[str]) -> None:
    write_json({"a": float("inf"), "b": (1, float("nan"))}, "-")
    assert capsys.readouterr().out == '{\n  "a": null,\n  "b": [\n    1,\n    null\n  ]\n}\n'


def test_units() -> None:
    assert [format_bytes(n) for n in (0, 999, 2_078_000, 12_300_000_000)] == ["0 B", "999 B", "2.08 MB", "12.3 GB"]
    assert [format_count(n) for n in (27, 1_240_000, 349_000_000)] == ["27", "1.24 M", "349 M"]
    assert [format_seconds(s) for s in (8.42e-5, 0.00138, 2.5)] == ["84.2 µs", "1.38 ms", "2.50 s"]
    assert format_shape("float32", ("N", 3, None)) == "float32[N,3,?]"
    assert format_shape("int64", None) == "int64[]"
