"""T5: spans are cut out of a text, and a decoder generates them (Raffel et al. 2019, arXiv:1910.10683).

    python -m experiments.t5                               # offline, minutes on 2 CPU cores
    python -m experiments.t5 base --workdir gs://...       # the paper's baseline, for a TPU pod

15 % of the tokens are removed in spans of mean length 3. A sentinel marks the place of each span; the decoder generates
each sentinel followed by its span. Sentinels are the last ids of the vocabulary: `model.vocab_size` includes them. The
model has relative positions, no biases and T5's initialisation. Results of the default preset on held-out documents,
seed 0: with teacher forcing, 51.5 % of the target tokens, sentinels included, are predicted correctly (bigram baseline
9.7 %); with greedy decoding, 18.2 % of the removed tokens are recovered (baseline from the two neighbours 15.0 %).

The 20 most frequent tokens repeated, whatever the text, hold 22.2 % of the removed tokens in their order, too, but
only 10.0 % of all tokens are then in their place; filling in by the neighbours leaves 87.3 % there. Counted in edits,
the model is 9 % farther from the original than the text without its gaps is, the neighbours 15 % nearer, and the
frequent tokens 547 % farther.
Text is folded to lower case; --data.lowercase False keeps it.

The small preset trains on the documentation inside the installed Python packages, base on `tfds:wikipedia/20230601.en`
(README.md, "Your own data"); the paper uses C4. The optimiser is Adam with the paper's decay of the learning rate, in
place of Adafactor. Expected of the paper's baseline, 2^19 steps of 128 x 512 tokens: GLUE average 83.28, SQuAD exact
match 80.88, CNN/DailyMail ROUGE-2 19.24 (table 9, first row).

`--model.position_encoding rotary` gives the model rotary positions (RoFormer, arXiv:2104.09864) in place of relative
ones. Hugging Face's T5 has none: such a model cannot be exported.

On TPUs: base on v5e:4x4 (docs/planning.md).
"""

from dataclasses import dataclass, field, replace
from functools import partial

import jax

from ssl_jax.cli import main
from ssl_jax.decoding.decoder import source_decoder
from ssl_jax.hub.t5 import load_t5, save_t5
from ssl_jax.hub.tokenizer_files import save_tokenizer, token_ids
from ssl_jax.method import Batch
from ssl_jax.models.encoder_decoder import T5_SIZES, EncoderDecoder
from ssl_jax.recipes.denoising import WIKIPEDIA, DenoisingConfig, denoising_experiment
from ssl_jax.reports.text_denoising import Denoiser
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.transforms.denoising import Denoising
from ssl_jax.transforms.inverses import filled_spans
from ssl_jax.transforms.spans import SpanConfig, corrupt_spans_batch, row_length


@dataclass(frozen=True)
class Config(DenoisingConfig):
    """T5 pretraining. `length` is that of what the encoder reads; the rows of text are longer."""

    noise: SpanConfig = field(default_factory=SpanConfig)


BASE = Config(
    steps=2**19,
    length=512,
    data=WIKIPEDIA,
    model=replace(T5_SIZES["base"], dtype="bfloat16"),
    optimizer=OptimizerConfig(weight_decay=0.0),
    schedule=ScheduleConfig(learning_rate=1e-3, warmup_steps=10_000, decay="rsqrt"),
    train=TrainConfig(batch_size=128, log_every=100, eval_every=10_000, save_every=10_000, keep_every=50_000),
)

PRESETS = {
    "tiny": Config(
        steps=2000,
        model=replace(
            BASE.model,
            vocab_size=2000,
            positions=48,
            layers=2,
            decoder_layers=2,
            width=128,
            heads=4,
            mlp_width=512,
            dropout=0.0,
            attention_dropout=0.0,
            dtype="float32",
        ),
    ),
    "base": BASE,
}


def build(config: Config) -> Experiment:
    """Spans of the configuration. Sentinels are the last ids of the vocabulary, counted down from its end."""
    special, last = config.data.special, config.model.vocab_size - 1
    length = row_length(config.noise, config.length)
    sentinels = tuple(last - number for number in range(config.noise.sentinels(length)))

    def noise(rng: jax.Array, batch: Batch) -> Denoising:
        return corrupt_spans_batch(
            rng,
            batch["tokens"],
            batch["present"],
            batch["words"],
            config=config.noise,
            first_sentinel=last,
            sentinels=len(sentinels),
            eos_id=special.sep,
            pad_id=special.pad,
            start_id=special.pad,
        )

    denoiser = Denoiser(
        noise=noise,
        decoder=source_decoder(EncoderDecoder(config.model), special.pad, sentinels),
        inverse=partial(filled_spans, sentinels=sentinels),
        names={token: f"<{number}>" for number, token in enumerate(sentinels)},
    )

    def export(folder, variables, tokenizer) -> None:  # noqa: ANN001
        save_t5(folder, config.model, variables["params"], token_ids(tokenizer, decoder_start=special.pad))
        numbers = {token: f"<extra_id_{number}>" for number, token in enumerate(sentinels)}
        beyond = range(tokenizer.vocab_size, config.model.vocab_size)  # a few ids may be unused
        more = [numbers.get(token, f"<unused_{token}>") for token in beyond]
        save_tokenizer(folder, tokenizer, config.model.positions, form="text", more=more)

    return denoising_experiment(
        config,
        noise,
        denoiser,
        length=length,
        reserved=len(sentinels),
        import_weights=lambda path: load_t5(path)[1],
        export=export,
    )


if __name__ == "__main__":
    main(PRESETS, build)
