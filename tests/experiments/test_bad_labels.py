"""What a user may get wrong with labelled data: one paragraph that names it, exit code 2, and nothing is written.

Other mistakes of each reader are in tests/data; here each comes through the command of its experiment.
"""

import json

import pytest

from ssl_jax.data.tokenizers import train_sentencepiece
from tests.experiments.test_sequence_classification import opened
from tests.runs.test_encoders import source_config
from tests.runs.test_warm_start import begin, cache, config  # noqa: F401

SENTENCES = "label\ttext\n" + "".join(f"{'ab'[i % 2]}\tSentence {i} of some.\n" for i in range(8))
PAIRS = "score\ttext\tsecond\n" + "".join(f"{i}\tA {i}.\tB {i}.\n" for i in range(8))
WORDS = "".join(f"The\tO\ncat{i}\tB\n\n" for i in range(8))


def squad(start: int, text: str = "cat") -> str:
    entry = {"id": "q7", "question": "Who?", "answers": [{"text": text, "answer_start": start}]}
    return json.dumps({"data": [{"title": "t", "paragraphs": [{"context": "The cat sat.", "qas": [entry]}]}]})


CLASSES = ("--labels", "a", "b")
SCORES = ("--scored", "True", "--data.label", "score")
TAGS = ("--tags", "B", "O")
TOKENIZER = ("--bert.data.tokenizer", "TOKENIZER", "--data.tokenizer", "TOKENIZER")
"""That of the fixture, so that none is trained on the documentation."""
BAD = {
    "unknown label in the held-out file": (
        "sequence_classification",
        {"train.tsv": SENTENCES, "dev.tsv": "label\ttext\na\tOne.\nc\tTwo.\n"},
        CLASSES,
        "dev.tsv', line 3: the label 'c' does not occur in the training data",
    ),
    "no label column": (
        "sequence_classification",
        {"train.tsv": SENTENCES.replace("label", "class", 1)},
        CLASSES,
        "train.tsv', line 1: no column 'label'; its columns are class, text.",
    ),
    "a single class": (
        "sequence_classification",
        {"train.tsv": SENTENCES.replace("b\t", "a\t"), "dev.tsv": SENTENCES},
        CLASSES,
        "the training data has only the label 'a'; expected at least two labels",
    ),
    "no room for a sentence": (
        "sequence_classification",
        {"train.tsv": SENTENCES, "dev.tsv": SENTENCES},
        (*CLASSES, *TOKENIZER, "--length", "2"),
        "a length of 2 tokens has no room for text; expected at least 3",
    ),
    "a sentence without words": (
        "sequence_classification",
        {"train.tsv": SENTENCES + "a\t\u200b \n", "dev.tsv": SENTENCES},
        (*CLASSES, *TOKENIZER),
        "train.tsv', line 10: the tokenizer finds no word in '\\u200b '",
    ),
    "a score that is no number": (
        "pair_classification",
        {"train.tsv": PAIRS.replace("5\t", "NaN\t", 1)},
        SCORES,
        "train.tsv', line 7: the score 'score' is 'NaN'; expected a finite number",
    ),
    "a tag without a word": (
        "token_classification",
        {"train.jsonl": '{"words": ["The", "cat"], "tags": ["O", "B", "O"]}\n'},
        TAGS,
        "train.jsonl', line 1: 2 words and 3 tags; expected a tag for each word",
    ),
    "a word without a tag": (
        "token_classification",
        {"train.conll": WORDS + "The\tO\ncat\n"},
        TAGS,
        "train.conll', line 26: 1 column(s), 'cat'; expected a word and a tag",
    ),
    "no room for a word": (
        "token_classification",
        {"train.conll": WORDS, "dev.conll": WORDS},
        (*TAGS, *TOKENIZER, "--length", "2"),
        "there is no room for text; give a larger length",
    ),
    "an answer elsewhere in its context": (
        "question_answering",
        {"train.json": squad(5)},
        (),
        "question 'q7': its answer 'cat' is not at character 5 of the context, which has 'at ' there; it is at "
        "character 4. Correct answer_start or the text.",
    ),
    "an answer that its context lacks": (
        "question_answering",
        {"train.json": squad(4, "dog")},
        (),
        "the context does not have it",
    ),
}


@pytest.fixture
def tokenizer(tmp_path):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    return str(train_sentencepiece(["The cat and a dog, 1 2 3.", "Sentence of some."] * 4, 36).save(folder))


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case, refused, tmp_path, tokenizer):
    name, files, more, message = BAD[case]
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    source, *heldout = (str(tmp_path / file) for file in files)
    more = [tokenizer if word == "TOKENIZER" else word for word in more]
    arguments = ["--data.source", source, *(["--data.heldout_source", *heldout] if heldout else []), *more]
    error = refused(name, "--workdir", tmp_path / "run", *arguments)
    assert message in error
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_that_is_not_the_encoders(refused, tmp_path):
    begin(tmp_path / "source", source_config(tmp_path))
    begin(tmp_path / "other", config(tmp_path, ("red green blue", "Grey and pink on white")))
    (tmp_path / "train.tsv").write_text(SENTENCES)
    error = refused(
        "sequence_classification",
        *("--workdir", tmp_path / "run", "--init_from", tmp_path / "source", "--length", 16),
        *("--data.source", tmp_path / "train.tsv", *CLASSES),
        *("--data.tokenizer", tmp_path / "other" / "tokenizer.model"),
    )
    assert f"its tokenizer {tmp_path / 'source'}/tokenizer.model is not data.tokenizer" in error
    assert "Leave out --data.tokenizer to take the source's" in error
    assert not (tmp_path / "run").exists()


def test_quotes_line_ends_and_a_byte_order_mark_make_no_difference(tmp_path, tokenizer):
    """Quotes are characters of the text; they would be lost, or join lines, if they were taken for quoting."""
    lines = [
        "sentence\tkind",
        'A "cat and 1 more.\tfew',
        '"5 more" dogs.\tmany',
        "An owl's 2\"\tfew",
        "4 hens.\tmany",
    ]
    (tmp_path / "plain.tsv").write_bytes("\n".join([*lines, ""]).encode())
    (tmp_path / "messy.tsv").write_bytes("\r\n".join(["\ufeff" + lines[0], "", *lines[1:]]).encode())
    (tmp_path / "run").mkdir()
    files = [str(tmp_path / f"{name}.tsv") for name in ("plain", "messy")]
    plain, messy = (
        opened(tmp_path / "run", tokenizer, source=file, heldout_source=files[0]) for file in files
    )
    assert messy.details.train.texts == plain.details.train.texts
    assert plain.details.train.texts == ['A "cat and 1 more.', '"5 more" dogs.', "An owl's 2\"", "4 hens."]
    assert messy.identity == plain.identity
