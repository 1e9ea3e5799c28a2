"""The environment variables that planish reads, declared once; `planish doctor` prints this table."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """`name` as set in the environment, and what it does, in one line."""

    name: str
    help: str

    @property
    def value(self) -> str | None:
        """What it is set to; None where it is not."""
        return os.environ.get(self.name)

    @property
    def is_on(self) -> bool:
        """Whether it is set to something else than nothing and 0."""
        return (self.value or "0") != "0"


ISA = Variable("PLANISH_ISA", "caps the instruction sets that kernels may use, for tests and comparisons")
NUM_THREADS = Variable("PLANISH_NUM_THREADS", "threads of a run, where a session does not say; 1 to 1024")
DEBUG = Variable("PLANISH_DEBUG", "1 shows tracebacks on the command line and verifies the graph after every pass")
TEST_MODELS = Variable("PLANISH_TEST_MODELS", "folder of real models; tests that need them are skipped without it")

VARIABLES = (ISA, NUM_THREADS, DEBUG, TEST_MODELS)
