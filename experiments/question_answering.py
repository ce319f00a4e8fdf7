"""Fine-tuning BERT on questions: the answer is a part of a text (Devlin et al. 2018, arXiv:1810.04805, section 4.2).

    python -m experiments.question_answering                            # offline: a BERT, then its fine-tuning
    python -m experiments.question_answering --from_scratch True        # the same without pretraining
    python -m experiments.question_answering --init_from runs/bert-tiny
    python -m experiments.question_answering squad --init_from gs://.../bert-base    # for a TPU slice
    python -m experiments.question_answering squad2 --init_from gs://.../bert-base

Where the encoder is from is as in experiments/sequence_classification.py. Your own questions: `--data.source` a .json
file in the layout of SQuAD. Long texts are cut into overlapping windows; an answer is exactly a part of the text.
predictions.json in the run folder is what the official scorers of SQuAD read. `exact_match` and `answer_f1` are theirs.

The default preset answers questions for the type or the default of a parameter from the description of two; a third of
them has no answer there. The held-out documents are those that the pretraining holds out. On them, with learned
positions (--bert.model.position_encoding absolute), seeds 0 to 2 (26 November 2026, 2 AMD cores): exact match 70.6 %
(66.9 to 70.8), F1 73.2 (69.5 to 73.5); from a random start 57.8 (56.8 to 61.0) and 64.0 (62.7 to 66.7); "no answer" to
all 34.5 and 34.5.

On TPUs: squad, squad2 on v5e:2x2 (docs/planning.md).
"""

from dataclasses import dataclass, field, replace

from experiments import bert as pretraining
from ssl_jax.cli import main
from ssl_jax.domains import PositiveInt
from ssl_jax.recipes.fine_tuning import EncoderConfig, FineTuningConfig, fine_tuning_experiment
from ssl_jax.recipes.questions import (
    QuestionsConfig,
    answer_predictor,
    answer_score,
    open_questions,
    report_questions,
)
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class Config(FineTuningConfig):
    """Extractive question answering."""

    steps: PositiveInt = 1000
    """Optimiser steps of the whole run; the log says how many epochs these are."""
    data: QuestionsConfig = field(default_factory=QuestionsConfig)
    bert: pretraining.Config = pretraining.OFFLINE


OFFLINE = Config(
    steps=800,
    length=64,
    data=QuestionsConfig(step=24, longest_question=16, longest_answer=20),
    encoder=EncoderConfig(dropout=0.1, attention_dropout=0.0),
    schedule=ScheduleConfig(learning_rate=1e-3, warmup_steps=80),
    train=TrainConfig(batch_size=32, log_every=20, eval_every=200, save_every=200, keep_every=200),
)

# Three epochs of the 87,599 questions of SQuAD 1.1, some of which make two windows (the paper's section 4.2). Lengths
# are those of google-research/bert, run_squad.py.
SQUAD = Config(
    steps=8300,
    length=384,
    data=QuestionsConfig(
        source="tfds:squad:train", heldout_source="tfds:squad:validation", unanswerable=False
    ),
    bert=pretraining.PRESETS["base"],
    encoder=EncoderConfig(dtype="bfloat16"),
    optimizer=OptimizerConfig(name="bert_adam", weight_decay=0.01),
    schedule=ScheduleConfig(learning_rate=5e-5, warmup_steps=830),
    train=TrainConfig(batch_size=32, log_every=100, eval_every=2000, save_every=2000, keep_every=2000),
)

PRESETS = {
    "tiny": OFFLINE,
    "squad": SQUAD,
    "squad2": replace(
        SQUAD,
        steps=5_500,  # two epochs of 130,319 questions in batches of 48: section 4.3
        data=replace(
            SQUAD.data,
            source="tfds:squad/v2.0:train",
            heldout_source="tfds:squad/v2.0:validation",
            unanswerable=True,
        ),
        schedule=ScheduleConfig(learning_rate=5e-5, warmup_steps=550),
        train=replace(SQUAD.train, batch_size=48),
    ),
}


def build(config: Config) -> Experiment:
    """The encoder with the start and the end of an answer."""
    return fine_tuning_experiment(
        config,
        "answer",
        open_data=lambda folder: open_questions(config, folder),
        score=lambda tuned: answer_score(tuned, config.data),
        headline=("answer_loss", "exact_match", "answer_f1"),
        report=lambda report, tuned: report_questions(report, tuned, config.data),
        predictor=lambda tuned: answer_predictor(tuned, config.data, config.length),
    )


if __name__ == "__main__":
    main(PRESETS, build)
