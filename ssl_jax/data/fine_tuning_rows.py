"""From labelled text to rows of tokens: classification of sentences and pairs, tagging, and question answering.

Rows have the arrays that `ssl_jax.models.heads` takes (see `Rows`) and labels: `label []` of classification, int32 or
float32; `label [length]` of tagging, int32, -1 where no word is scored; `start []` and `end []` of question answering.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from ssl_jax.data.byte_level_bpe import ByteLevelBpe
from ssl_jax.data.labelled_text import Question, TaggedWords
from ssl_jax.data.offsets import Encoded
from ssl_jax.data.ragged import Ragged, Rows, offsets_of, ranges
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.data.windows import check_step, cut_windows, has_most_context
from ssl_jax.errors import UserError


class TaggingRows(NamedTuple):
    """Rows of words, and where each word is scored.

    Attributes:
      rows: the rows.
      word_row: int64 `[words]`, for each word of all sentences the row in which it is scored.
      word_position: int64 `[words]`, the position of its first piece there.
      sentence_offsets: int64 `[sentences + 1]`; sentence i has the words `sentence_offsets[i] :
        sentence_offsets[i + 1]`.
      without_pieces: number of words that the tokenizer has no piece for, such as a lone accent; they are [UNK].
    """

    rows: Rows
    word_row: np.ndarray
    word_position: np.ndarray
    sentence_offsets: np.ndarray
    without_pieces: int

    def of_words(self, values: np.ndarray) -> np.ndarray:
        """The values `[words, ...]` of the words, from values `[rows, length, ...]` such as predicted tags."""
        return values[self.word_row, self.word_position]

    def by_sentence(self, values: Sequence) -> list[Sequence]:
        """The values of the words of each sentence, from values `[words]`."""
        bounds = self.sentence_offsets.tolist()
        return [values[start:stop] for start, stop in itertools.pairwise(bounds)]


class QuestionRows(NamedTuple):
    """Rows of questions with windows of their contexts.

    Attributes:
      rows: the rows, `[CLS] question [SEP] window [SEP]`. `start` and `end` are the positions of the first and the last
        token of the answer; 0, where [CLS] is, if the window does not have all of it; -1 if it is not known.
      question: int64 `[rows]`, index of the question.
      position: int64 `[rows]`, of the first token of the window in the row.
      first: int64 `[rows]`, its index among the tokens of the context.
      count: int64 `[rows]`, tokens of the window.
      most_context: bool `[tokens of all windows]`, see `has_most_context`.
      contexts: for each question, the tokens of its context, with their places in the text.
    """

    rows: Rows
    question: np.ndarray
    position: np.ndarray
    first: np.ndarray
    count: np.ndarray
    most_context: np.ndarray
    contexts: Sequence[Encoded]


def batch_shapes(batch_size: int, length: int, task: str) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each array of a batch of rows.

    Args:
      batch_size: rows of a batch.
      length: tokens of a row.
      task: "class", "score", "tags" or "answer".
    """
    names = ("tokens", "token_type_ids", "segment_ids", *(("label",) if task == "tags" else ()))
    shapes = {name: jax.ShapeDtypeStruct((batch_size, length), np.int32) for name in names}
    dtype = np.float32 if task == "score" else np.int32
    one_each = {"tags": (), "answer": ("start", "end")}.get(task, ("label",))
    return shapes | {name: jax.ShapeDtypeStruct((batch_size,), dtype) for name in one_each}


