"""The demo from end to end, with one form."""

from __future__ import annotations

import json

import pytest

from planish.demo import story
from planish.report.story import story_document, story_table
from planish.report.table import plain_lines


def test_story_is_told_from_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    pruned = "pruned 90 %"
    monkeypatch.setattr(story, "FORMS", {pruned: story.FORMS[pruned]})
    monkeypatch.setattr(story, "_SECONDS", 0.1)
    steps: list[tuple[int, int]] = []
    told = story.tell(threads=1, progress=lambda done, total, _: steps.append((done, total)))
    first, second = told.chapters
    assert (first.name, second.name) == ("float", pruned)
    assert first.accuracy > 0.99
    assert second.accuracy > 0.95
    assert second.timing.file_bytes < first.timing.file_bytes / 2
    assert sum(second.formats.values()) == 16
    shares = [done / total for done, total in steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert json.loads(json.dumps(story_document(told)))["images"] == 597
    lines = plain_lines(story_table(told))
    assert lines[0].split()[:2] == ["form", "file"]
    assert lines[3].startswith(pruned)
    assert all(line.startswith(f"{pruned}: ") for line in lines[5:])
    assert len(lines) > 5
