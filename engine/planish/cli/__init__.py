"""The command line: one module a command, imported without what it works with, so that `planish --help` is quick."""

from planish.cli.entry import main

__all__ = ["main"]
