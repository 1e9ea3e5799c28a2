"""BERT's uncased WordPiece tokenizer: text to the three inputs of an encoder."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

_MAX_WORD = 100


class WordPiece:
    """Tokenizes by a vocabulary file with one piece a line; pieces inside a word start with `##`."""

    def __init__(self, vocabulary: Path) -> None:
        pieces = vocabulary.read_text(encoding="utf-8").splitlines()
        self._ids = {piece: index for index, piece in enumerate(pieces)}

    def encode(
        self, texts: Sequence[str], *, max_length: int = 128, pad_to: int | None = None
    ) -> dict[str, np.ndarray]:
        """int64[len(texts), n] arrays `input_ids`, `attention_mask`, `token_type_ids`; n is `pad_to` or the longest."""
        rows = [self.token_ids(text, max_length) for text in texts]
        length = pad_to if pad_to is not None else max(map(len, rows))
        ids = np.full((len(rows), length), self._ids["[PAD]"], dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(rows):
            tokens = tokens[:length]
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}

    def token_ids(self, text: str, max_length: int) -> list[int]:
        """[CLS], the pieces of the text cut to fit, [SEP]."""
        pieces = [piece for word in _words(text) for piece in self._pieces(word)]
        return [self._ids[token] for token in ["[CLS]", *pieces[: max_length - 2], "[SEP]"]]

    def _pieces(self, word: str) -> list[str]:
        """The longest known piece from the left, again and again; [UNK] if a rest has none."""
        pieces: list[str] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                if prefix + word[start:end] in self._ids:
                    pieces.append(prefix + word[start:end])
                    start = end
                    break
            else:
                return ["[UNK]"]
        return pieces if len(word) <= _MAX_WORD else ["[UNK]"]


def _words(text: str) -> Iterable[str]:
    """Lower case without accents and control characters; punctuation and CJK ideographs are words of their own."""
    spaced = []
    for character in unicodedata.normalize("NFD", text.lower()):
        category = unicodedata.category(character)
        if category == "Mn" or (category.startswith("C") and not character.isspace()):
            continue
        alone = _is_punctuation(character, category) or 0x3400 <= ord(character) <= 0x9FFF
        spaced.append(f" {character} " if alone else character)
    return "".join(spaced).split()


def _is_punctuation(character: str, category: str) -> bool:
    """Unicode punctuation, and every ASCII symbol."""
    return category.startswith("P") or (character.isascii() and category.startswith("S"))
