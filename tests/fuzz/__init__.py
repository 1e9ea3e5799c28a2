"""Fuzzing: see docs/fuzzing.md. `python -m tests.fuzz` is the one command."""
