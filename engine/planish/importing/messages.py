"""What libraries say when they fail, brought into one line."""

from __future__ import annotations

_LONGEST = 300


def first_cause(error: BaseException) -> str:
    """The text of the exception that started a chain of exceptions, on one line and of bounded length."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return " ".join(str(error).split())[:_LONGEST]
