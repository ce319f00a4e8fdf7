"""Answers as parts of the text, from logits of where they start and end, as in BERT's run_squad."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssl_jax.data.fine_tuning_rows import QuestionRows
from ssl_jax.data.labelled_text import Question

BEST = 20
"""Starts and ends of a window that are combined, and answers that are kept for a question."""
LONGEST = 30
"""Tokens of an answer, at most."""


class Candidate(NamedTuple):
    """A possible answer.

    Attributes:
      text: as it is in the context; "" for no answer.
      start: its first character in the context; 0 for no answer.
      score: the sum of its two logits.
      probability: by a softmax over the candidates of the question.
    """

    text: str
    start: int
    score: float
    probability: float


class Prediction(NamedTuple):
    """The answer to a question.

    Attributes:
      id: of the question.
      text: the answer; "" for none.
      best: the best candidate that is a text; None if there is none.
      candidates: the best ones, in the order of their scores.
      null_difference: the score of no answer minus that of `best`, infinite if there is no `best`; 0 if all questions
        have an answer.
    """

    id: str
    text: str
    best: Candidate | None
    candidates: tuple[Candidate, ...]
    null_difference: float


def predicted_answers(
    questions: Sequence[Question],
    features: QuestionRows,
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    *,
    unanswerable: bool,
    threshold: float = 0.0,
    best: int = BEST,
    longest: int = LONGEST,
) -> list[Prediction]:
    """The best answer to each question.

    In every window, the best starts and ends are combined to spans of the context; a start counts only in the window
    where it has the most context. Unlike run_squad's, the text of a span is exactly that of the context, and padding is
    never among the best starts and ends.

    Args:
      questions: those that `features` were made of.
      features: the rows.
      start_logits, end_logits: `[rows, length]`.
      unanswerable: whether questions may have no answer (SQuAD 2.0). The score of no answer is that of [CLS], the
        smallest over the windows of the question.
      threshold: a question has no answer if `null_difference` is above it.
      best: starts and ends of a window, and candidates of a question.
      longest: tokens of an answer, at most.
    """
    start_logits, end_logits = (np.asarray(logits, np.float64) for logits in (start_logits, end_logits))
    spans = _spans(features, start_logits, end_logits, best, longest)
    null = np.full(len(questions), np.inf)
    np.minimum.at(null, features.question, start_logits[:, 0] + end_logits[:, 0])
    order = np.argsort(-spans.score, kind="stable")
    order = order[np.argsort(spans.question[order], kind="stable")]  # by question, then by score
    bounds = np.searchsorted(spans.question[order], np.arange(len(questions) + 1))
    return [
        _prediction(
            question,
            features.contexts[number].offsets,
            [spans.at(i) for i in order[start:stop]],
            float(null[number]) if unanswerable else None,
            threshold,
            best,
        )
        for number, (question, (start, stop)) in enumerate(
            zip(questions, itertools.pairwise(bounds), strict=True)
        )
    ]


class _Spans(NamedTuple):
    """Spans of tokens of contexts: `[spans]` of the question, the first token, the last token and the score."""

    question: np.ndarray
    first: np.ndarray
    last: np.ndarray
    score: np.ndarray

    def at(self, index: int) -> tuple[int, int, float]:
        return int(self.first[index]), int(self.last[index]), float(self.score[index])


def _spans(
    features: QuestionRows, start_logits: np.ndarray, end_logits: np.ndarray, best: int, longest: int
) -> _Spans:
    """The possible spans of all windows, in the order of windows, starts and ends."""
    found = []
    first_of_window = np.concatenate([[0], np.cumsum(features.count)])
    for row, question in enumerate(features.question.tolist()):
        position, first, count = (
            int(each[row]) for each in (features.position, features.first, features.count)
        )
        length = int(features.rows.lengths[row])
        starts = _largest(start_logits[row, :length], best) - position
        ends = _largest(end_logits[row, :length], best) - position
        starts, ends = starts[(starts >= 0) & (starts < count)], ends[(ends >= 0) & (ends < count)]
        most_context = features.most_context[first_of_window[row] : first_of_window[row + 1]]
        starts = starts[most_context[starts]]
        start, end = np.repeat(starts, len(ends)), np.tile(ends, len(starts))
        possible = (end >= start) & (end - start < longest)
        start, end = start[possible], end[possible]
        score = start_logits[row, start + position] + end_logits[row, end + position]
        found.append((np.full(len(start), question), start + first, end + first, score))
    return _Spans(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """The places of the largest values, in descending order; of equal ones the first come first."""
    return np.argsort(-values, kind="stable")[:count]


def _prediction(
    question: Question,
    offsets: np.ndarray,
    spans: Sequence[tuple[int, int, float]],
    null: float | None,
    threshold: float,
    best: int,
) -> Prediction:
    candidates: dict[str, tuple[int, float]] = {}
    ranked = [(score, (first, last)) for first, last, score in spans]
    if null is not None:
        ranked.append((null, None))
        ranked.sort(key=lambda candidate: -candidate[0])
    for score, span in ranked:
        if len(candidates) >= best:
            break
        start, stop = (int(offsets[span[0], 0]), int(offsets[span[1], 1])) if span else (0, 0)
        text = question.context[start:stop]
        if text or span is None:
            candidates.setdefault(text, (start, score))
    if null is not None:
        candidates.setdefault("", (0, null))
    largest = max((score for _, score in candidates.values()), default=0.0)
    weights = {text: math.exp(score - largest) for text, (_, score) in candidates.items()}
    total = sum(weights.values())
    kept = tuple(
        Candidate(text, start, score, weights[text] / total) for text, (start, score) in candidates.items()
    )
    first = next((candidate for candidate in kept if candidate.text), None)
    difference = 0.0 if null is None else null - first.score if first else math.inf
    answer = first.text if first and (null is None or difference <= threshold) else ""
    return Prediction(question.id, answer, first, kept, difference)
