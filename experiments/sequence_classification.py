"""Fine-tuning BERT on sentences with labels (Devlin et al. 2018, arXiv:1810.04805, section 4.1).

    python -m experiments.sequence_classification                            # offline, minutes: a BERT, then this
    python -m experiments.sequence_classification --from_scratch True        # the same without pretraining
    python -m experiments.sequence_classification --init_from runs/bert-tiny
    python -m experiments.sequence_classification base --init_from gs://.../bert-base   # SST-2, for a TPU slice

The encoder is that of `--init_from`: a run of experiments.bert or experiments.albert, RUN@STEP, or a folder of BERT
weights in Hugging Face's layout. Its sizes and its tokenizer come along; the log lists which modules are loaded and
which are new. Without it, the preset's BERT is trained first, in bert/ of the run folder.

Your own sentences: `--data.source FILE.tsv --data.text COLUMN --data.label COLUMN --labels NAME NAME ...`, likewise
.jsonl and tfds:name:split; `--data.heldout_source` is another file, otherwise a tenth is held out by hash.

A saved model labels new text: `python -m ssl_jax.predict RUN "A sentence."`

The default preset tells from which section of a docstring a sentence is: the summary, the parameters, what is returned,
or the notes. It has 250 labelled sentences of each; the held-out documents are those that the pretraining holds out. On
them, with learned positions (--bert.model.position_encoding absolute), seeds 0 to 2 (26 November 2026, 2 AMD cores):
accuracy 52.3 % (51.2 to 53.2), from a random start 47.3 (43.8 to 49.9). A tf-idf and logistic regression is no worse
(53.2): single words tell most, and the BERT is small. The most frequent class is 25.0. The rate was chosen on a tenth
of the training documents.

On TPUs: base, large on v5e:2x2 (docs/planning.md).
"""

from dataclasses import dataclass, field, replace

from experiments import bert as pretraining
from ssl_jax.cli import main
from ssl_jax.data.section_labels import SECTIONS, section_sentences
from ssl_jax.domains import NonEmptyText, PositiveInt
from ssl_jax.errors import UserError
from ssl_jax.recipes.fine_tuning import EncoderConfig, FineTuningConfig, fine_tuning_experiment
from ssl_jax.recipes.labelled_text import (
    LabelledTextConfig,
    class_score,
    open_labelled_text,
    predictor,
    report_classes,
)
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class Config(FineTuningConfig):
    """Classification of sentences."""

    steps: PositiveInt = 6313
    """Optimiser steps of the whole run; the log says how many epochs these are."""
    labels: tuple[NonEmptyText, ...] = SECTIONS
    """Names of the classes, in the order that numbers them."""
    data: LabelledTextConfig = field(default_factory=LabelledTextConfig)
    bert: pretraining.Config = pretraining.OFFLINE

    def check_relations(self) -> None:
        super().check_relations()
        if len({*self.labels}) < max(2, len(self.labels)):
            raise UserError(f"labels {' '.join(self.labels)}: expected at least two, each of them once.")


OFFLINE = Config(
    steps=150,
    length=64,
    encoder=EncoderConfig(dropout=0.1, attention_dropout=0.0),
    schedule=ScheduleConfig(learning_rate=6e-4, warmup_steps=15),
    train=TrainConfig(batch_size=32, log_every=10, eval_every=50, save_every=50, keep_every=50),
)

# Three epochs of the 67,349 sentences of SST-2, as the paper trains on GLUE (section 4.1, appendix A.3).
PAPER = Config(
    steps=6313,
    length=128,
    labels=("negative", "positive"),
    data=LabelledTextConfig(
        source="tfds:glue/sst2:train", heldout_source="tfds:glue/sst2:validation", text="sentence"
    ),
    bert=pretraining.PRESETS["base"],
    encoder=EncoderConfig(dtype="bfloat16"),
    optimizer=OptimizerConfig(name="bert_adam", weight_decay=0.01),
    schedule=ScheduleConfig(learning_rate=2e-5, warmup_steps=631),
    train=TrainConfig(batch_size=32, log_every=50, eval_every=500, save_every=500, keep_every=2000),
)

PRESETS = {
    "tiny": OFFLINE,
    "base": PAPER,
    "large": replace(PAPER, bert=pretraining.PRESETS["large"]),
}


def build(config: Config) -> Experiment:
    """The encoder with a classifier of its pooled output."""
    return fine_tuning_experiment(
        config,
        "class",
        labels=config.labels,
        open_data=lambda folder: open_labelled_text(config, folder, section_sentences),
        score=lambda tuned: class_score(tuned, config.labels),
        headline=("class_loss", "class_accuracy", "macro_f1"),
        report=lambda report, tuned: report_classes(report, tuned, config.labels),
        predictor=lambda tuned: predictor(tuned, config.labels, config.length),
    )


if __name__ == "__main__":
    main(PRESETS, build)
