"""Token remap: fine-tuning a BERT of text on DNA, proteins or music (Kao and Lee 2021, arXiv:2103.07162).

    python -m experiments.token_remap                                        # offline: a BERT, then digits
    python -m experiments.token_remap --init_from runs/bert --from_scratch True
    python -m experiments.token_remap --init_from runs/bert --weights shuffled
    python -m experiments.token_remap --init_from BERT_FOLDER --data.source splice.tsv --data.text sequence \\
        --data.label label --labels n ei ie

Each symbol of a sequence becomes a random piece of the encoder's vocabulary, by `--data.map`, and the encoder is
fine-tuned to classify the sequences. A symbol is a character, or with `--data.unit word` what stands between spaces.
`--weights shuffled` permutes the entries of each pretrained tensor: the distribution of the weights stays, what they
have learnt goes. `--weights new_embeddings` keeps all but the word embeddings. `--from_scratch True` keeps nothing.
experiments/token_remap_arms.py compares the four over several maps and seeds.

The report has the nearest neighbours and logistic regressions beside the network. A tenth of the training sequences is
the validation set, on which settings are chosen; results are those of the held-out set.

The default preset classifies the embedded digits by the grey levels of their pixels, which are four symbols. From the
default BERT with learned positions (--bert.model.position_encoding absolute), seed 0, map 0 (26 November 2026, 2 AMD
cores): accuracy 89.0 %, macro-F1 88.9 on the held-out digits. A logistic regression on the grey level at each position
is better (96.0 %), and so are nearest neighbours (94.7); one on n-grams, which sees no positions, has 61.3.
"""

from dataclasses import dataclass, field
from typing import Literal

from experiments import bert as pretraining
from ssl_jax.cli import main
from ssl_jax.domains import NonEmptyText, PositiveInt
from ssl_jax.errors import UserError
from ssl_jax.recipes.changed_weights import changed_encoder
from ssl_jax.recipes.fine_tuning import EncoderConfig, FineTuningConfig, fine_tuning_experiment
from ssl_jax.recipes.labelled_text import class_score
from ssl_jax.recipes.symbol_sequences import SymbolsConfig, open_symbols, report_symbols, symbols_predictor
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.schedules import ScheduleConfig

Weights = Literal["pretrained", "shuffled", "new_embeddings"]


@dataclass(frozen=True)
class Config(FineTuningConfig):
    """Classification of sequences of symbols."""

    steps: PositiveInt = 1000
    """Optimiser steps of the whole run; the log says how many epochs these are."""
    labels: tuple[NonEmptyText, ...] = tuple("0123456789")
    """Names of the classes, in the order that numbers them."""
    weights: Weights = "pretrained"
    """What of the encoder is kept: pretrained, all of it; shuffled, the entries of each tensor in a random order;
    new_embeddings, all but the word embeddings, which start at random."""
    data: SymbolsConfig = field(default_factory=SymbolsConfig)
    bert: pretraining.Config = pretraining.OFFLINE

    def check_relations(self) -> None:
        super().check_relations()
        if len({*self.labels}) < max(2, len(self.labels)):
            raise UserError(f"labels {' '.join(self.labels)}: expected at least two, each of them once.")
        if self.weights != "pretrained" and self.from_scratch:
            raise UserError(
                f"weights {self.weights}: with from_scratch, no weights are taken. Leave out one of the two."
            )


OFFLINE = Config(
    steps=300,
    length=64,
    encoder=EncoderConfig(dropout=0.1, attention_dropout=0.0),
    schedule=ScheduleConfig(learning_rate=1e-3, warmup_steps=30),
    train=TrainConfig(batch_size=32, log_every=10, eval_every=50, save_every=150, keep_every=150),
)

PRESETS = {"tiny": OFFLINE}


def build(config: Config) -> Experiment:
    """The encoder with a classifier of its pooled output; its weights are changed after they are loaded."""
    experiment = fine_tuning_experiment(
        config,
        "class",
        labels=config.labels,
        open_data=lambda folder: open_symbols(config, folder),
        score=lambda tuned: class_score(tuned, config.labels),
        headline=("class_loss", "class_accuracy", "macro_f1"),
        report=lambda report, tuned: report_symbols(report, tuned, config),
        predictor=lambda tuned: symbols_predictor(tuned, config.labels, config),
    )
    experiment = experiment._replace(
        export=None,
        not_exported="Its symbols are pieces by a map of the run (symbols.json), which no tokenizer of transformers "
        "reads; ssl_jax.load and ssl_jax.predict apply it.",
    )
    if config.weights == "pretrained":
        return experiment
    rows, model = experiment.phases[0].rows, config.bert.model
    change = changed_encoder(config.weights, experiment.method, model, rows, config.train.seed)
    return experiment._replace(starts=(*experiment.starts, change))


if __name__ == "__main__":
    main(PRESETS, build)
