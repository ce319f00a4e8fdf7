"""BART."""

from dataclasses import dataclass, field

import jax

from ssl_jax.decoding.decoder import source_decoder
from ssl_jax.denoising_pretraining import DenoisingPretraining, wire
from ssl_jax.denoising_report import Restoration
from ssl_jax.evals.restoration import whole_text
from ssl_jax.method import Batch
from ssl_jax.models.encoder_decoder import EncoderDecoder
from ssl_jax.training.experiment import Experiment
from ssl_jax.transforms.denoising import Denoising
from ssl_jax.transforms.noise import NoiseConfig, noise_batch


@dataclass(frozen=True)
class Config(DenoisingPretraining):
    """BART's pretraining."""

    noise: NoiseConfig = field(default_factory=NoiseConfig)


def build(config: Config) -> Experiment:
    """Noise of the configuration; the target is the whole text, and the decoder starts with [EOS]."""
    special = config.data.special

    def noise(rng: jax.Array, batch: Batch) -> Denoising:
        return noise_batch(
            rng,
            batch["tokens"],
            batch["present"],
            batch["words"],
            batch["sentences"],
            config=config.noise,
            mask_id=special.mask,
            pad_id=special.pad,
            start_id=special.sep,
        )

    decoder = source_decoder(EncoderDecoder(config.model), special.sep)
    return wire(config, noise, Restoration(noise, decoder, whole_text, {special.mask: "[MASK]"}))


PRESETS = {"tiny": Config()}

if __name__ == "__main__":
    from ssl_jax.cli import main

    main(PRESETS, build)
