"""Rows of fine-tuning: equal to those of google-research/bert and of transformers (golden vectors), every word scored
exactly once, answers mapped to the text to the character, and padding to a few lengths.
"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_jax.data.buckets import BucketedBatches, padded_length
from ssl_jax.data.fine_tuning_rows import batch_shapes, question_rows, sentence_rows, tagging_rows
from ssl_jax.data.labelled_text import Answer, Question, TaggedWords
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.data.windows import cut_windows, has_most_context
from ssl_jax.errors import UserError
from tests.data.rows_reference import GOLDEN, WORDPIECE, questions

SENTENCES = [
    f"The {animal} of 1985 jumped over {n} lazy cafés." for animal in ("fox", "dog") for n in range(30)
]


@pytest.fixture(scope="module")
def sentencepiece():
    return train_sentencepiece(SENTENCES, 120, lowercase=True, byte_fallback=False)


def unpadded(row):
    count = int(row["segment_ids"].sum())
    assert not row["tokens"][count:].any()
    assert not row["token_type_ids"][count:].any()
    assert row["segment_ids"][:count].all()
    return row["tokens"][:count].tolist(), row["token_type_ids"][:count].tolist()


def test_sentences_and_pairs_equal_run_classifier():
    for length, first, second, tokens, types in GOLDEN["pairs"]:
        pair = None if second is None else [second]
        rows, _ = sentence_rows([first], pair, np.array([7], np.int32), WORDPIECE, length)
        assert unpadded(rows(0)) == (tokens, types), (length, first, second)
        assert rows(0)["label"] == 7


@settings(max_examples=60)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(5, 20))
def test_a_pair_loses_tokens_one_by_one_from_the_longer_sentence(a, b, length):
    texts = ["fox " * a], ["dog " * b]
    rows, cut = sentence_rows(*texts, np.zeros(1, np.int32), WORDPIECE, length)
    assert cut == (a + b > length - 3)
    while a + b > length - 3:
        a, b = (a - 1, b) if a > b else (a, b - 1)
    tokens, types = unpadded(rows(0))
    assert WORDPIECE.pieces(tokens) == ["[CLS]", *["fox"] * a, "[SEP]", *["dog"] * b, "[SEP]"]
    assert types == [0] * (a + 2) + [1] * (b + 1)


def test_rows_have_the_shapes_that_are_promised():
    sentences, _ = sentence_rows(["fox"] * 3, None, np.zeros(3, np.float32), WORDPIECE, 8)
    tags = tagging_rows([TaggedWords(("fox",))] * 3, np.zeros(3, np.int32), WORDPIECE, 8, 2)
    asked = [Question(str(i), "dog", "a fox", (Answer("fox", 2),)) for i in range(3)]
    answers = question_rows(asked, WORDPIECE, 8, 2, 3)
    for rows, task in ((sentences, "score"), (tags.rows, "tags"), (answers.rows, "answer")):
        batch = {name: np.stack([rows(i)[name] for i in range(3)]) for name in rows(0)}
        promised = batch_shapes(3, 8, task)
        assert {name: (x.shape, x.dtype) for name, x in batch.items()} == {
            name: (x.shape, x.dtype) for name, x in promised.items()
        }
    assert batch_shapes(3, 8, "class")["label"].dtype == np.int32


@pytest.mark.parametrize("case", GOLDEN["tags"], ids=lambda case: str(case["length"]))
def test_rows_of_words_equal_transformers(case):
    sentences = [TaggedWords(tuple(words)) for words in GOLDEN["tagged"]]
    words = sum(len(sentence.words) for sentence in sentences)
    made = tagging_rows(sentences, np.arange(words, dtype=np.int32), WORDPIECE, case["length"], case["step"])
    first = 0
    expected = []  # tokens, the word of each, and whether it is the first piece of the word
    for windows in case["sentences"]:
        for tokens, word_ids in windows:
            begins = [i > 0 and word not in (None, word_ids[i - 1]) for i, word in enumerate(word_ids)]
            expected.append((tokens, [None if w is None else first + w for w in word_ids], begins))
        first += 1 + max(word for _, word_ids in windows for word in word_ids if word is not None)
    assert len(made.rows) == len(expected)
    for row, (tokens, words_at, begins) in enumerate(expected):
        values = made.rows(row)
        assert unpadded(values)[0] == tokens
        for position in np.flatnonzero(values["label"] >= 0):
            assert values["label"][position] == words_at[position]
            assert begins[position]
            word = values["label"][position]
            assert (made.word_row[word], made.word_position[word]) == (row, position)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.sampled_from(["the", "jumpinging", "1985", "\u0301", "🙂", "caféfoxes", "日本"]),
            min_size=1,
            max_size=12,
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(3, 9),
    st.data(),
)
def test_every_word_is_scored_once_whatever_the_length_and_step(sentences, length, data):
    step = data.draw(st.integers(1, length - 2))
    sentences = [TaggedWords(tuple(words)) for words in sentences]
    count = sum(len(sentence.words) for sentence in sentences)
    made = tagging_rows(sentences, np.arange(count, dtype=np.int32), WORDPIECE, length, step)
    labels = np.stack([made.rows(i)["label"] for i in range(len(made.rows))])
    assert sorted(labels[labels >= 0].tolist()) == list(range(count))
    assert made.of_words(labels).tolist() == list(range(count))
    assert [len(part) for part in made.by_sentence(made.of_words(labels))] == [
        len(s.words) for s in sentences
    ]


def test_a_word_without_pieces_is_counted_and_scored():
    made = tagging_rows([TaggedWords(("fox", "\u0301", "dog"))], np.array([0, 1, 2]), WORDPIECE, 8, 2)
    assert made.without_pieces == 1
    row = made.rows(0)
    assert WORDPIECE.pieces(row["tokens"][:5]) == ["[CLS]", "fox", "[UNK]", "dog", "[SEP]"]
    assert row["label"].tolist() == [-1, 0, 1, 2, -1, -1, -1, -1]


@pytest.mark.parametrize("case", GOLDEN["answers"], ids=lambda case: str(case["settings"][0]))
def test_rows_of_questions_equal_run_squad_and_transformers(case, tmp_path):
    made = question_rows(questions(GOLDEN["dataset"], tmp_path), WORDPIECE, *case["settings"])
    assert len(made.rows) == len(case["rows"])
    for row, (tokens, types, start, end, question) in enumerate(case["rows"]):
        values = made.rows(row)
        assert unpadded(values) == (tokens, types)
        assert (values["start"], values["end"], made.question[row]) == (start, end, question)
    assert "".join(map(str, made.most_context.astype(int))) == "".join(case["most_context"])
    assert list(map(len, case["most_context"])) == made.count.tolist()


TRICKY = "The café  of 東京日本 🙂👩\u200d👧, cafe\u0301s ﬁne naïve—quoted “fox” ½ 1,985.50\tjumped\nOVER İstanbul ß"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_an_answer_that_consists_of_whole_tokens_comes_back_to_the_character(sentencepiece, data):
    tokenizer = data.draw(st.sampled_from([WORDPIECE, sentencepiece]))
    context = " ".join(data.draw(st.lists(st.sampled_from(TRICKY.split()), min_size=3, max_size=30)))
    [encoded] = tokenizer.encode_with_offsets([context])
    some = [(int(a), int(b)) for a, b in encoded.offsets if b > a]
    start, end = data.draw(st.sampled_from(some))[0], data.draw(st.sampled_from(some))[1]
    if end <= start:
        return
    question = Question("0", "the fox", context, (Answer(context[start:end], start),))
    made = question_rows([question], tokenizer, 200, 20, 10)
    row = made.rows(0)
    first, last = (int(row[name] - made.position[0] + made.first[0]) for name in ("start", "end"))
    assert first >= 0
    found = context[encoded.offsets[first][0] : encoded.offsets[last][1]]
    if tokenizer is WORDPIECE:
        assert found == question.answers[0].text
    else:  # where a character that became several tokens is at an edge, all of them are taken
        assert question.answers[0].text in found


def test_windows_cover_everything_and_context_is_largest():
    windows = cut_windows(np.array([10, 3, 0]), np.array([4, 4, 4]), 3)
    assert windows.text.tolist() == [0, 0, 0, 1, 2]
    assert list(zip(windows.start.tolist(), windows.stop.tolist(), strict=True)) == [
        (0, 4),
        (3, 7),
        (6, 10),
        (0, 3),
        (0, 0),
    ]
    chosen = has_most_context(windows, np.array([10, 3, 0]))
    assert chosen.tolist() == [1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(("length", "step"), [(10, 9), (10, 0), (2, 1)])
def test_a_step_that_skips_text_is_refused(length, step):
    words = [TaggedWords(("fox",))]
    asked = [Question("0", "dog", "a fox", (Answer("fox", 2),))]
    with pytest.raises(UserError, match=r"expected 1 to 8|no room for text"):
        tagging_rows(words, np.zeros(1, np.int32), WORDPIECE, length, step)
    with pytest.raises(UserError, match=r"expected 1 to 8|no room for text"):
        question_rows(asked, WORDPIECE, length + 4, step, 3)


def test_rows_without_room_and_answers_without_tokens_are_refused():
    with pytest.raises(UserError, match="no room for text; expected at least 5"):
        sentence_rows(["a"], ["b"], np.zeros(1, np.int32), WORDPIECE, 4)
    asked = [Question("0", "dog", "a \u200b fox", (Answer("\u200b", 2),), place="file, question '0'")]
    with pytest.raises(UserError, match=r"file, question '0'.*leaves nothing of its answer"):
        question_rows(asked, WORDPIECE, 16, 4, 3)


def test_answers_that_are_not_known_or_not_there():
    asked = [Question("0", "dog", "a fox"), Question("1", "dog", "a fox", ())]
    rows = question_rows(asked, WORDPIECE, 16, 4, 3).rows
    assert [(int(rows(i)["start"]), int(rows(i)["end"])) for i in range(2)] == [(-1, -1), (0, 0)]


def test_batches_have_few_lengths_and_every_row():
    texts = ["fox " * (1 + i % 30) for i in range(100)]
    rows, _ = sentence_rows(texts, None, np.arange(100, dtype=np.int32), WORDPIECE, 64)
    assert padded_length(rows.lengths) == 32
    examples = BucketedBatches(rows, (8, 16, 32), 8, seed=3)
    again = BucketedBatches(rows, (8, 16, 32), 8, seed=3)
    lengths = []
    for epoch in range(2):
        labels = []
        for batch in range(examples.batches):
            first = 8 * (epoch * examples.batches + batch)
            made = [examples(first + i) for i in range(8)]
            assert len({x["tokens"].shape for x in made}) == 1
            needed = max(rows.lengths[x["label"]] for x in made)
            assert made[0]["tokens"].shape[0] == min(n for n in (8, 16, 32) if n >= needed)
            assert json.dumps(made[3]["tokens"].tolist()) == json.dumps(again(first + 3)["tokens"].tolist())
            labels += [int(x["label"]) for x in made]
            lengths.append(made[0]["tokens"].shape[0])
        assert set(labels) == set(range(100))
    assert set(lengths) == {8, 16, 32}
    assert lengths[: examples.batches] != lengths[examples.batches :]  # another order
    with pytest.raises(UserError, match="a row has 32 tokens"):
        BucketedBatches(rows, (8, 16), 8, seed=3)
    with pytest.raises(UserError, match="a row has 32"):
        rows.resized(31)
    assert rows.resized(40)(0)["tokens"].shape == (40,)
