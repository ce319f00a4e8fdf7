"""Fine-tuning BERT on tagged words: parts of speech, entities (Devlin et al. 2018, arXiv:1810.04805, section 5.3).

    python -m experiments.token_classification                            # offline: a BERT, then its fine-tuning
    python -m experiments.token_classification --from_scratch True        # the same without pretraining
    python -m experiments.token_classification --init_from runs/bert-tiny
    python -m experiments.token_classification conll2003 --init_from gs://.../bert-base    # for a TPU slice

Where the encoder is from is as in experiments/sequence_classification.py. Your own words: `--data.source` a CoNLL
file, a .conllu treebank, a .jsonl file with lists, or tfds:name:split, and `--tags NAME NAME ...`. A word is tagged at
its first piece; every word of long sentences is scored once. Tags such as B-LOC are scored as entities, by their F1.

The default preset tells which words of a sentence are code; the double backticks that say so are removed. It has 1,000
labelled sentences; the held-out documents are those that the pretraining holds out. On them, with learned positions
(--bert.model.position_encoding absolute), seeds 0 to 2 (26 November 2026, 2 AMD cores), settings chosen on a tenth of
the training documents: F1 of the pieces of code 56.1 % (55.1 to 56.9), from a random start 31.2 (30.3 to 31.4; 33.9
with the rate that is best for it, 1e-3); most frequent tag of a word 24.4. With 4,000 sentences and 800 steps, seed 0:
63.1 and 41.7.

On TPUs: conll2003 on v5e:2x2 (docs/planning.md).
"""

from dataclasses import dataclass, field

from experiments import bert as pretraining
from ssl_jax.cli import main
from ssl_jax.data.code_words import TAGS
from ssl_jax.domains import NonEmptyText, PositiveInt
from ssl_jax.errors import UserError
from ssl_jax.evals.tagging import mark_entities
from ssl_jax.recipes.fine_tuning import EncoderConfig, FineTuningConfig, fine_tuning_experiment
from ssl_jax.recipes.tagged_words import (
    TaggedWordsConfig,
    open_tagged_words,
    report_tags,
    tag_predictor,
    tag_score,
)
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class Config(FineTuningConfig):
    """Classification of words."""

    steps: PositiveInt = 1000
    """Optimiser steps of the whole run; the log says how many epochs these are."""
    tags: tuple[NonEmptyText, ...] = TAGS
    """Names of the tags, in the order that numbers them."""
    data: TaggedWordsConfig = field(default_factory=TaggedWordsConfig)
    bert: pretraining.Config = pretraining.OFFLINE

    def check_relations(self) -> None:
        super().check_relations()
        if len({*self.tags}) < max(2, len(self.tags)):
            raise UserError(f"tags {' '.join(self.tags)}: expected at least two, each of them once.")


_ENTITIES = ("PER", "ORG", "LOC", "MISC")

OFFLINE = Config(
    steps=400,
    length=64,
    encoder=EncoderConfig(dropout=0.1, attention_dropout=0.0),
    schedule=ScheduleConfig(learning_rate=5e-4, warmup_steps=40),
    train=TrainConfig(batch_size=32, log_every=20, eval_every=100, save_every=100, keep_every=100),
)

PRESETS = {
    "tiny": OFFLINE,
    # Three epochs of 14,041 sentences with the settings of the paper (section 5.3, appendix A.3).
    "conll2003": Config(
        steps=1317,
        length=128,
        tags=("O", *(f"{prefix}-{name}" for name in _ENTITIES for prefix in "BI")),
        data=TaggedWordsConfig(source="tfds:conll2003:train", heldout_source="tfds:conll2003:dev"),
        bert=pretraining.PRESETS["base"],
        encoder=EncoderConfig(dtype="bfloat16"),
        optimizer=OptimizerConfig(name="bert_adam", weight_decay=0.01),
        schedule=ScheduleConfig(learning_rate=5e-5, warmup_steps=131),
        train=TrainConfig(batch_size=32, log_every=20, eval_every=400, save_every=400, keep_every=400),
    ),
}


def build(config: Config) -> Experiment:
    """The encoder with a classifier of every token."""
    metric = "entity_f1" if mark_entities(config.tags) else "word_accuracy"
    return fine_tuning_experiment(
        config,
        "tags",
        labels=config.tags,
        open_data=lambda folder: open_tagged_words(config, folder),
        score=lambda tuned: tag_score(tuned, config.tags),
        headline=("tag_loss", "tag_accuracy", metric),
        report=lambda report, tuned: report_tags(report, tuned, config.tags),
        predictor=lambda tuned: tag_predictor(tuned, config.tags, config),
    )


if __name__ == "__main__":
    main(PRESETS, build)
