"""T5: a decoder writes the spans that are cut out of what an encoder reads (Raffel et al. 2019, arXiv:1910.10683).

    python -m experiments.t5                               # offline, minutes on 2 CPU cores
    python -m experiments.t5 base --workdir gs://...       # the paper's baseline, for a TPU pod

15 % of the tokens are cut out in spans of 3 on average, a sentinel in the place of each; the decoder writes every span
after its sentinel. Sentinels are the last ids of the vocabulary: `model.vocab_size` counts them with the tokenizer's
pieces. The model has relative positions, no biases and T5's initialisation. Of the default preset, seed 0, on held-out
documents: 51.5 % of the tokens to write, sentinels among them, are right given the true ones before them (the commonest
after the one before: 9.6 %); written freely, 18.6 % of what was cut out comes back (the commonest between its
neighbours: 15.0 %).

The small preset trains on the documentation inside the installed Python packages, the other on
`tfds:wikipedia/20230601.en` (README.md, "Your own data"), where the paper has C4. Its optimiser is Adam at a rate that
falls as the paper's does, in place of Adafactor. Expected of the paper's baseline, 2^19 steps of 128 x 512 tokens: GLUE
average 83.28, SQuAD 80.88 exact, CNN/DailyMail ROUGE-2 19.24 (table 9, first row). By `python -m ssl_jax.plan`,
v5e:4x4: 8.6 GiB a chip, 17 ms a step at the chips' peak.
"""

from dataclasses import dataclass, field, replace

import jax

from ssl_jax.cli import main
from ssl_jax.decoding.decoder import source_decoder
from ssl_jax.evals.restoration import filled_spans
from ssl_jax.hub.t5 import load_t5
from ssl_jax.method import Batch
from ssl_jax.models.encoder_decoder import T5_SIZES, EncoderDecoder
from ssl_jax.recipes.denoising import WIKIPEDIA, DenoisingConfig, denoising_experiment
from ssl_jax.reports.denoising import Restoration
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.transforms.denoising import Denoising
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

    restoration = Restoration(
        noise=noise,
        decoder=source_decoder(EncoderDecoder(config.model), special.pad, sentinels),
        join=filled_spans,
        names={token: f"<{number}>" for number, token in enumerate(sentinels)},
    )
    return denoising_experiment(
        config,
        noise,
        restoration,
        length=length,
        reserved=len(sentinels),
        import_weights=lambda path: load_t5(path)[1],
    )


if __name__ == "__main__":
    main(PRESETS, build)
