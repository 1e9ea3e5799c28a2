"""The README's snippets run, in a folder that `planish demo --save` has filled."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    from planish.demo import story

    target = tmp_path_factory.mktemp("readme")
    story.save(target)
    return target


def run(command: list[str], folder: Path) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_python_snippets(folder):
    snippets = blocks("python")
    assert snippets
    out = run([sys.executable, "-c", "\n".join(snippets)], folder)
    agreement = float(out.rsplit("same answers:", 1)[1])
    assert agreement >= 0.99


def test_shell_snippets(folder):
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("planish ")]
    assert len(lines) >= 5
    for line in lines:
        run([sys.executable, "-m", *shlex.split(line)], folder)


def test_the_two_commands_are_those_that_ci_runs():
    text = README.read_text()
    assert "python3 -m venv .venv && . .venv/bin/activate && pip install . && planish demo" in text
    assert "pip install '.[test]' && pytest" in text
