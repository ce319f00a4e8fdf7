"""Sentences with a word in several senses: of the documentation, of the examples, and of files; and their rows."""

from pathlib import Path

import numpy as np
import pytest

from ssl_jax.data import pydocs, word_senses
from ssl_jax.data.tokenizers import WordPiece, train_sentencepiece
from ssl_jax.data.word_rows import sample_sentences, text_rows, word_rows
from ssl_jax.data.word_senses import EXAMPLES, documented_words, find_word, read_occurrences
from ssl_jax.errors import UserError

PIECES = ["the", "cat", "s", "##at", "##s", "on", "a", "mat", "."]
VOCABULARY = ["[PAD]", *[f"[unused{i}]" for i in range(99)], "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PIECES]
CLS, SEP, UNK = 101, 102, 100


@pytest.fixture
def documents(monkeypatch):
    """Of two packages, four documents each; every other one is held out."""

    def document(module, *texts):
        return pydocs.Document([pydocs.Sentence(text, "") for text in texts], [], [], module)

    made = []
    for number in range(4):
        first = f"The axis number {number} of the plot."
        made.append(document("matplotlib.a", first, "No such word is in here.", f"And {first}"))
        second = ("An axis.", "The axis_ is a part of it.", f"One more axis of it, {number}.")
        made.append(document("numpy.b", f"The Axis {number} of such an array.", *second))
    monkeypatch.setattr(pydocs, "read_packages", lambda: made)
    heldout = np.arange(8) // 2 % 2 == 1
    monkeypatch.setattr(word_senses, "heldout_documents", lambda documents: (np.arange(8), heldout))


def test_documents_of_a_sense_take_turns(documents):
    plot = [f"{start} axis number {number} of the plot." for start in ("The", "And The") for number in (1, 3)]
    array = ["The Axis 1 of such an array.", "The Axis 3 of such an array.", "One more axis of it, 1."]
    for per_sense, count in ((3, 3), (2, 2)):
        [(word, found)] = documented_words(per_sense).items()
        assert word == "axis"
        assert [(each.sense, each.text) for each in found] == [
            *(("plot", text) for text in plot[:count]),
            *(("array", text) for text in array[:count]),
        ]
        assert {each.text[each.start : each.end].lower() for each in found} == {"axis"}
    assert len(documented_words(9)["axis"]) == 8


def test_documentation_without_the_words(documents, monkeypatch):
    monkeypatch.setattr(word_senses, "WORDS", {"tree": {"plot": ("matplotlib",), "array": ("numpy",)}})
    with pytest.raises(UserError, match=r"none of the words tree in two senses; give .* --sentences FILE"):
        documented_words(5)


def test_a_word_is_found_as_a_word():
    assert find_word("Pineapples, an APPLE, an apple", "apple") == (15, 20)
    assert find_word("Pineapples", "apple") is None
    assert find_word("C++ and C", "c++") == (0, 3)


def test_the_examples_are_complete():
    words = read_occurrences([EXAMPLES])
    assert [*words] == ["apple", "bank", "bat", "spring", "crane"]
    for occurrences in words.values():
        senses = [each.sense for each in occurrences]
        assert len(senses) == 10
        assert {senses.count(sense) for sense in senses} == {5}


def file(folder: Path, *rows: str, header: str = "sense\ttext") -> str:
    path = folder / "apple.tsv"
    path.write_text("\n".join([header, *rows, ""]))
    return str(path)


FRUIT, FIRM = "fruit\tAn apple a day.", "firm\tApple sells a phone."


def test_sentences_are_sorted_by_sense(tmp_path):
    rows = [FRUIT, FIRM, "fruit\tEat the apple or an apple.", "firm\tThey sued Apple."]
    [found] = read_occurrences([file(tmp_path, *rows)], "apple").values()
    assert [each.sense for each in found] == ["fruit", "fruit", "firm", "firm"]
    assert (found[1].start, found[1].end) == (8, 13)  # the first one counts


@pytest.mark.parametrize(
    ("rows", "word", "named"),
    [
        ([FRUIT, FIRM], "", "has no column word; add one, or name the word of the file with --word"),
        (
            [FRUIT, "firm\tPineapples."],
            "apple",
            r"line 3: the word 'apple' is not in the sentence 'Pineapples.'",
        ),
        ([FRUIT, FRUIT], "apple", "the word 'apple' has only the sense fruit; expected at least two senses"),
        (
            [FRUIT, FRUIT, FIRM],
            "apple",
            r"the word 'apple' has firm \(1\); expected .* at least 2 sentences of",
        ),
        ([FRUIT, "\tAn apple."], "apple", "line 3: no word or no sense"),
    ],
)
def test_files_that_are_refused(tmp_path, rows, word, named):
    with pytest.raises(UserError, match=named):
        read_occurrences([file(tmp_path, *rows)], word)


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(UserError, match="no column 'sense'; its columns are kind, text"):
        read_occurrences([file(tmp_path, FRUIT, header="kind\ttext")], "apple")


def test_a_word_is_marked_by_its_pieces():
    tokenizer = WordPiece(VOCABULARY)
    rows = word_rows(["The cat sat on a mat.", "Cats"], [(8, 11), (0, 4)], tokenizer, 16)
    first, second = rows(0), rows(1)
    assert first["tokens"].tolist() == [CLS, 104, 105, 106, 107, 109, 110, 111, 112, SEP]
    assert first["word"].tolist() == [-1, 0, 0, 1, 1, 0, 0, 0, 0, -1]
    assert second["word"].tolist() == [-1, 1, 1, *[-1] * 7]
    assert second["segment_ids"].tolist() == [1] * 4 + [0] * 6


def test_the_part_around_the_word_is_taken_of_a_long_sentence():
    tokenizer = WordPiece(VOCABULARY)
    text = "a " * 10 + "cat " + "on " * 10
    [row] = [word_rows([text], [(20, 23)], tokenizer, 9)(0)]
    assert row["tokens"].tolist() == [CLS, *[110] * 3, 105, *[109] * 3, SEP]
    assert row["word"].tolist() == [-1, 0, 0, 0, 1, 0, 0, 0, -1]
    for place, expected in ((0, [1, *[0] * 6]), (20, [*[0] * 6, 1])):
        words = ["a"] * 21
        words[place] = "cat"
        [row] = [word_rows([" ".join(words)], [(2 * place, 2 * place + 3)], tokenizer, 9)(0)]
        assert row["word"][1:-1].tolist() == expected


def test_sentencepiece_counts_no_space_to_a_word():
    tokenizer = train_sentencepiece(["a cat sat on a mat", "the dog ran off"] * 20, 40)
    text = "the dog  sat"
    row = word_rows([text], [(4, 7)], tokenizer, 32)(0)
    marked = row["tokens"][row["word"] == 1]
    assert tokenizer.decode(marked.tolist()).strip() == "dog"


@pytest.mark.parametrize(
    ("text", "length", "named"),
    [
        ("The zebra.", 16, "the word 'zebra' is unknown: the model's vocabulary has no pieces for it"),
        ("The cats.", 3, "the word 'zebra' is unknown|has 2 pieces; expected at most 1"),
    ],
)
def test_words_without_a_row(text, length, named):
    with pytest.raises(UserError, match=named):
        word_rows([text], [(4, len(text) - 1)], WordPiece(VOCABULARY), length)


def test_all_of_other_text_counts():
    rows = text_rows(["The cat.", "", "On a mat."], WordPiece(VOCABULARY), 5)
    assert len(rows) == 2
    assert rows(1)["word"].tolist() == [-1, 1, 1, 1, -1]


def test_other_text_is_divided_into_training_and_heldout_sentences(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(
        "\n\n".join(
            f"Number {i} has words enough here.\nToo short.\nSo {i} has a second one." for i in range(80)
        )
    )
    training, heldout = sample_sentences(str(path), 500)
    assert len(training) + len(heldout) == 160
    assert not {*training} & {*heldout}
    assert 4 <= len(heldout) <= 30
    few, others = sample_sentences(str(path), 3)
    assert (len(few), len(others)) == (3, 3)
    assert all("words enough" in text for text in few)  # the first ones of three documents
    path.write_text("\n\n".join(f"Too short {i}." for i in range(9)))
    with pytest.raises(UserError, match="has no sentence of 5 words or more"):
        sample_sentences(str(path), 3)
