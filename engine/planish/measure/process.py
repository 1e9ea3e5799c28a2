"""The parent's side of a worker process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import planish
from planish import errors

_COMMAND = [sys.executable, "-P", "-m", "planish.measure.worker"]


class WorkerProcess:
    """A worker that is killed on leaving the `with` block, however it is left.

    It has a session of its own, so that Ctrl-C reaches the parent alone, which then kills it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        package_folder = str(Path(planish.__file__).parents[1])
        path = os.pathsep.join(filter(None, [package_folder, os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """One request and its reply. Raises the worker's PlanishError, or PlanishError if the process has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise errors.PlanishError(f"contestant '{self._name}': {self._ending()}; leave it out")
        reply = json.loads(line)
        if "error" in reply:
            kind = getattr(errors, reply["error"], errors.PlanishError)
            raise kind(f"contestant '{self._name}': {reply['message']}")
        ok: dict[str, Any] = reply["ok"]
        return ok

    def _ending(self) -> str:
        """How the process ended, with the last line it printed."""
        code = self._process.wait()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._log.seek(0)
        printed = self._log.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(printed) if line.strip()), "")
        return f"its process {how}" + (f" ({last[:200]})" if last else "")
