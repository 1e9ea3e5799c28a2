"""The benchmark models have their published sizes and compute finite, varied outputs in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from bench.models import minilm
from bench.models.__main__ import main
from bench.models.bert import BERT_BASE, BertConfig, build_bert, random_weights
from bench.models.convnets import build_mobilenet_v2, build_resnet50
from bench.models.counts import count_macs, count_parameters
from bench.models.wordpiece import WordPiece

SMALL_BERT = BertConfig(layers=2, hidden=32, heads=4, inner=64, vocabulary=120, positions=24)


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def tokens(batch: int, sequence: int, vocabulary: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    mask = np.ones((batch, sequence), np.int64)
    mask[0, sequence // 2 :] = 0
    ids = rng.integers(0, vocabulary, (batch, sequence))
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def images(batch: int) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(7).standard_normal((batch, 3, 224, 224), dtype=np.float32)}


def assert_alive(logits: np.ndarray) -> None:
    """Finite, neither vanishing nor exploding, and different for different inputs."""
    assert np.isfinite(logits).all()
    assert 0.05 < logits.std() < 50
    assert np.abs(logits[0] - logits[1]).max() > 1e-3 * np.abs(logits).max()


def test_mobilenet_v2_has_its_published_size_and_is_alive() -> None:
    model = build_mobilenet_v2(batch=2)
    assert count_parameters(model) == 3_504_872 - 2 * 17_056 + 17_056 + 2  # two BatchNorm vectors become one bias
    assert count_macs(build_mobilenet_v2()) == pytest.approx(300e6, rel=0.01)
    assert_alive(run(model, images(2))[0])


def test_batch_norm_form_keeps_one_normalisation_a_convolution() -> None:
    model = build_mobilenet_v2(batch="N", batch_norm=True)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("BatchNormalization") == operators.count("Conv") == 52
    assert_alive(run(model, images(2))[0])


@pytest.mark.slow
def test_resnet50_has_its_published_size_and_is_alive() -> None:
    model = build_resnet50(batch=2)
    assert count_parameters(model) == 25_557_032 - 26_560
    assert count_macs(build_resnet50()) == pytest.approx(4.09e9, rel=0.01)
    assert_alive(run(model, images(2))[0])


@pytest.mark.slow
def test_bert_base_has_its_published_size_and_is_alive() -> None:
    model = build_bert(BERT_BASE, random_weights(BERT_BASE), batch=2, sequence=128)
    embeddings = sum(
        np.prod(t.dims) for t in model.graph.initializer if t.name.startswith("embeddings.") and len(t.dims) == 2
    )
    assert count_parameters(model) - embeddings == pytest.approx(85.6e6, rel=0.005)
    hidden, pooled = run(model, tokens(2, 128, BERT_BASE.vocabulary))
    assert hidden.shape == (2, 128, 768)
    assert_alive(pooled)


def test_builders_repeat_by_seed() -> None:
    first, second, other = (build_mobilenet_v2(seed=seed).SerializeToString() for seed in (1, 1, 2))
    assert first == second != other


@pytest.mark.parametrize("sizes", [(2, 10), ("batch", "sequence")])
def test_bert_forms_agree(sizes: tuple[int, int] | tuple[str, str]) -> None:
    weights = random_weights(SMALL_BERT)
    feeds = tokens(2, 10, SMALL_BERT.vocabulary)
    batch, sequence = sizes
    op = build_bert(SMALL_BERT, weights, batch=batch, sequence=sequence, layer_norm="op")
    pieces = build_bert(SMALL_BERT, weights, batch=batch, sequence=sequence, layer_norm="pieces")
    assert "LayerNormalization" not in {node.op_type for node in pieces.graph.node}
    for a, b in zip(run(op, feeds), run(pieces, feeds), strict=True):
        assert a.std() > 0.1
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_masked_tokens_do_not_change_the_others() -> None:
    model = build_bert(SMALL_BERT, random_weights(SMALL_BERT), pooling="mean")
    feeds = tokens(2, 10, SMALL_BERT.vocabulary)
    hidden, sentence = run(model, feeds)
    feeds["input_ids"][0, 5:] = 3
    changed_hidden, changed_sentence = run(model, feeds)
    np.testing.assert_allclose(hidden[0, :5], changed_hidden[0, :5], atol=1e-6)
    np.testing.assert_allclose(sentence, changed_sentence, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(sentence, axis=1), 1.0, rtol=1e-6)


def test_wordpiece_splits_greedily(tmp_path: Path) -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "play", "##ing", "##s", "cafe", ",", "a"]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    encoded = WordPiece(tmp_path / "vocab.txt").encode(["Playing, Café", "xyz a"])
    assert encoded["input_ids"].tolist() == [[2, 4, 5, 8, 7, 3], [2, 1, 9, 3, 0, 0]]
    assert encoded["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 1, 0, 0]]


def test_command_line_writes_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    assert main(["mobilenet_v2", "-o", str(path), "--batch", "N"]) == 0
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert "3.49 M parameters" in capsys.readouterr().out
    assert main(["mobilenet_v2", "-o", str(path)]) == 0
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_missing_minilm_weights_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["minilm", "--weights", str(tmp_path / "none"), "-o", str(tmp_path / "m.onnx")]) == 1
    assert "config.json" in capsys.readouterr().err


@pytest.fixture(scope="module")
def minilm_folder() -> Path:
    try:
        return minilm.find_folder()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_minilm_places_similar_sentences_closer(minilm_folder: Path) -> None:
    texts = [
        "A man is playing a guitar on the stage.",
        "Someone performs music with a guitar.",
        "The central bank raised interest rates again.",
        "Borrowing costs went up after the monetary policy decision.",
    ]
    feeds = WordPiece(minilm_folder / "vocab.txt").encode(texts)
    _, embeddings = run(minilm.build_minilm(minilm_folder), feeds)
    similarity = embeddings @ embeddings.T
    assert similarity[0, 1] > 0.5
    assert similarity[2, 3] > 0.4
    assert np.abs(similarity[:2, 2:]).max() < 0.2
