"""Fine-tuning BERT on pairs of sentences, with classes or scores (Devlin et al. 2018, arXiv:1810.04805, section 4.1).

    python -m experiments.pair_classification                            # offline: a BERT, then its fine-tuning
    python -m experiments.pair_classification --from_scratch True        # the same without pretraining
    python -m experiments.pair_classification --init_from runs/bert-tiny
    python -m experiments.pair_classification mnli --init_from gs://.../bert-base    # for a TPU slice
    python -m experiments.pair_classification stsb --init_from gs://.../bert-base    # scores instead of classes

Where the encoder is from, and how your own data is read, is as in experiments/sequence_classification.py; the second
sentence is in the column `--data.second`. With `--scored True` the labels are numbers.

The default preset is entailment by rule: does the description of a parameter ("axis : int, optional. ...") imply a
statement ("axis may be omitted."), contradict it, or say nothing about it? It has 3,000 labelled pairs; the held-out
documents are those that the pretraining holds out. On them, with learned positions (--bert.model.position_encoding
absolute), seeds 0 to 2 (26 November 2026, 2 AMD cores): accuracy 87.0 % (86.9 to 89.7), macro F1 88.2 (88.1 to 90.7);
from a random start 63.7 (62.3 to 63.8) and 68.5 (66.7 to 68.5); tf-idf and logistic regression 60.5 and 65.6, most
frequent class 40.2 and 19.1. The rate was chosen on a tenth of the training documents.

On TPUs: mnli, stsb on v5e:2x2 (docs/planning.md).
"""

from dataclasses import dataclass, field, replace

from experiments import bert as pretraining
from ssl_jax.cli import main
from ssl_jax.data.parameter_pairs import RELATIONS, parameter_pairs
from ssl_jax.domains import NonEmptyText, PositiveInt
from ssl_jax.errors import UserError
from ssl_jax.recipes.fine_tuning import EncoderConfig, FineTuningConfig, fine_tuning_experiment
from ssl_jax.recipes.labelled_text import (
    PairConfig,
    class_score,
    open_labelled_text,
    predictor,
    report_classes,
    report_scored,
    score_metrics,
)
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class Config(FineTuningConfig):
    """Classification or scoring of pairs of sentences."""

    steps: PositiveInt = 1000
    """Optimiser steps of the whole run; the log says how many epochs these are."""
    scored: bool = False
    """Labels are numbers, which are predicted with the least squared error."""
    labels: tuple[NonEmptyText, ...] = RELATIONS
    """Names of the classes, in the order that numbers them; not used for scores."""
    data: PairConfig = field(default_factory=PairConfig)
    bert: pretraining.Config = pretraining.OFFLINE

    def check_relations(self) -> None:
        super().check_relations()
        if not self.scored and len({*self.labels}) < max(2, len(self.labels)):
            raise UserError(f"labels {' '.join(self.labels)}: expected at least two, each of them once.")


OFFLINE = Config(
    steps=600,
    length=64,
    encoder=EncoderConfig(dropout=0.1, attention_dropout=0.0),
    schedule=ScheduleConfig(learning_rate=5e-4, warmup_steps=60),
    train=TrainConfig(batch_size=32, log_every=20, eval_every=200, save_every=200, keep_every=200),
)

# Three epochs of the 392,702 pairs of MNLI and of the 5,749 of STS-B (section 4.1, appendix A.3).
MNLI = Config(
    steps=36_815,
    length=128,
    labels=("contradiction", "entailment", "neutral"),
    data=PairConfig(
        source="tfds:glue/mnli:train",
        heldout_source="tfds:glue/mnli:validation_matched",
        text="premise",
        second="hypothesis",
    ),
    bert=pretraining.PRESETS["base"],
    encoder=EncoderConfig(dtype="bfloat16"),
    optimizer=OptimizerConfig(name="bert_adam", weight_decay=0.01),
    schedule=ScheduleConfig(learning_rate=2e-5, warmup_steps=3681),
    train=TrainConfig(batch_size=32, log_every=100, eval_every=2000, save_every=2000, keep_every=10_000),
)

PRESETS = {
    "tiny": OFFLINE,
    "mnli": MNLI,
    "stsb": replace(
        MNLI,
        steps=538,
        scored=True,
        data=replace(
            MNLI.data,
            source="tfds:glue/stsb:train",
            heldout_source="tfds:glue/stsb:validation",
            text="sentence1",
            second="sentence2",
        ),
        schedule=ScheduleConfig(learning_rate=2e-5, warmup_steps=53),
        train=replace(MNLI.train, log_every=20, eval_every=200, save_every=200, keep_every=200),
    ),
}


def build(config: Config) -> Experiment:
    """The encoder with a classifier of its pooled output, or one number."""
    names = () if config.scored else config.labels
    correlations = ("pearson", "spearman")
    return fine_tuning_experiment(
        config,
        "score" if config.scored else "class",
        labels=names,
        open_data=lambda folder: open_labelled_text(config, folder, parameter_pairs, scored=config.scored),
        score=lambda tuned: score_metrics(tuned) if config.scored else class_score(tuned, names),
        headline=("score_loss", *correlations)
        if config.scored
        else ("class_loss", "class_accuracy", "macro_f1"),
        report=lambda report, tuned: (
            report_scored(report, tuned) if config.scored else report_classes(report, tuned, names)
        ),
        predictor=lambda tuned: predictor(tuned, names, config.length, pairs=True),
    )


if __name__ == "__main__":
    main(PRESETS, build)
