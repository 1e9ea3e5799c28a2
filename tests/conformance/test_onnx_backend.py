"""The ONNX project's own test suite: everything passes, and what is native by docs/operators.md stays native."""

from __future__ import annotations

import onnx
import pytest

from tests.conformance.suite import Case, Recorder, cases, exception_of
from tools.write_operators import DOCUMENT, read_counts

#: What passed natively in this session, by operator.
native: dict[str, set[str]] = {}


@pytest.mark.filterwarnings("ignore")  # numpy's, from the expected values and the reference evaluator
@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case.kind}-{case.name}")
def test_case(case: Case) -> None:
    if reason := exception_of(case.name):
        pytest.skip(reason)
    case.test.debug()
    if case.kind in ("PyTorchConverted", "PyTorchOperator", "Real"):
        assert not Recorder.fallbacks
    elif case.kind == "Node" and not Recorder.fallbacks:
        native.setdefault(case.operator, set()).add(case.name)


def test_no_operator_lost_its_kernel(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("keyword") or not native:
        pytest.skip("only some cases were selected")
    if onnx.__version__ not in DOCUMENT.read_text():
        pytest.skip("docs/operators.md counts the cases of another onnx")
    counted = {operator: len(names) for operator, names in native.items()}
    lost = {name: count for name, count in read_counts(DOCUMENT).items() if counted.get(name, 0) < count}
    assert not lost, "fewer native cases than docs/operators.md says"
