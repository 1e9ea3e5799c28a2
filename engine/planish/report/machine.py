"""The machine as tables: what `planish doctor` prints."""

from __future__ import annotations

from planish.environment import VARIABLES
from planish.machine import Machine
from planish.report.table import Table


def print_machine(found: Machine, all_kernels: bool) -> None:
    """Machine and versions, instruction sets, environment, kernels; then what is wrong, if anything."""
    _overview(found).print()
    for table in (_isas(found), _environment(found), _kernels(found, all_kernels)):
        print()
        table.print()
    for problem in found.problems:
        print(f"\nproblem: {problem}")


def _overview(found: Machine) -> Table:
    quota = "no quota" if found.quota is None else f"a quota of {found.quota:g}"
    threads = "?" if found.threads is None else str(found.threads)
    facts = [
        ["planish", found.planish],
        ["python", f"{found.python}, {found.system}"],
        ["cpu", found.cpu],
        ["threads", f"{threads} (of {found.cpus} CPUs, {found.affinity} by affinity, {quota})"],
        *([name, version or "not installed"] for name, version in found.packages.items()),
    ]
    return Table((), footer=[f"{name:<12} {text}" for name, text in facts])


def _isas(found: Machine) -> Table:
    table = Table(("instruction set", "built", "this CPU", "used"), heading="instruction sets")
    for name in dict.fromkeys([*found.built, *found.offered]):
        having = (name in isas for isas in (found.built, found.offered, found.usable))
        table.rows.append([name, *("yes" if has else "no" for has in having)])
    return table


def _environment(found: Machine) -> Table:
    table = Table(("variable", "value", "meaning"), heading="environment")
    for variable in VARIABLES:
        value = found.variables[variable.name]
        table.rows.append([variable.name, "not set" if value is None else value, variable.help])
    return table


def _kernels(found: Machine, all_kernels: bool) -> Table:
    if all_kernels:
        table = Table(("family", "kernel", "instruction set"), heading="kernels")
        table.rows += [[family, name, isa] for family, kernels in found.kernels.items() for name, isa in kernels]
        return table
    table = Table(("family", "kernels>", "instruction sets"), heading="kernels (--kernels lists them)")
    for family, kernels in found.kernels.items():
        table.rows.append([family, str(len(kernels)), ", ".join(dict.fromkeys(isa for _, isa in kernels))])
    return table
