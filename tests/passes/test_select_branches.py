"""If with a constant condition."""

from __future__ import annotations

from typing import Any

import pytest

from planish.passes.lift_constants import lift_constants
from planish.passes.select_branches import select_branches


@pytest.mark.parametrize(("condition", "expected"), [(1, ["Neg", "Add", "Identity"]), (0, ["Abs", "Identity"])])
def test_the_taken_branch_replaces_the_if(apply: Any, operators: Any, condition: int, expected: list[str]) -> None:
    model = apply(
        select_branches,
        f"""<ir_version: 10, opset_import: ["" : 21]>
        g (float[2] x) => (float[2] y) {{
          k = Constant <value = bool {{{condition}}}> ()
          y = If (k) <
            then_branch = t () => (float[2] a) {{
              c = Constant <value_float = 3.0> ()
              n = Neg(x)
              a = Add(n, c)
            }},
            else_branch = e () => (float[2] b) {{ b = Abs(x) }}
          >
        }}""",
        first=(lift_constants,),
    )
    assert operators(model) == expected


def test_a_run_time_condition_stays(apply: Any, operators: Any) -> None:
    model = apply(
        select_branches,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (bool k, float[2] x) => (float[2] y) {
          y = If (k) <
            then_branch = t () => (float[2] a) { a = Neg(x) },
            else_branch = e () => (float[2] b) { b = Abs(x) }
          >
        }""",
    )
    assert operators(model) == ["If"]
