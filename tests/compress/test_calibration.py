"""Every source of calibration data gives the same feeds; what does not fit is an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from planish.compress.calibration import open_calibration
from planish.errors import CalibrationError
from planish.quantization import CalibrationDataReader


def model(batch: int | str = "N", inputs: int = 1) -> ir.Model:
    names = ["x", "z"][:inputs]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 2]) for name in names]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    node = helper.make_node("Add", ["x", names[-1]], ["y"])
    return ir.from_proto(helper.make_model(helper.make_graph([node], "g", infos, outputs)))


SAMPLES = np.arange(20, dtype=np.float32).reshape(10, 2)


class Reader(CalibrationDataReader):
    def __init__(self) -> None:
        self._rows = iter(SAMPLES)

    def get_next(self) -> dict[str, np.ndarray] | None:
        row = next(self._rows, None)
        return None if row is None else {"x": row[np.newaxis]}


def sources(folder: Path) -> Iterator[object]:
    np.savez(folder / "data.npz", x=SAMPLES)
    (folder / "many").mkdir()
    for number, row in enumerate(SAMPLES):
        np.save(folder / "many" / f"{number:02}.npy", row)
    yield folder / "data.npz"
    yield str(folder / "many")
    yield Reader()
    yield [{"x": row[np.newaxis]} for row in SAMPLES]
    yield ({"x": row[np.newaxis]} for row in SAMPLES)
    yield {"x": SAMPLES}


def test_every_source_gives_the_same_samples_again_and_again(tmp_path: Path) -> None:
    for source in sources(tmp_path):
        with open_calibration(source, model()) as data:  # type: ignore[arg-type]
            for _ in range(2):
                np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in data]), SAMPLES)
            assert data.samples == 10


def test_an_npz_is_split_to_the_models_batch(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=SAMPLES)
    with open_calibration(tmp_path / "data.npz", model(4)) as data:
        feeds = list(data)
    assert [len(feed["x"]) for feed in feeds] == [4, 4]
    with (
        open_calibration(tmp_path / "data.npz", model(16)) as data,
        pytest.raises(CalibrationError, match="at least 16"),
    ):
        list(data)


def test_a_folder_of_two_inputs(tmp_path: Path) -> None:
    for name in ("x", "z"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "0.npy", np.full(2, ord(name), np.float32))
    with open_calibration(tmp_path, model(inputs=2)) as data:
        (feed,) = data
    assert feed["x"][0, 0] == ord("x")
    assert feed["z"][0, 0] == ord("z")


def test_the_number_of_samples_is_bounded() -> None:
    with open_calibration(({"x": row[np.newaxis]} for row in SAMPLES), model(), samples=3) as data:
        assert len(list(data)) == 3
        assert data.samples == 3


def test_random_is_explicit_seeded_and_named() -> None:
    def draw(seed: int) -> np.ndarray:
        with open_calibration("random", model(), samples=4, seed=seed) as data:
            assert data.kind == "random"
            return np.concatenate([feed["x"] for feed in data])

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).any()


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ([], "no samples"),
        ([{"x": np.array([[np.nan, 1]], np.float32)}], "NaN or infinity"),
        ([{"y": SAMPLES}], "lacks input 'x'"),
        ([{"x": SAMPLES.reshape(5, 4)}], r"expects \[\?,2\], got \[5,4\]"),
        ([{"x": np.array([["a", "b"]])}], "expected float32"),
        ([SAMPLES], "give a dict"),
        (17, "is no source"),
    ],
)
def test_feeds_that_do_not_fit(feeds: object, message: str) -> None:
    with pytest.raises(CalibrationError, match=message), open_calibration(feeds, model()) as data:  # type: ignore[arg-type]
        list(data)


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    def read(source: Path, inputs: int = 1) -> None:
        with open_calibration(source, model(inputs=inputs)) as data:
            list(data)

    np.savez(tmp_path / "named.npz", images=SAMPLES)
    with pytest.raises(CalibrationError, match="no input is called 'images'; the model's inputs are x"):
        read(tmp_path / "named.npz")
    np.savez(tmp_path / "one.npz", x=SAMPLES)
    with pytest.raises(CalibrationError, match="nothing for input 'z'"):
        read(tmp_path / "one.npz", inputs=2)
    np.savez(tmp_path / "uneven.npz", x=SAMPLES, z=SAMPLES[:3])
    with pytest.raises(CalibrationError, match="same number for every input"):
        read(tmp_path / "uneven.npz", inputs=2)
    whole = (tmp_path / "one.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CalibrationError, match=r"cut\.npz"):
        read(tmp_path / "cut.npz")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(CalibrationError, match=r"objects\.npy"):
        read(tmp_path / "objects.npy")
    with pytest.raises(CalibrationError, match="missing"):
        read(tmp_path / "missing.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CalibrationError, match=r"no \.npy file"):
        read(tmp_path / "empty")


def test_the_right_model_is_checked(cnn: onnx.ModelProto) -> None:
    with open_calibration("random", ir.from_proto(cnn), samples=2) as data:
        assert [feed["x"].shape for feed in data] == [(1, 4, 8, 8)] * 2
