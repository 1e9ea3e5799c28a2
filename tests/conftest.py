"""Fixtures shared by all tests, and what a run could not check on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of real models; tests that need it skip without PLANISH_TEST_MODELS."""
    folder = os.environ.get("PLANISH_TEST_MODELS")
    if not folder or not Path(folder).is_dir():
        pytest.skip("PLANISH_TEST_MODELS does not name the folder of real models")
    return Path(folder)


def isas_not_run() -> dict[str, str]:
    """Instruction set → why its kernels could not run in this session, for those that have kernels."""
    from planish import _core

    offered, usable = _core.cpu_isas(), _core.usable_isas()
    cap = os.environ.get("PLANISH_ISA")
    counts: dict[str, int] = {}
    for _, _, isa in _core.kernels():
        counts[isa] = counts.get(isa, 0) + 1
    return {
        isa: f"{counts[isa]} kernels: "
        + (f"beyond PLANISH_ISA={cap}" if isa in offered else "this processor or system does not offer it")
        for isa in _core.built_isas()
        if isa in counts and isa not in usable
    }


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Lists the instruction sets whose kernels this machine could not check, and whether real models were there."""
    try:
        missing = isas_not_run()
    except Exception as error:  # no extension, or a wrong PLANISH_ISA: tests report that themselves
        terminalreporter.write_line(f"instruction sets: unknown: {error}")
        return
    terminalreporter.section("not run on this machine")
    for isa, reason in missing.items():
        terminalreporter.write_line(f"{isa}: {reason}")
    if not missing:
        terminalreporter.write_line("instruction sets: every one that has kernels was run")
    if not os.environ.get("PLANISH_TEST_MODELS"):
        terminalreporter.write_line("real models: PLANISH_TEST_MODELS does not name their folder")
