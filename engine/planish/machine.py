"""The machine as planish sees it: what `planish doctor` prints."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from planish import __version__, _core
from planish.environment import VARIABLES
from planish.errors import PlanishError

#: Distributions whose versions matter in a report of a fault.
PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "openvino", "rich")

_CPU_QUOTA_V2 = Path("/sys/fs/cgroup/cpu.max")
_CPU_QUOTA_V1 = Path("/sys/fs/cgroup/cpu")


@dataclass(frozen=True)
class Machine:
    """Instruction sets by name; `affinity` and `quota` (in CPUs, None where there is none) bound the threads.

    kernels: family → (name, instruction set) of each. problems: settings that are wrong, one line each.
    """

    planish: str
    python: str
    system: str
    cpu: str
    cpus: int
    affinity: int
    quota: float | None
    threads: int | None
    built: tuple[str, ...]
    offered: tuple[str, ...]
    usable: tuple[str, ...]
    variables: dict[str, str | None]
    packages: dict[str, str | None]
    kernels: dict[str, tuple[tuple[str, str], ...]]
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def examine() -> Machine:
    """Look at this machine. A wrong setting becomes a problem in the result, not an error."""
    problems: list[str] = []
    threads: int | None = None
    usable: tuple[str, ...] = ()
    try:
        threads = _core.default_threads()
    except PlanishError as error:
        problems.append(str(error))
    try:
        usable = tuple(_core.usable_isas())
    except PlanishError as error:
        problems.append(str(error))
    kernels: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for family, name, isa in _core.kernels():
        kernels[family].append((name, isa))
    return Machine(
        planish=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cpu_name(),
        cpus=os.cpu_count() or 1,
        affinity=len(os.sched_getaffinity(0)),
        quota=cpu_quota(),
        threads=threads,
        built=tuple(_core.built_isas()),
        offered=tuple(_core.cpu_isas()),
        usable=usable,
        variables={variable.name: variable.value for variable in VARIABLES},
        packages={name: _version(name) for name in PACKAGES},
        kernels={family: tuple(found) for family, found in sorted(kernels.items())},
        problems=tuple(problems),
    )


def cpu_name() -> str:
    """The CPU's name as the system gives it, else its architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def cpu_quota() -> float | None:
    """The CPUs that the control group grants; None without a quota."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = _CPU_QUOTA_V2.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        used = int((_CPU_QUOTA_V1 / "cpu.cfs_quota_us").read_text())
        return None if used <= 0 else used / int((_CPU_QUOTA_V1 / "cpu.cfs_period_us").read_text())
    return None


def _version(distribution: str) -> str | None:
    """The installed version; None where it is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(distribution)
    return None
