"""The scores of SQuAD 1.1 and 2.0 (arXiv:1606.05250, arXiv:1806.03822) in per cent, as the official scripts have them.

A question without a prediction scores 0 in both versions. (The official script of version 2.0 leaves it out of some of
its means and fails in others.)
"""

import collections
import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ssl_jax.data.labelled_text import Question

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class AnswerScores(NamedTuple):
    """Scores of predicted answers, in per cent.

    Attributes:
      exact: share of the answers that equal one of the labelled ones, without case, punctuation and articles.
      f1: mean overlap of words with the most similar labelled answer.
      total: number of questions.
      missing: number of questions without a prediction.
    """

    exact: float
    f1: float
    total: int
    missing: int


class BestThreshold(NamedTuple):
    """The threshold on the evidence for no answer that gives the highest score.

    Attributes:
      score: mean of the score with this threshold, in per cent.
      threshold: a question has no answer if its evidence is above it.
    """

    score: float
    threshold: float


class UnanswerableScores(NamedTuple):
    """Scores of SQuAD 2.0.

    Attributes:
      overall: of all questions.
      has_answer: of the questions with an answer; None if there are none.
      no_answer: of the questions without an answer, for which "" is right; None if there are none.
      best_exact: threshold for the share of exact answers. The thresholds are chosen on the scored data themselves, so
        that these scores are an upper bound.
      best_f1: threshold for the mean F1.
    """

    overall: AnswerScores
    has_answer: AnswerScores | None
    no_answer: AnswerScores | None
    best_exact: BestThreshold
    best_f1: BestThreshold


def normalized(answer: str) -> str:
    """An answer without case, punctuation (of ASCII), articles and surplus white space.

    Example:
      >>> normalized("The  Cat's  (a) hat!")
      'cats hat'
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(answer: str, labelled: str) -> float:
    """1 if two normalised answers are equal, otherwise 0."""
    return float(normalized(answer) == normalized(labelled))


def word_f1(answer: str, labelled: str) -> float:
    """F1 of the words of two normalised answers, as of version 2.0: if one has no words, whether both have none."""
    found, right = normalized(answer).split(), normalized(labelled).split()
    if not found or not right:
        return float(found == right)
    return _word_f1(found, right)


def _word_f1(found: Sequence[str], right: Sequence[str]) -> float:
    common = sum((collections.Counter(found) & collections.Counter(right)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(found), common / len(right)
    return 2 * precision * recall / (precision + recall)


def squad_v1(questions: Sequence[Question], predictions: Mapping[str, str]) -> AnswerScores:
    """Scores of SQuAD 1.1, in which each question has an answer.

    Args:
      questions: with their answers, at least one each.
      predictions: the text of the answer, by the id of the question.
    """

    def f1(
        answer: str, labelled: str
    ) -> float:  # of which an answer without words has none, even if both have none
        return _word_f1(normalized(answer).split(), normalized(labelled).split())

    exact, overlap = (
        _best_of(questions, predictions, metric, lambda question: [a.text for a in question.answers])
        for metric in (exact_match, f1)
    )
    return _mean(questions, predictions, exact, overlap, np.ones(len(questions), bool))


def squad_v2(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    no_answer: Mapping[str, float] | None = None,
    threshold: float = 1.0,
) -> UnanswerableScores:
    """Scores of SQuAD 2.0, in which a question may have no answer.

    Args:
      questions: with their answers.
      predictions: the text of the answer, by the id of the question; "" for no answer.
      no_answer: by id, the evidence that there is no answer, such as a probability or a difference of logits; None for
        0, so that predictions alone count.
      threshold: where the evidence is above it, the answer counts as "".
    """
    evidence = np.array([(no_answer or {}).get(question.id, 0.0) for question in questions])
    has_answer = np.array([bool(question.answers) for question in questions])
    given = np.array([bool(predictions.get(question.id)) for question in questions])
    raw = [_best_of(questions, predictions, metric, _labelled) for metric in (exact_match, word_f1)]
    exact, f1 = (np.where(evidence > threshold, ~has_answer, scores).astype(np.float64) for scores in raw)
    present = np.array([question.id in predictions for question in questions])
    exact, f1 = exact * present, f1 * present
    overall, answerable, unanswerable = (
        _mean(questions, predictions, exact, f1, chosen) if chosen.any() else None
        for chosen in (np.ones(len(questions), bool), has_answer, ~has_answer)
    )
    thresholds = (best_threshold(scores, evidence, has_answer, given) for scores in raw)
    return UnanswerableScores(overall, answerable, unanswerable, *thresholds)


def best_threshold(
    scores: np.ndarray, evidence: np.ndarray, has_answer: np.ndarray, given: np.ndarray
) -> BestThreshold:
    """The threshold of the evidence for no answer with the highest mean score; of equal ones the lowest.

    Args:
      scores: `[questions]`, of the predicted answers.
      evidence: `[questions]`.
      has_answer: bool `[questions]`.
      given: bool `[questions]`, whether the prediction is a text rather than "".
    """
    order = np.argsort(evidence, kind="stable")
    # From "no question is answered" on, each question is answered in turn, in the order of the evidence.
    change = np.where(has_answer, scores, np.where(given, -1.0, 0.0))[order]
    totals = np.cumsum(np.concatenate([[float((~has_answer).sum())], change]))
    best = int(np.argmax(totals))
    threshold = float(evidence[order[best - 1]]) if best else 0.0
    return BestThreshold(100.0 * float(totals[best]) / len(scores), threshold)


def _labelled(question: Question) -> list[str]:
    """The labelled answers of version 2.0. An answer of articles or punctuation alone counts as none."""
    return [answer.text for answer in question.answers or () if normalized(answer.text)] or [""]


def _best_of(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    metric: Callable[[str, str], float],
    labelled: Callable[[Question], list[str]],
) -> np.ndarray:
    """For each question the metric of the labelled answer that is most similar; 0 without a prediction."""
    return np.array(
        [
            max(metric(predictions[question.id], answer) for answer in labelled(question))
            if question.id in predictions
            else 0.0
            for question in questions
        ],
        np.float64,
    )


def _mean(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    exact: np.ndarray,
    f1: np.ndarray,
    chosen: np.ndarray,
) -> AnswerScores:
    missing = sum(
        question.id not in predictions for question, counts in zip(questions, chosen, strict=True) if counts
    )
    return AnswerScores(
        100.0 * float(exact[chosen].mean()), 100.0 * float(f1[chosen].mean()), int(chosen.sum()), missing
    )
