"""The exceptions of planish. All derive from :class:`PlanishError`.

A message has the form ``WHERE: WHAT; REMEDY`` on one line: the thing that is wrong (a file, a node, an input),
what is wrong with it, and what to do next. The command line prints it after ``planish: error:``.
"""

from __future__ import annotations

import re


class PlanishError(Exception):
    """Base of every error that planish raises on purpose. Names from a model cannot break its message's one line."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(" ".join(a.splitlines()) if isinstance(a, str) else a for a in args))


def first_line(error: BaseException) -> str:
    """What an error of another library says in short; its type where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def split_step(message: str) -> tuple[str, str]:
    """What the native half says about a step, `step 'NAME' (FAMILY): WHAT`, as name and rest; "" for other messages."""
    found = re.fullmatch(r"step '(.*?)' \(\w+\): (.*)", message)
    return (found[1], found[2]) if found else ("", message)


class ModelError(PlanishError):
    """A model that cannot be read, is not valid ONNX, or contains what cannot be run."""


class InputError(PlanishError):
    """A feed of `run`: missing, unknown, of the wrong type or of the wrong shape."""


class RecipeError(PlanishError):
    """A compression recipe: unknown key, value out of range, or a rule that matches nothing."""


class CalibrationError(PlanishError):
    """Calibration data: missing, empty, not finite, or not fitting the model's inputs."""


class PlanError(PlanishError):
    """A `.plan` file: not a plan, truncated, altered, of another version, or for another machine."""


class UsageError(PlanishError):
    """Wrong usage of the command line or of an option; the command line exits with 2."""


class OutputError(PlanishError):
    """A result that cannot be written: no such folder, no permission, disk full."""
