"""Symbols as random pieces of a vocabulary: which pieces are drawn, the rows, and the file of the map."""

import json

import numpy as np
import pytest
from etils import epath

from ssl_jax.data.digit_sequences import LEVELS, digit_sequences
from ssl_jax.data.digits import Digits
from ssl_jax.data.labelled_text import LabelledText
from ssl_jax.data.special_tokens import SENTENCEPIECE
from ssl_jax.data.symbols import FILE, SymbolMap, usable_pieces
from ssl_jax.data.tokenizers import WordPiece, train_sentencepiece
from ssl_jax.errors import UserError


@pytest.fixture(scope="module")
def wordpiece():
    unused = [f"[unused{number}]" for number in range(99)]
    vocabulary = ["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return WordPiece([*vocabulary, "[unused99]", "the", "[", "cat", "##s", "[unused100]"])


@pytest.fixture(scope="module")
def sentencepiece():
    return train_sentencepiece(["The cat and a dog, 1 2 3."] * 4, 300, "bpe", byte_fallback=True)


def examples(*sequences):
    return [LabelledText(one, place=f"line {number}") for number, one in enumerate(sequences, 1)]


def test_pieces_that_stand_for_text(wordpiece, sentencepiece):
    assert wordpiece.pieces(usable_pieces(wordpiece)) == ["the", "[", "cat", "##s"]
    found = usable_pieces(sentencepiece)
    assert found.min() == 5 + 256  # after the special tokens and the bytes
    assert found.max() == sentencepiece.vocab_size - 1


def test_a_map_gives_each_symbol_a_piece_of_its_own(wordpiece):
    drawn = [SymbolMap.drawn(["GATT", "AC"], "character", wordpiece, seed).ids for seed in range(20)]
    assert all([*one] == ["A", "C", "G", "T"] and len({*one.values()}) == 4 for one in drawn)
    assert len({tuple(one.values()) for one in drawn}) > 10
    again = SymbolMap.drawn(["CATG"], "character", wordpiece, 3)
    assert again.ids == drawn[3]
    chosen = {SymbolMap.drawn(["x"], "word", wordpiece, seed).ids["x"] for seed in range(40)}
    assert chosen == {*usable_pieces(wordpiece).tolist()}


def test_more_symbols_than_pieces(wordpiece):
    with pytest.raises(UserError, match=r"has 5 different symbols, but the tokenizer has 4 pieces"):
        SymbolMap.drawn(["abcde"], "character", wordpiece, 0)
    with pytest.raises(UserError, match=r"larger vocabulary, or --data\.unit character"):
        SymbolMap.drawn(["a b c d e"], "word", wordpiece, 0)


def test_rows_of_characters_and_of_words():
    symbols = SymbolMap("character", {"a": 7, " ": 8, "B": 9}, SENTENCEPIECE)
    rows, longer = symbols.rows(examples("a B", "Bab!"), np.array([1, 0], np.int32), 6, cut=False)
    assert longer == 0
    assert [row["tokens"].tolist() for row in map(rows, range(2))] == [[2, 7, 8, 9, 3, 0], [2, 9, 7, 1, 1, 3]]
    assert [int(rows(row)["label"]) for row in range(2)] == [1, 0]
    assert rows(0)["token_type_ids"].tolist() == [0] * 6
    assert rows(0)["segment_ids"].tolist() == [1, 1, 1, 1, 1, 0]
    assert symbols.unseen(["a B", "Bab!!"]) == {"b": 1, "!": 2}

    words = symbols._replace(unit="word")
    rows, longer = words.rows(examples("a  B B", "a"), np.zeros(2, np.int32), 4, cut=True)
    assert longer == 1
    assert [row["tokens"].tolist() for row in map(rows, range(2))] == [[2, 7, 9, 3], [2, 7, 3, 0]]


@pytest.mark.parametrize(
    ("sequence", "length", "message"),
    [
        ("aa", 3, "line 2: a sequence of 2 symbols, but rows of 3 tokens have room for 1. Shorten it"),
        ("", 9, "line 2: the sequence is empty"),
        (" ", 9, "line 2: the sequence is empty"),
        ("a", 2, "length 2: a row has no room for symbols; give at least 3"),
    ],
)
def test_sequences_without_a_row(sequence, length, message):
    symbols = SymbolMap("character", {"a": 7}, SENTENCEPIECE)
    with pytest.raises(UserError) as refused:
        symbols.rows(examples("a", sequence), np.zeros(2, np.int32), length, cut=False)
    assert message in str(refused.value)


def test_the_file_of_a_map(wordpiece, tmp_path):
    folder = epath.Path(tmp_path)
    with pytest.raises(UserError, match=rf"has no {FILE}, which has the piece of each symbol"):
        SymbolMap.read(folder, wordpiece)
    drawn = SymbolMap.drawn(["\u00e9 \u2028"], "character", wordpiece, 0)
    drawn.save(folder)
    assert SymbolMap.read(folder, wordpiece) == drawn
    for ids in ({"a": wordpiece.vocab_size}, {"a": -1}, {"a": "7"}):
        (folder / FILE).write_text(json.dumps({"unit": "word", "ids": ids}))
        with pytest.raises(UserError, match=FILE):
            SymbolMap.read(folder, wordpiece)


def test_digits_as_sequences_of_grey_levels():
    for part, heldout in zip(digit_sequences(), (False, True), strict=True):
        digits = Digits(heldout=heldout)
        assert len(part) == len(digits)
        for number in (0, 7):
            pixels, example = digits[number]["image"].reshape(8, 8), part[number]
            assert example.label == str(int(digits[number]["label"]))
            assert len(example.text) == 56
            for place, letter in enumerate(example.text):
                level, value = LEVELS.index(letter), pixels[place // 7, 1 + place % 7]
                assert level / 4 <= value < (level + 1) / 4 or (level == 3 and value == 1)
