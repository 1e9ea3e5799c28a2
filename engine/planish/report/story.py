"""The demo as a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from planish.demo.story import Chapter, Story
from planish.measure.table import format_speedup
from planish.report.table import Table
from planish.report.units import format_bytes, format_seconds


def story_table(story: Story) -> Table:
    """One row a form; which layers were kept, chosen or declined, and why, stands below."""
    table = Table(("form", "file>", "smaller>", "accuracy>", "latency>", "speed-up>", "against float", "layers run as"))
    size = story.chapters[0].timing.file_bytes
    for chapter in story.chapters:
        table.rows.append(
            [
                chapter.name,
                format_bytes(chapter.timing.file_bytes),
                f"{size / chapter.timing.file_bytes:.2f}×",
                f"{100 * chapter.accuracy:.1f} %",
                format_seconds(chapter.timing.p50),
                format_speedup(chapter.timing.speedup),
                _verdict(chapter),
                ", ".join(f"{count} {name}" for name, count in chapter.formats.items()),
            ]
        )
    found = story.measurement
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    table.footer.append(
        f"{found.machine}, {threads}, one image at a time; accuracy on {story.images} held-back images, "
        f"calibrated on {story.calibration} others"
    )
    for chapter in story.chapters:
        table.footer += [f"{chapter.name}: {line}" for line in _grouped(chapter.remarks)]
    return table


def story_document(story: Story) -> dict[str, Any]:
    """Plain data for JSON."""
    return asdict(story)


def _grouped(remarks: Sequence[str]) -> list[str]:
    """Remarks that differ only in the layer and in numbers as one line, with the first layer's numbers."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for remark in remarks:
        layer, _, text = remark.partition(": ")
        groups.setdefault(re.sub(r"[0-9.]+", "#", text), []).append((layer, text))
    return [f"{_layers(len(group))}, such as {group[0][0]}: {group[0][1]}" for group in groups.values()]


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _verdict(chapter: Chapter) -> str:
    """Whether the interval of the speed-up lies on one side of 1."""
    speedup = chapter.timing.speedup
    if speedup is None:
        return ""
    return "faster" if speedup.low > 1 else "slower" if speedup.high < 1 else "as fast"
