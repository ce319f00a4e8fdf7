"""Experiments that denoise text: their configuration, the offline preset's sizes, and the experiment."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from etils import epath

from ssl_jax.data.passages import batch_shapes
from ssl_jax.data.pretraining_text import TextConfig, open_pretraining_text, passage_rows
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.domains import Fraction, Length, PositiveInt
from ssl_jax.method import Tree
from ssl_jax.methods.denoising import Noise, denoising
from ssl_jax.methods.partition import TRANSFORMER
from ssl_jax.models.encoder_decoder import EncoderDecoderConfig
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.reports.text_denoising import Denoiser, report_text_denoising, sample_denoised
from ssl_jax.training.experiment import Data, Experiment
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig

SMALL = EncoderDecoderConfig(
    vocab_size=2000,
    positions=48,
    layers=2,
    decoder_layers=2,
    width=128,
    heads=4,
    mlp_width=512,
    dropout=0.0,
    attention_dropout=0.0,
    norm="pre",
    initializer_stddev=0.05,
)
"""For a laptop. Normalised before each block and drawn wider than in the papers, the decoder finds within some hundred
steps which token of the source to copy; in so short a run that is most of what there is to find."""


WIKIPEDIA = TextConfig(source="tfds:wikipedia/20230601.en", lowercase=False, heldout_share=0.005)
"""For pods."""


@dataclass(frozen=True)
class DenoisingConfig(RunConfig):
    """A run that denoises text; the defaults are small enough for a laptop."""

    steps: PositiveInt = 1200
    """Optimiser steps of the whole run."""
    share_without_dropout: Fraction = 0.0
    """Share of the steps, at the end of the run, that are trained without dropout."""
    length: Length = 48
    """Tokens of a row of text, [BOS] and [EOS] included."""
    data: TextConfig = field(default_factory=TextConfig)
    model: EncoderDecoderConfig = SMALL
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(beta2=0.98))
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(learning_rate=2e-3, warmup_steps=200)
    )


def denoising_experiment(
    config: DenoisingConfig,
    noise: Noise,
    denoiser: Denoiser,
    *,
    length: int | None = None,
    reserved: int = 0,
    import_weights: Callable[[epath.Path], Tree] | None = None,
    export: Callable[[epath.Path, Tree, Tokenizer], None] | None = None,
) -> Experiment:
    """The experiment of a noise: rows of text, model, optimiser, held-out metrics and samples of denoised rows.

    Args:
      config: of the run.
      noise: corrupts a batch of rows.
      denoiser: how the rows of the report are corrupted, denoised and read.
      length: tokens of the rows to corrupt, where that is not `config.length`.
      reserved: ids at the end of the vocabulary that no text has.
      import_weights: `(path) -> params` from another library's files.
      export: `(folder, variables, tokenizer)`: writes the model as another library's files.
    """
    length = config.length if length is None else length
    (whole,) = one_phase(config, batch_shapes(config.train.batch_size, length), "tokens", length)
    phases = [whole]
    if last := int(config.share_without_dropout * config.steps):
        without = replace(config.model, dropout=0.0, attention_dropout=0.0)
        phases = [
            whole._replace(steps=config.steps - last),
            whole._replace(steps=last, method=denoising(without, noise)),
        ]

    def open_data(folder: epath.Path) -> Data:
        text = open_pretraining_text(
            config.data,
            folder,
            make_rows=passage_rows,
            vocab_size=config.model.vocab_size,
            lengths=[length],
            batch_size=config.train.batch_size,
            seed=config.train.seed,
            reserved=reserved,
        )
        rows = text.train[0]
        # The second phase goes on with the rows where the first one stops.
        further = [rows[phases[0].steps * config.train.batch_size :]] if len(phases) == 2 else []
        return Data(
            train=(rows, *further),
            heldout=({"heldout": text.heldout[0]},) * len(phases),
            identity=text.identity,
            details=text,
            preprocessing=text.preprocessing,
        )

    return make_experiment(
        config,
        denoising(config.model, noise),
        phases=phases,
        open_data=open_data,
        rules=TRANSFORMER,
        headline=("token_loss", "token_accuracy", "exact_accuracy"),
        sample=lambda report: sample_denoised(report, denoiser),
        report=lambda report: report_text_denoising(report, denoiser),
        decoder=denoiser.decoder,
        import_weights=import_weights,
        export=export,
    )
