"""The list of passes and the function that runs it."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir

from planish import environment
from planish.errors import ModelError, PlanishError, UsageError
from planish.importing.messages import first_cause
from planish.importing.names import make_names_unique
from planish.passes.cancel_transposes import cancel_transposes
from planish.passes.decompose_gathers import decompose_gathers
from planish.passes.drop_zero_states import drop_zero_states
from planish.passes.eliminate_dead_nodes import eliminate_dead_nodes
from planish.passes.eliminate_duplicates import eliminate_duplicates
from planish.passes.eliminate_identities import eliminate_identities
from planish.passes.expand_contrib import expand_contrib
from planish.passes.expand_functions import expand_functions
from planish.passes.fold_batch_norms import fold_batch_norms
from planish.passes.fold_constants import fold_constants
from planish.passes.fold_into_tables import fold_into_tables
from planish.passes.fold_mul_add import fold_mul_add
from planish.passes.fold_pads import fold_pads
from planish.passes.fuse_activations import fuse_activations
from planish.passes.fuse_layer_norms import fuse_layer_norms
from planish.passes.hoist_quantization import hoist_quantization
from planish.passes.inline_functions import inline_functions
from planish.passes.lift_constants import lift_constants
from planish.passes.look_up_one_hots import look_up_one_hots
from planish.passes.merge_relu_clips import merge_relu_clips
from planish.passes.node_index import drop_index, has_index, index_nodes
from planish.passes.patterns import subgraphs_of
from planish.passes.resolve_shapes import resolve_shapes
from planish.passes.select_branches import select_branches
from planish.passes.simplify_reshapes import simplify_reshapes
from planish.passes.upgrade_opset import upgrade_opset
from planish.passes.verify import Signature, signature_of, verify_model

Pass = Callable[[onnx_ir.Model], bool]

#: In this order, again from the start until a round changes nothing. Each pass returns whether it changed the model.
PASSES: tuple[Pass, ...] = (
    inline_functions,
    lift_constants,
    resolve_shapes,
    fold_constants,
    select_branches,  # before shapes are inferred again, of what is left
    simplify_reshapes,
    resolve_shapes,
    upgrade_opset,
    expand_contrib,
    expand_functions,
    eliminate_duplicates,  # early too: most models need nothing of the second round but this
    eliminate_dead_nodes,
    eliminate_identities,
    decompose_gathers,
    look_up_one_hots,
    fold_batch_norms,
    fold_mul_add,
    fold_pads,
    merge_relu_clips,
    fuse_activations,
    fuse_layer_norms,
    fold_into_tables,
    cancel_transposes,
    hoist_quantization,
    drop_zero_states,
    eliminate_duplicates,
    eliminate_dead_nodes,
)

#: The passes that serialise nodes, for which names must be unique; other passes tell values apart by themselves.
_BY_NAME: frozenset[Pass] = frozenset({inline_functions, resolve_shapes, upgrade_opset, expand_functions})

#: A round undoes nothing that an earlier one did, so that few are needed; the bound guards against passes that
#: disagree.
MAX_ROUNDS = 8


#: What a pass raises on a node that contradicts its operator in a way that no schema expresses, such as pads of odd
#: length or a dimension of more than 64 bits.
_MALFORMED = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, ZeroDivisionError,
    onnx_ir.serde.SerdeError,
)  # fmt: skip


def canonicalise(model: onnx_ir.Model, *, stop_after: str | None = None, verify: bool | None = None) -> onnx_ir.Model:
    """Bring a loaded model into the canonical form that lowering and compression work on.

    The model is changed in place and returned: valid ONNX of one opset with the same inputs, outputs and results, free
    of what the passes eliminate, without private operators.

    `stop_after` is the name of a pass: the list is run once, up to and including it. `verify` checks the model after
    every pass that changed it; None means: if the environment variable PLANISH_DEBUG is set and not "0".

    Raises ModelError for models that cannot be brought into this form, UsageError for an unknown `stop_after`.
    """
    if stop_after is not None and stop_after not in {p.__name__ for p in PASSES}:
        raise UsageError(f"stop_after: no pass is called '{stop_after}'; take one of {[p.__name__ for p in PASSES]}")
    if verify is None:
        verify = environment.DEBUG.is_on
    try:
        _run_rounds(model, stop_after, signature_of(model) if verify else None)
    finally:
        drop_index()
    return model


def _run_rounds(model: onnx_ir.Model, stop_after: str | None, signature: Signature | None) -> None:
    """All passes until a round changes nothing; signature: that of the model, which is verified if it is given."""
    changes = named = 0  # named: the number of changes when names were last made unique
    idle: dict[Pass, int] = {}  # the number of changes before the pass when it last found nothing to do
    for _ in range(MAX_ROUNDS):
        before = changes
        for run_pass in PASSES:
            if idle.get(run_pass) != changes:
                if run_pass in _BY_NAME and named != changes:
                    make_names_unique(model)
                    named = changes
                if not _run(run_pass, model):
                    idle[run_pass] = changes
                else:
                    changes += 1
                    if signature is not None:
                        make_names_unique(model)
                        verify_model(model, signature, run_pass.__name__)
            if run_pass.__name__ == stop_after:
                break
        if changes == before or stop_after is not None:
            break
    make_names_unique(model)


def _run(run_pass: Pass, model: onnx_ir.Model) -> bool:
    try:
        if not has_index(model):
            index_nodes(model, subgraphs_of)
        return run_pass(model)
    except PlanishError:
        raise
    except _MALFORMED as error:
        detail = first_cause(error)
        raise ModelError(f"pass {run_pass.__name__}: {type(error).__name__}: {detail}; check the model") from error
