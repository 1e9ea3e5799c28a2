"""Feeds by seed and feeds cut from the user's arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planish.errors import InputError, UsageError
from planish.measure import InputSpec, random_feeds, read_feeds, split_samples

IMAGE = InputSpec("image", ("N", 3, 4, 4), "tensor(float)")


def test_random_feeds_repeat_by_seed_and_note_assumed_dimensions() -> None:
    first, notes = random_feeds([IMAGE], seed=5)
    second, _ = random_feeds([IMAGE], seed=5)
    other, _ = random_feeds([IMAGE], seed=6)
    assert first["image"].shape == (1, 3, 4, 4)
    assert first["image"].dtype == np.float32
    np.testing.assert_array_equal(first["image"], second["image"])
    assert not np.array_equal(first["image"], other["image"])
    assert notes == ["input 'image': N taken as 1; --shape image=… says otherwise"]


def test_random_feeds_know_the_inputs_of_encoders() -> None:
    names = ("input_ids", "attention_mask", "token_type_ids")
    specs = [InputSpec(name, ("batch", "sequence"), "tensor(int64)") for name in names]
    feeds, notes = random_feeds(specs, shapes=dict.fromkeys(names, (2, 50)))
    assert notes == []
    ids = feeds["input_ids"]
    assert ids.dtype == np.int64
    assert ids.min() >= 0
    assert 50 < ids.max() <= 100
    assert (feeds["attention_mask"] == 1).all()
    assert (feeds["token_type_ids"] == 0).all()


@pytest.mark.parametrize(
    ("kind", "dtype", "low", "high"),
    [
        ("uint8", np.uint8, 0, 255),
        ("int8", np.int8, -128, 127),
        ("float16", np.float16, -8, 8),
        ("bool", np.bool_, 1, 1),
    ],
)
def test_random_feeds_fill_the_type(kind: str, dtype: type, low: int, high: int) -> None:
    feeds, _ = random_feeds([InputSpec("x", (1000,), f"tensor({kind})")])
    assert feeds["x"].dtype == dtype
    assert low <= feeds["x"].min() <= feeds["x"].max() <= high
    assert kind == "bool" or feeds["x"].std() > 0.5


def test_free_dimensions_get_sizes_that_agree() -> None:
    tokens = [InputSpec(name, ("batch", "sequence"), "tensor(int64)") for name in ("ids", "mask")]
    feeds, notes = random_feeds(tokens)
    assert [feed.shape for feed in feeds.values()] == [(1, 64), (1, 64)]
    assert notes[0] == "input 'ids': batch taken as 1, sequence taken as 64; --shape ids=… says otherwise"
    feeds, notes = random_feeds(tokens, shapes={"ids": (2, 9)})
    assert [feed.shape for feed in feeds.values()] == [(2, 9), (2, 9)]
    assert notes == []
    other = [InputSpec("x", (1, 3, None, "W"), "tensor(float)"), InputSpec("state", (2, None, 8), "tensor(float)")]
    feeds, notes = random_feeds(other)
    assert [feed.shape for feed in feeds.values()] == [(1, 3, 64, 64), (2, 1, 8)]
    assert notes[0] == "input 'x': ? taken as 64, W taken as 64; --shape x=… says otherwise"


@pytest.mark.parametrize("shape", [(1, 3, 4), (1, 3, 5, 4), (-1, 3, 4, 4)])
def test_a_shape_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"--shape image=.*does not fit the declared \[N,3,4,4\]"):
        random_feeds([IMAGE], shapes={"image": shape})


def test_unknown_names_sequences_and_huge_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="--shape imag: the model has no such input; it has image"):
        random_feeds([IMAGE], shapes={"imag": (1,)})
    with pytest.raises(InputError, match="input 'text': no random values for seq"):
        random_feeds([InputSpec("text", (), "seq(tensor(float))")])
    with pytest.raises(UsageError, match="over 2 GiB"):
        random_feeds([IMAGE], shapes={"image": (2**40, 3, 4, 4)})


def test_split_samples_cuts_batches_and_repeats_scalars() -> None:
    specs = [InputSpec("x", (2, 3), "tensor(float)"), InputSpec("rate", (), "tensor(int64)")]
    x = np.arange(15.0).reshape(5, 3)
    feeds = split_samples({"x": x, "rate": np.array(16000)}, specs)
    assert [feed["x"].tolist() for feed in feeds] == [x[:2].tolist(), x[2:4].tolist()]
    assert all(feed["rate"] == 16000 for feed in feeds)


def test_split_samples_refuses_what_does_not_fit() -> None:
    specs = [InputSpec("a", (1, 3), "tensor(float)"), InputSpec("b", ("N", 3), "tensor(float)")]
    four, five = np.zeros((4, 3)), np.zeros((5, 3))
    with pytest.raises(InputError, match="input 'b': missing"):
        split_samples({"a": four}, specs)
    with pytest.raises(InputError, match="input 'c': not an input"):
        split_samples({"a": four, "b": four, "c": four}, specs)
    with pytest.raises(InputError, match="same number of batches"):
        split_samples({"a": four, "b": five}, specs)
    with pytest.raises(InputError, match="same number of batches"):
        split_samples({"a": four[:0], "b": four[:0]}, specs)


def test_read_feeds_refuses_other_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 not a zip")
    np.savez(tmp_path / "c.npz", image=np.array([object()]))
    for name in ("a.npy", "b.npz", "c.npz", "missing.npz"):
        with pytest.raises(InputError, match=name):
            read_feeds(tmp_path / name, [IMAGE])


def test_read_feeds_reads_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", image=np.ones((3, 3, 4, 4), np.float32))
    assert [feed["image"].shape for feed in read_feeds(tmp_path / "f.npz", [IMAGE])] == [(1, 3, 4, 4)] * 3
