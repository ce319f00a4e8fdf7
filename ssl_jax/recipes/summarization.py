"""An experiment that learns to summarise without pairs: its configuration, and how it is put together."""

import dataclasses
from dataclasses import dataclass, field

import jax
from etils import epath

from ssl_jax.data.summary_rows import SummaryTextConfig, batch_shapes, open_summary_text
from ssl_jax.decoding.pointer import Writing, pointer_decoder
from ssl_jax.domains import Length, PositiveInt
from ssl_jax.errors import UserError
from ssl_jax.hub.bart import load_bart
from ssl_jax.method import Tree
from ssl_jax.methods.partition import TRANSFORMER
from ssl_jax.methods.summarization import make_networks, summarization
from ssl_jax.methods.summary_objectives import ObjectiveConfig
from ssl_jax.models.encoder_decoder import EncoderDecoderConfig
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.recipes.denoising import SMALL
from ssl_jax.reports.summaries import code_score, report_summaries, sample_summaries
from ssl_jax.runs.text_features import TextEncoder, as_applied
from ssl_jax.training.experiment import Data, Experiment, Inference
from ssl_jax.training.optimizers import OptimizerConfig, ParameterGroup
from ssl_jax.training.schedules import ScheduleConfig


def three_optimizers(critic_rate: float = 0.3) -> OptimizerConfig:
    """Adam for each network, whose gradients are clipped by themselves; the base is the generator's.

    Args:
      critic_rate: factor on the learning rate of what reads sentences: the critic, and the language model if there is
        one.
    """
    groups = (
        ParameterGroup("reconstructor", "^reconstructor/", clip_norm=1.0),
        ParameterGroup("critic", "^(critic|language)/", rate=critic_rate, beta1=0.5, clip_norm=1.0),
    )
    return OptimizerConfig(beta2=0.98, groups=groups)


@dataclass(frozen=True)
class SummarizationConfig(RunConfig):
    """A run that learns to summarise; the defaults are small enough for a laptop."""

    steps: PositiveInt = 900
    """Optimiser steps of the whole run."""
    length: Length = 64
    """Tokens of an article's row, [BOS] and [EOS] included; the rest of a longer article is not read."""
    code_length: Length = 16
    """Tokens of a code at most, [EOS] included."""
    data: SummaryTextConfig = field(default_factory=SummaryTextConfig)
    model: EncoderDecoderConfig = field(
        default_factory=lambda: dataclasses.replace(SMALL, vocab_size=3000, positions=64)
    )
    """Of generator and reconstructor; the critic is as the encoder, but causal."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=three_optimizers)
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(learning_rate=1e-3, warmup_steps=100)
    )

    def check_relations(self) -> None:
        if not 3 <= self.code_length < self.length - 2:
            raise UserError(
                f"code_length {self.code_length}: expected 3 or more, and less than the {self.length - 2} tokens of an "
                "article; a code is shorter than its article."
            )
        if self.length > self.model.positions:
            raise UserError(
                f"length {self.length}: is longer than the model's {self.model.positions} positions; give "
                f"--model.positions {self.length}."
            )
        if self.model.dropout or self.model.attention_dropout:
            raise UserError(
                "model.dropout and model.attention_dropout must be 0: a code is drawn by the network without dropout, "
                "and its gradient is that of the same network."
            )


def summarization_experiment(config: SummarizationConfig) -> Experiment:
    """The experiment: three networks, unpaired rows, and a report of codes."""
    special = config.data.special
    writing = Writing(config.code_length, special.cls, special.sep, special.pad, special.first_regular)
    networks = make_networks(config.model, writing, special.mask, config.objective.language_weight > 0)

    def open_data(folder: epath.Path) -> Data:
        text = open_summary_text(
            config.data,
            folder,
            vocab_size=config.model.vocab_size,
            length=config.length,
            code_length=config.code_length,
            batch_size=config.train.batch_size,
            seed=config.train.seed,
        )
        return Data(
            train=(text.train,),
            heldout=({"heldout": text.heldout},),
            identity=text.identity,
            details=text,
            preprocessing=text.preprocessing,
        )

    return make_experiment(
        config,
        summarization(networks, config.objective),
        phases=one_phase(
            config,
            batch_shapes(config.train.batch_size, config.length, config.code_length),
            "tokens",
            config.length,
        ),
        open_data=open_data,
        rules=TRANSFORMER,
        score=code_score(networks),
        headline=(
            "reconstruction_loss",
            "critic_score",
            "code_fluency",
            "code_tokens",
            "bits_per_word",
            "unigram_rouge",
            "subsequence_rouge",
        ),
        sample=lambda report: sample_summaries(report, networks),
        report=lambda report: report_summaries(report, networks),
        decoder=pointer_decoder(networks.generator, writing, special.mask),
        inference=Inference(
            text=lambda params, tokenizer, mesh: TextEncoder(
                as_applied(config.model), params["generator"]["model"], tokenizer, mesh
            )
        ),
        not_exported="Its generator copies words of its source by a pointer, which no class of transformers does; "
        "ssl_jax.load and ssl_jax.generate apply it.",
        adopt=from_denoiser,
        import_weights=lambda path: from_denoiser(load_bart(path)[1]),
    )


def from_denoiser(params: Tree) -> Tree:
    """The parameters of generator and reconstructor from those of an encoder-decoder, such as BART's.

    Args:
      params: of a run of `bart`, or of any other experiment, whose parameters stay as they are; of arrays or shapes.
    """
    if not {"encoder", "decoder", "token"} <= params.keys():
        return params
    again = jax.tree.map(
        lambda x: x.copy() if isinstance(x, jax.Array) else x, params
    )  # no buffer of two networks
    return {"generator": {"model": params}, "reconstructor": {"model": again}}