def sentence_rows(
    texts: Sequence[str],
    seconds: Sequence[str] | None,
    labels: np.ndarray,
    tokenizer: Tokenizer,
    length: int,
) -> tuple[Rows, int]:
    """Rows `[CLS] A [SEP]`, or `[CLS] A [SEP] B [SEP]` of pairs.

    A pair that is too long loses tokens from the end of its longer sentence, of equally long ones from B, as in BERT's
    run_classifier.

    Args:
      texts: the sentences.
      seconds: the second sentences of pairs; None for single sentences.
      labels: `[rows]`, int32 classes or float32 scores.
      tokenizer: of the model.
      length: tokens of a row.

    Returns:
      The rows, and the number of them that lost tokens.

    Raises:
      UserError: the length leaves no room for text.
    """
    capacity = length - 2 if seconds is None else length - 3
    least = 1 if seconds is None else 2
    if capacity < least:
        raise UserError(
            f"a length of {length} tokens has no room for text; expected at least {length - capacity + least}."
        )
    special = tokenizer.special
    a = Ragged.of(tokenizer.encode_batch(texts))
    keep_a = a.lengths
    if seconds is None:
        b, keep_b = None, np.zeros(len(a.lengths), np.int64)
        keep_a = np.minimum(keep_a, capacity)
    else:
        b = Ragged.of(tokenizer.encode_batch(seconds))
        too_long = keep_a + b.lengths > capacity
        keep_b = np.where(
            too_long, np.minimum(b.lengths, np.maximum(capacity - keep_a, capacity // 2)), b.lengths
        )
        keep_a = np.where(too_long, capacity - keep_b, keep_a)
    cut = int(np.sum(keep_a < a.lengths)) if b is None else int(np.sum(too_long))
    separators = 2 if b is None else 3
    offsets = offsets_of(keep_a + keep_b + separators)
    everything, zeros = np.arange(len(a.lengths)), np.zeros(len(a.lengths), np.int64)
    tokens = np.full(offsets[-1], special.sep, np.int32)
    tokens[offsets[:-1]] = special.cls
    tokens[ranges(offsets[:-1] + 1, keep_a)] = a.take(everything, zeros, keep_a)
    second = keep_a + 2
    if b is not None:
        tokens[ranges(offsets[:-1] + second, keep_b)] = b.take(everything, zeros, keep_b)
    return Rows(Ragged(tokens, offsets), second, length, special.pad, {"label": labels}), cut


def tagging_rows(
    sentences: Sequence[TaggedWords], tags: np.ndarray, tokenizer: Tokenizer, length: int, step: int
) -> TaggingRows:
    """Rows `[CLS] pieces of words [SEP]`. Long sentences are in several overlapping rows.

    Words are tokenised one by one. A word is scored at its first piece, in the row where this has the most context
    (`has_most_context`), and only there, so that each word counts once.

    Args:
      sentences: the words.
      tags: int32 `[words]`, the number of the tag of each word of all sentences; -1 if it is not known.
      tokenizer: of the model.
      length: tokens of a row.
      step: pieces from the start of a row to the start of the next row of a sentence.

    Raises:
      UserError: the step is so large that pieces are skipped.
    """
    capacity = length - 2
    check_step(step, capacity)
    special = tokenizer.special
    words = [word for sentence in sentences for word in sentence.words]
    distinct = {word: number for number, word in enumerate(dict.fromkeys(words))}
    # Byte-level BPE has other pieces for the first word of a text.
    space = " " if tokenizer.kind == ByteLevelBpe.kind else ""
    encoded = tokenizer.encode_batch([space + word for word in distinct])
    vocabulary = Ragged.of([pieces or [special.unk] for pieces in encoded])
    empty = np.array([not pieces for pieces in encoded], bool)
    ids = np.fromiter((distinct[word] for word in words), np.int64, len(words))
    pieces_of_word = vocabulary.lengths[ids]
    first_piece = offsets_of(pieces_of_word)
    sentence_offsets = offsets_of(
        np.fromiter((len(sentence.words) for sentence in sentences), np.int64, len(sentences))
    )
    pieces = Ragged(
        vocabulary.take(ids, np.zeros(len(ids), np.int64), pieces_of_word), first_piece[sentence_offsets]
    )
    word_at = np.full(len(pieces.values), -1, np.int64)  # of each piece that begins a word, the word
    word_at[first_piece[:-1]] = np.arange(len(words))

    windows = cut_windows(pieces.lengths, capacity, step)
    inside = windows.lengths
    offsets = offsets_of(inside + 2)
    # Where the pieces of the windows are among the tokens of all rows.
    targets = ranges(offsets[:-1] + 1, inside)
    sources = ranges(pieces.offsets[windows.text] + windows.start, inside)
    tokens = np.full(offsets[-1], special.sep, np.int32)
    tokens[offsets[:-1]] = special.cls
    tokens[targets] = pieces.values[sources]
    scored = has_most_context(windows, pieces.lengths) & (word_at[sources] >= 0)
    word = word_at[sources[scored]]
    label = np.full(offsets[-1], -1, np.int32)
    label[targets[scored]] = tags[word]
    word_row, word_position = np.zeros(len(words), np.int64), np.zeros(len(words), np.int64)
    row = np.repeat(np.arange(len(inside)), inside)[scored]
    word_row[word], word_position[word] = row, targets[scored] - offsets[row]
    rows = Rows(Ragged(tokens, offsets), np.diff(offsets), length, special.pad, {}, {"label": label})
    return TaggingRows(rows, word_row, word_position, sentence_offsets, int(empty[ids].sum()))


def question_rows(
    questions: Sequence[Question], tokenizer: Tokenizer, length: int, step: int, longest_question: int = 64
) -> QuestionRows:
    """Rows `[CLS] question [SEP] window of the context [SEP]`.

    Windows start every `step` tokens, as `doc_stride` in BERT's run_squad. The first of several answers is the label.
    Its tokens are all those that have one of its characters. Equal contexts are tokenised once.

    Args:
      questions: with their contexts.
      tokenizer: of the model.
      length: tokens of a row.
      step: tokens from the start of a window to the start of the next.
      longest_question: tokens of a question; the rest is cut off.

    Raises:
      UserError: the step is so large that the longest question would have windows that skip tokens, or an answer has no
        token.
    """
    check_step(step, length - longest_question - 3)
    special = tokenizer.special
    asked = Ragged.of(
        [ids[:longest_question] for ids in tokenizer.encode_batch([q.question for q in questions])]
    )
    distinct = list(dict.fromkeys(question.context for question in questions))
    by_text = dict(zip(distinct, tokenizer.encode_with_offsets(distinct), strict=True))
    contexts = [by_text[question.context] for question in questions]
    numbers = {text: number for number, text in enumerate(distinct)}
    context_of = np.fromiter((numbers[question.context] for question in questions), np.int64, len(questions))
    pieces = Ragged.of([by_text[text].ids for text in distinct])

    lengths = pieces.lengths[context_of]
    windows = cut_windows(lengths, length - asked.lengths - 3, step)
    question, count = windows.text, windows.lengths
    asked_length = asked.lengths[question]
    position = asked_length + 2
    offsets = offsets_of(position + count + 1)
    tokens = np.full(offsets[-1], special.sep, np.int32)
    tokens[offsets[:-1]] = special.cls
    tokens[ranges(offsets[:-1] + 1, asked_length)] = asked.take(
        question, np.zeros_like(question), asked_length
    )
    tokens[ranges(offsets[:-1] + position, count)] = pieces.take(context_of[question], windows.start, count)

    first, last = (of[question] for of in _answer_tokens(questions, context_of, distinct, by_text))
    inside = (first >= windows.start) & (last < windows.stop) & (first >= 0)
    otherwise = np.where(first == _UNKNOWN, -1, 0)
    labels = {
        "start": np.where(inside, first - windows.start + position, otherwise).astype(np.int32),
        "end": np.where(inside, last - windows.start + position, otherwise).astype(np.int32),
    }
    rows = Rows(Ragged(tokens, offsets), position, length, special.pad, labels)
    return QuestionRows(
        rows, question, position, windows.start, count, has_most_context(windows, lengths), contexts
    )


_UNKNOWN, _UNANSWERABLE = -2, -1


def _answer_tokens(
    questions: Sequence[Question],
    context_of: np.ndarray,
    texts: Sequence[str],
    by_text: Mapping[str, Encoded],
) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last token of each context that have a character of the answer, int64 `[questions]` each."""
    # The contexts stand one after another, so that one search finds all answers. Tokens of white space are left out.
    begins = offsets_of(np.array([len(text) + 1 for text in texts]))
    tokens = offsets_of(np.array([len(by_text[text].ids) for text in texts]))
    spans = (
        np.concatenate([by_text[text].offsets for text in texts])
        + np.repeat(begins[:-1], np.diff(tokens))[:, None]
    )
    visible = np.flatnonzero(spans[:, 1] > spans[:, 0])
    starts, ends = spans[visible].T

    found = np.full((2, len(questions)), _UNANSWERABLE, np.int64)
    found[:, [question.answers is None for question in questions]] = _UNKNOWN
    answered = np.flatnonzero([bool(question.answers) for question in questions])
    answers = [questions[number].answers[0] for number in answered]
    start = begins[context_of[answered]] + np.array([answer.start for answer in answers], np.int64)
    stop = start + np.array([len(answer.text) for answer in answers], np.int64)
    first, last = np.searchsorted(ends, start, side="right"), np.searchsorted(starts, stop) - 1
    if len(lost := np.flatnonzero(first > last)):
        raise UserError(
            f"{questions[answered[lost[0]]].place}: the tokenizer leaves nothing of its answer "
            f"{answers[lost[0]].text!r}; expected an answer with letters, digits or signs."
        )
    if len(answered):
        found[:, answered] = visible[np.stack([first, last])] - tokens[context_of[answered]]
    return found[0], found[1]
