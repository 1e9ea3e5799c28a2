"""What a single node cannot show: fusion, placement, views, shape arithmetic, control flow, fallbacks between native steps."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from tests.lowering.harness import assert_close, by_reference, fallbacks, native, parse

RNG = np.random.default_rng(0)
W = (RNG.standard_normal((8, 4, 3, 3)) * 0.2).astype(np.float32)
W1 = (RNG.standard_normal((4, 4, 1, 1)) * 0.5).astype(np.float32)
B = RNG.standard_normal(8).astype(np.float32)
CONV = "Conv <pads = [1,1,1,1]>"
X4 = "float[n,4,h,w] x"
Y = "float[n,c,h,w] y"


def image(n: int = 2, c: int = 4, h: int = 6, w: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, c, h, w)).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


FUSED = {
    "conv_relu": f"c = {CONV} (x, W, B) y = Relu (c)",
    "conv_clip": f"c = {CONV} (x, W, B) y = Clip (c, lo, hi)",
    "conv_relu_clip": f"c = {CONV} (x, W, B) r = Relu (c) y = Clip (r, lo, hi)",
    "older_residual": f"r = Abs (z) c = {CONV} (x, W, B) s = Add (c, r) y = Relu (s)",
    "younger_residual": f"c = {CONV} (x, W, B) r = Abs (z) s = Add (r, c) y = Relu (s)",
    "residual_of_two_convolutions": f"a = {CONV} (x, W, B) b = {CONV} (x, W) s = Add (a, b) y = Relu (s)",
    "residual_is_an_input": f"c = {CONV} (x, W, B) y = Add (c, z)",
    "residual_broadcast": f"r = ReduceMean <axes = [2, 3]> (z) c = {CONV} (x, W, B) y = Add (c, r)",
    "same_tensor_twice": f"c = {CONV} (x, W, B) y = Add (c, c)",
    "relu_before_add": f"c = {CONV} (x, W, B) r = Relu (c) y = Add (r, z)",
    "inner_value_used_twice": f"c = {CONV} (x, W, B) r = Relu (c) y = Add (r, c)",
    "residual_then_two_clamps": f"c = {CONV} (x, W, B) s = Add (c, z) r = Relu (s) y = Clip (r, lo, hi)",
    "constant_addend": f"c = {CONV} (x, W) y = Add (c, k)",
}  # fmt: skip


@pytest.mark.parametrize("name", FUSED)
def test_epilogues(name):
    constants = {"W": W, "B": B, "lo": np.float32(-0.5), "hi": np.float32(0.75), "k": B.reshape(8, 1, 1)}
    model = parse(
        FUSED[name], f"{X4}, float[n,8,h,w] z", Y, 13, {k: v for k, v in constants.items() if k in FUSED[name]}
    )
    native(model, {"x": image(), "z": image(c=8, seed=1)}, {"x": image(1, h=3, w=9), "z": image(1, 8, 3, 9, seed=1)})


def test_a_fused_value_that_is_an_output_survives():
    model = parse(f"c = {CONV} (x, W, B) y = Relu (c)", X4, f"float[n,c,h,w] c, {Y}", 13, {"W": W, "B": B})
    native(model, {"x": image()})


CONCATENATED = {
    "two_convolutions": f"a = {CONV} (x, W, B) b = Conv (x, V) y = Concat <axis = 1> (a, b)",
    "tensor_in_two": "a = Conv (x, V) y = Concat <axis = 1> (a, x) z = Concat <axis = 1> (x, a)",
    "tensor_twice_in_one": "a = Relu (x) y = Concat <axis = 1> (a, a, a)",
    "of_a_concatenation": f"a = Conv (x, V) b = Relu (x) c = Concat <axis = 1> (a, b) d = {CONV} (x, W) y = Concat <axis = 1> (c, d)",
    "inner_one_is_an_output": "a = Relu (x) b = Abs (x) z = Concat <axis = 1> (a, b) c = Neg (x) y = Concat <axis = 1> (z, c)",
    "piece_is_an_output": "z = Relu (x) b = Abs (x) y = Concat <axis = 2> (z, b)",
    "of_inputs": "y = Concat <axis = -1> (x, x)",
    "of_views": "a = Transpose <perm = [0, 1, 3, 2]> (x) b = Transpose <perm = [0, 1, 3, 2]> (a) y = Concat <axis = 0> (b, x)",
    "sliced_again": "a = Relu (x) b = Abs (x) c = Concat <axis = 1> (a, b) y = Slice (c, three, five, one) z = Slice (c, one, three, one)",
    "of_slices": "a = Slice (x, zero, two, one) b = Slice (x, two, four, one) r = Relu (a) y = Concat <axis = 1> (b, r)",
    "of_a_constant": "a = Relu (x) b = Expand (k, s) y = Concat <axis = 1> (a, b)",
    "shuffle": "a = Reshape (x, split) b = Transpose <perm = [0, 2, 1, 3, 4]> (a) c = Reshape (b, join) d = Conv (c, V) y = Concat <axis = 1> (c, d)",
    "then_convolution": f"a = Relu (x) b = Abs (x) c = Concat <axis = 0> (a, b) y = {CONV} (c, W)",
    "on_the_batch": "a = Conv (x, V) b = Conv (x, V) y = Concat <axis = 0> (a, b)",
    "on_the_height": "a = Conv (x, V) b = Relu (a) y = Concat <axis = 2> (a, b)",
    "empty_piece": "a = Relu (x) b = Slice (x, two, two, one) y = Concat <axis = 1> (b, a)",
}  # fmt: skip


@pytest.mark.parametrize("name", CONCATENATED)
def test_concatenations(name):
    body = CONCATENATED[name]
    constants = {
        "W": W, "B": B, "V": W1, "zero": ints(0), "one": ints(1), "two": ints(2), "three": ints(3), "four": ints(4),
        "five": ints(5), "k": np.float32([[[[3]]]]), "s": ints(2, 4, 6, 5), "split": ints(0, 2, 2, 6, 5), "join": ints(0, 4, 6, 5),
    }  # fmt: skip
    words = set(body.replace(",", " ").replace("(", " ").replace(")", " ").split())
    outputs = Y + (", float[n2,c2,h2,w2] z" if "z = " in body else "")
    model = parse(body, X4, outputs, 13, {k: v for k, v in constants.items() if k in words})
    native(model, {"x": image()})


def test_outputs_that_are_inputs_constants_and_one_tensor_twice():
    body = "y = Identity (x) z = Identity (x) r = Relu (x) s = Identity (r) t = Identity (k)"
    outputs = ", ".join(f"float[a{i},b{i}] {name}" for i, name in enumerate("xyzrst"))
    model = parse(body, "float[n,m] x", outputs, 13, {"k": np.float32([[1, 2]])})
    native(model, {"x": RNG.standard_normal((3, 4)).astype(np.float32)}, {"x": np.zeros((0, 4), np.float32)})


def test_results_belong_to_the_caller():
    model = parse("y = Identity (x)", "float[n] x", "float[n] y")
    session = planish.InferenceSession(model)
    x = np.ones(3, np.float32)
    (first,) = session.run(None, {"x": x})
    first[:] = 7
    assert (x == 1).all()
    assert (session.run(None, {"x": x})[0] == 1).all()


SHAPES = {
    "flatten_by_shape": "s = Shape (x) n = Gather (s, zero) m = Unsqueeze (n, axes) t = Concat <axis = 0> (m, minus) y = Reshape (x, t)",
    "resize_to_input": "s = Shape (x) hw = Slice (s, two, four) nc = Slice (s, none, two) p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)"
    " t = Concat <axis = 0> (nc, hw) y = Resize <mode = \"nearest\"> (p, , , t)",
    "range_over_width": "s = Shape (x) w = Gather (s, three) f = Cast <to = 1> (w) r = Range (fzero, f, fone) y = Mul (x, r)",
    "expand_to_shape": "s = Shape (x) o = ConstantOfShape <value = float[1] {2.0}> (s) y = Add (x, o)",
    "arithmetic": "s = Shape (x) h = Gather (s, two1) d = Div (h, two1) e = Mul (d, two1) q = Unsqueeze (e, axes) y = Slice (x, none, q, two)",
    "size": "s = Size (x) f = Cast <to = 1> (s) y = Div (x, f)",
    "where_on_shapes": "s = Shape (x) p = Equal (s, s) q = Where (p, s, minus) y = Reshape (x, q)",
    "split_shape": "s = Shape (x) a, b = Split (s) t = Concat <axis = 0> (a, b) y = Reshape (x, t)",
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shape_arithmetic_vanishes(name):
    body = SHAPES[name]
    constants = {
        "zero": np.int64(0), "three": np.int64(3), "two1": np.int64(2), "axes": ints(0), "minus": ints(-1), "two": ints(2),
        "four": ints(4), "none": ints(0), "fzero": np.float32(0), "fone": np.float32(1),
    }  # fmt: skip
    words = set(body.replace(",", " ").replace("(", " ").replace(")", " ").split())
    output = "float[p,q] y" if name == "flatten_by_shape" else Y
    model = parse(body, X4, output, 13, {k: v for k, v in constants.items() if k in words})
    session = native(model, {"x": image(2, 4, 6, 4)}, {"x": image(1, 4, 8, 6)}, {"x": image(2, 4, 6, 4, seed=5)})
    assert len(session.executor.segments({session.lowered.inputs[0].tensor: image(2, 4, 6, 4)})) == 1


IF = (
    "y = If (p) <then_branch = t () => (float[n,m] a) { a = Relu (x) }, "
    "else_branch = e () => (float[n,m] b) { c = Mul (x, k) d = Add (c, h) b = Neg (d) }>"
)


@pytest.mark.parametrize("condition", ["bool p", "computed"])
def test_if_captures_outer_values(condition):
    k = {"k": np.float32([2])}
    x = RNG.standard_normal((2, 3)).astype(np.float32)
    if condition == "bool p":
        model = parse("h = Abs (x) " + IF, "float[n,m] x, bool p", "float[n,m] y", 13, k)
        native(model, *({"x": x, "p": np.array(p)} for p in (True, False, True)))
    else:
        body = "h = Abs (x) s = ReduceSum <keepdims = 0> (x) p = Greater (s, zero) " + IF
        model = parse(body, "float[n,m] x", "float[n,m] y", 13, {**k, "zero": np.float32(0)})
        native(model, {"x": np.abs(x)}, {"x": -np.abs(x)}, {"x": x[:1] ** 2})


def test_if_on_a_shape_and_nested():
    inner = "If (q) <then_branch = t2 () => (float[n,m] a2) { a2 = Exp (x) }, else_branch = e2 () => (float[n,m] b2) { b2 = Sub (x, k) }>"
    body = (
        "s = Shape (x) n0 = Gather (s, zero) p = Less (n0, three) q = Equal (n0, two) y = If (p) <then_branch = t () => (float[n,m] a)"
        f" {{ a = {inner} }}, else_branch = e () => (float[n,m] b) {{ b = Neg (x) }}>"
    )
    constants = {"k": np.float32([2]), "zero": np.int64(0), "three": np.int64(3), "two": np.int64(2)}
    model = parse(body, "float[n,m] x", "float[n,m] y", 13, constants)
    native(model, *({"x": RNG.standard_normal((n, 3)).astype(np.float32)} for n in (1, 2, 3)))


DATA_DEPENDENT = {
    "nonzero_gather": "i = NonZero (x) t = Transpose (i) y = GatherND (x, t)",
    "compress_then_relu": "p = Greater (x, zero) f = Flatten <axis = 0> (p) g = Squeeze (f) c = Compress (x, g) y = Relu (c)",
    "range_by_value": "m = ReduceMax <keepdims = 0> (x) a = Abs (m) c = Ceil (a) r = Range (zero, c, one) y = Neg (r)",
    "det_in_the_middle": "r = Relu (x) d = Det (r) y = Add (d, one)",
    "reshape_by_value": "s = ReduceSum <keepdims = 0> (x) z = Mul (s, zero) i = Cast <to = 7> (z) j = Unsqueeze (i, axes) k = Sub (j, jone) y = Reshape (x, k)",
    "topk_by_value": "s = ReduceMax <keepdims = 0> (x) z = Mul (s, zero) i = Cast <to = 7> (z) j = Unsqueeze (i, axes) k = Add (j, jone) y, q = TopK (x, k)",
}  # fmt: skip


@pytest.mark.parametrize("name", DATA_DEPENDENT)
def test_shapes_that_depend_on_data(name):
    body = DATA_DEPENDENT[name]
    constants = {"zero": np.float32(0), "one": np.float32(1), "axes": ints(0), "jone": ints(1)}
    words = set(body.replace(",", " ").replace("(", " ").replace(")", " ").split())
    model = parse(body, "float[n,n] x", "float y", 13, {k: v for k, v in constants.items() if k in words})
    model.graph.output[0].type.tensor_type.ClearField("shape")
    session = planish.InferenceSession(model)
    for seed in (0, 1, 0):
        x = np.random.default_rng(seed).standard_normal((3, 3)).astype(np.float32)
        assert_close(session.run(None, {"x": x}), by_reference(model, {"x": x}))


def test_strings_pass_through_the_fallback():
    body = "a = StringConcat (s, t) b = Reshape (a, shape) n = Relu (x) y = Identity (b)"
    model = parse(body, "string[n] s, string[n] t, float[n] x", "string[p,q] y, float[n] n", 20, {"shape": ints(-1, 1)})
    session = planish.InferenceSession(model)
    y, n = session.run(
        None, {"s": np.array(["a", "b"], object), "t": np.array(["c", "d"], object), "x": np.float32([-1, 2])}
    )
    assert y.tolist() == [["ac"], ["bd"]]
    assert n.tolist() == [0, 2]


def test_small_inputs_that_decide_shapes():
    model = parse("y = Reshape (x, s)", "float[n,m] x, int64[k] s", "float[p,q] y")
    x = RNG.standard_normal((2, 6)).astype(np.float32)
    session = native(model, *({"x": x, "s": ints(*s)} for s in ((3, 4), (-1, 2), (3, 4))))
    with pytest.raises(planish.PlanishError, match="cannot view"):
        session.run(None, {"x": x, "s": ints(5, 5)})
    native(
        parse("y = Tile (x, s)", "float[n,m] x, int64[k] s", "float[p,q] y"),
        {"x": x, "s": ints(2, 1)},
        {"x": x, "s": ints(0, 3)},
    )


def test_a_fallback_is_listed_with_its_reason():
    session = planish.InferenceSession(parse("y = StringNormalizer (x)", "string[n] x", "string[n] y", 13))
    assert fallbacks(session) == ["StringNormalizer"]
    assert [s.attrs["reason"] for s in session.lowered.walk()] == ["no native kernel"]


def indices_of(*axes: slice | int, shape: tuple[int, ...]) -> np.ndarray:
    """What exporters make of x[axes] = y: the coordinates of every element or slice."""
    chosen = [np.arange(n)[a] if isinstance(a, slice) else np.array([a]) for a, n in zip(axes, shape, strict=False)]
    return np.stack(np.meshgrid(*chosen, indexing="ij"), -1)


ASSIGNED = {
    "every_second": ((slice(None), slice(0, None, 2)), "assign_slice"),
    "elements": ((slice(None), slice(1, 4), slice(0, None, 3), slice(2, 3)), "assign_slice"),
    "one_row": ((0, 3), "assign_slice"),
    "backwards": ((slice(None), slice(None, None, -1)), "scatter_nd"),
}


@pytest.mark.parametrize("name", ASSIGNED)
def test_assignments_to_slices_are_copies(name):
    axes, kind = ASSIGNED[name]
    indices = indices_of(*axes, shape=(2, 4, 6, 5))
    u = np.random.default_rng(1).standard_normal((*indices.shape[:-1], *(2, 4, 6, 5)[len(axes) :])).astype(np.float32)
    inputs = f"{X4}, float[{','.join(map(str, u.shape))}] u"
    model = parse("a = Relu (x) y = ScatterND (a, i, u)", inputs, Y, 18, {"i": indices})
    assert [step.kind for step in planish.InferenceSession(model).lowered.steps] == ["unary", kind]
    native(model, {"x": image(), "u": u})


GRID = indices_of(slice(0, 3), slice(0, 3), shape=(4, 5))


@pytest.mark.parametrize(
    ("indices", "kind"),
    [
        (np.swapaxes(GRID, 0, 1), "assign_slice"),
        (np.repeat(GRID, 2, 0), "scatter_nd"),
        (np.stack([GRID, GRID]), "scatter_nd"),
        (GRID[..., [0, 0]], "scatter_nd"),
        (GRID * GRID, "scatter_nd"),
        (GRID - 3, "scatter_nd"),
    ],
)
def test_only_indices_of_a_slice_become_copies(indices, kind):
    """Transposed, repeated, diagonal, squared, and counted from the end."""
    indices = np.minimum(indices, [3, 4])
    u = np.random.default_rng(2).standard_normal(indices.shape[:-1]).astype(np.float32)
    inputs = f"float[4,5] x, float[{','.join(map(str, u.shape))}] u"
    model = parse("y = ScatterND (x, i, u)", inputs, "float[4,5] y", 18, {"i": indices})
    assert [step.kind for step in planish.InferenceSession(model).lowered.steps] == [kind]
    native(model, {"x": np.zeros((4, 5), np.float32), "u": u})


def test_an_assignment_beyond_the_tensor_is_an_error():
    indices = indices_of(slice(0, 3), shape=(9,))
    model = parse("y = ScatterND (x, i, u)", "float[n,2] x, float[3,2] u", "float[n,2] y", 18, {"i": indices})
    session = planish.InferenceSession(model)
    u = np.ones((3, 2), np.float32)
    assert session.run(None, {"x": np.zeros((4, 2), np.float32), "u": u})[0].sum() == 6
    with pytest.raises(planish.PlanishError, match="out of range"):
        session.run(None, {"x": np.zeros((2, 2), np.float32), "u": u})
