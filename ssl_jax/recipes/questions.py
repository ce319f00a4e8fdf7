"""Fine-tuning on questions whose answers are parts of a text: their rows, and the metrics of held-out sets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import grain
from etils import epath

from ssl_jax.data.fine_tuning_rows import QuestionRows, question_rows
from ssl_jax.data.labelled_text import Question, fingerprint, split_by_hash
from ssl_jax.data.parameter_questions import parameter_questions
from ssl_jax.data.squad import read_squad
from ssl_jax.data.tokenizer_files import TokenizerConfig, preprocessing
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.domains import NonEmptyText, PositiveInt, ProperShare, Text
from ssl_jax.errors import UserError
from ssl_jax.evals.answer_spans import Prediction, predicted_answers
from ssl_jax.evals.squad import squad_v1, squad_v2
from ssl_jax.methods.fine_tuning import FineTuning
from ssl_jax.recipes.fine_tuning import open_tokenizer, rows_in_order, training_rows
from ssl_jax.reports.answers import report_answers
from ssl_jax.training.distributed import announce
from ssl_jax.training.experiment import Data, Predictor, Report, Score

OFFLINE = "pydocs"
HELDOUT = "heldout"


@dataclass(frozen=True)
class QuestionsConfig(TokenizerConfig):
    """Questions with their texts. `tokenizer` is that of the encoder unless it is given."""

    source: NonEmptyText = OFFLINE
    """pydocs (types and defaults of the parameters in the installed documentation); a .json file in the layout of SQuAD
    1.1 or 2.0; or tfds:squad:split and the like."""
    heldout_source: Text = ""
    """Another source to evaluate on, such as a validation split; empty: a share of the articles is held out."""
    heldout_share: ProperShare = 0.1
    """Share of the articles to hold out if heldout_source is empty; pydocs holds out those of pretraining."""
    unanswerable: bool = True
    """Whether a question may have no answer (SQuAD 2.0)."""
    step: PositiveInt = 128
    """Tokens from the start of a window to the start of the next, in texts that are longer than a row."""
    longest_question: PositiveInt = 64
    """Tokens of a question; the rest is cut off."""
    longest_answer: PositiveInt = 30
    """Tokens of a predicted answer."""


class Asked(NamedTuple):
    """Questions and their rows."""

    questions: list[Question]
    rows: QuestionRows


class QuestionData(NamedTuple):
    """The training and the held-out questions."""

    train: Asked
    heldout: Asked


def open_questions(config: Any, folder: epath.Path) -> Data:
    """Opens the questions, and logs how many there are.

    Args:
      config: a `FineTuningConfig` with `data: QuestionsConfig`.
      folder: run folder, for the tokenizer.

    Raises:
      UserError: a source cannot be read, an answer is not known, or has none although every question must have one.
    """
    data: QuestionsConfig = config.data
    parts = _questions(data)
    for question in (question for part in parts for question in part):
        if question.answers is None or (not question.answers and not data.unanswerable):
            raise UserError(
                f"{question.place}: the question has no answer. Give --data.unanswerable True if that is meant (SQuAD "
                "2.0), or the answer."
            )
    tokenizer = open_tokenizer(config, folder)
    shape = (tokenizer, config.length, data.step, data.longest_question)
    opened = QuestionData(*(Asked(part, question_rows(part, *shape)) for part in parts))
    train, test = (part.rows.rows for part in opened)
    without = sum(not question.answers for question in parts[0])
    epochs = config.steps * config.train.batch_size / len(train)
    announce(
        f"{data.source}: {len(parts[0]):,} training questions, {without:,} of them without an answer, and "
        f"{len(parts[1]):,} held-out questions; {config.steps:,} steps are {epochs:.1f} epochs of {len(train):,} rows"
    )
    settings = {"step": data.step, "longest_question": data.longest_question}
    return Data(
        train=(training_rows(config, train),),
        heldout=({HELDOUT: rows_in_order(test)},),
        identity={
            "tokenizer": tokenizer.fingerprint,
            "questions": fingerprint(parts[0], settings),
            "heldout_questions": fingerprint(parts[1], settings),
        },
        details=opened,
        preprocessing=preprocessing(tokenizer),
    )


def answers_of(config: QuestionsConfig, asked: Asked, predictions: Any) -> list[Prediction]:
    """The answer to each question, from the logits of its rows."""
    return predicted_answers(
        asked.questions,
        asked.rows,
        predictions["start"],
        predictions["end"],
        unanswerable=config.unanswerable,
        longest=config.longest_answer,
    )


def answer_metrics(
    config: QuestionsConfig, questions: list[Question], answers: dict[str, str]
) -> dict[str, float]:
    """Shares of SQuAD 1.1 or 2.0: `exact_match` and `answer_f1`; with unanswerable questions also of each kind."""
    if not config.unanswerable:
        scores = squad_v1(questions, answers)
        return {"exact_match": scores.exact / 100, "answer_f1": scores.f1 / 100}
    found = squad_v2(questions, answers)
    metrics = {"exact_match": found.overall.exact / 100, "answer_f1": found.overall.f1 / 100}
    if found.has_answer:
        metrics["answerable_f1"] = found.has_answer.f1 / 100
    if found.no_answer:
        metrics["unanswerable_accuracy"] = found.no_answer.exact / 100
    return metrics


def answer_score(tuned: FineTuning, config: QuestionsConfig) -> Score:
    """The metrics of SQuAD on a whole held-out set."""

    def metrics(data: Data, split: str, predictions: Any) -> dict[str, float]:
        heldout: Asked = data.details.heldout
        answers = {one.id: one.text for one in answers_of(config, heldout, predictions)}
        return answer_metrics(config, heldout.questions, answers)

    return Score(tuned.predict, metrics)


def answer_predictor(tuned: FineTuning, config: QuestionsConfig, length: int) -> Predictor:
    """The answer to each text of a question, a tab and a context; "" if there is none."""

    def prepare(
        lines: Sequence[str], tokenizer: Tokenizer
    ) -> tuple[grain.MapDataset, Callable[[Any], list[dict[str, Any]]]]:
        questions = []
        for number, line in enumerate(lines, 1):
            if line.count("\t") != 1:
                raise UserError(
                    f"text {number}, {line!r:.80}: expected a question and a text with a tab between."
                )
            questions.append(Question(str(number), *line.split("\t")))
        made = question_rows(questions, tokenizer, length, config.step, config.longest_question)

        def describe(results: Any) -> list[dict[str, Any]]:
            found = answers_of(config, Asked(questions, made), results)
            return [
                {"text": line, "answer": one.text, "start": one.best.start if one.text else None}
                for line, one in zip(lines, found, strict=True)
            ]

        return rows_in_order(made.rows), describe

    return Predictor(prepare, tuned.predict)


def report_questions(report: Report, tuned: FineTuning, config: QuestionsConfig) -> None:
    """The report of a question answerer; see `report_answers`."""
    known: QuestionData = report.data.details
    predictions = report.map(tuned.predict, report.heldout[HELDOUT])
    found = answers_of(config, known.heldout, predictions)
    report_answers(
        report,
        known.train.questions,
        known.heldout.questions,
        found,
        lambda answers: answer_metrics(config, known.heldout.questions, answers),
    )


def _questions(data: QuestionsConfig) -> tuple[list[Question], list[Question]]:
    """(training, held-out)."""
    if data.source == OFFLINE:
        return parameter_questions()
    training = read_squad(data.source)
    if not data.heldout_source:
        return split_by_hash(training, data.heldout_share)
    return training, read_squad(data.heldout_source)
