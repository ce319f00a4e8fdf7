"""Denoising autoencoders reconstruct an image from a noisy copy (Vincent et al. 2008, doi:10.1145/1390156.1390294).

    python -m experiments.denoising_autoencoder                            # offline, a minute of a laptop's CPU
    python -m experiments.denoising_autoencoder mnist --data.source DIR    # a folder of idx files
    python -m experiments.denoising_autoencoder tfds_mnist                 # 2,000 units, 200 epochs
    python -m experiments.denoising_autoencoder cifar10                    # convolutional; also celeb_a
    python -m experiments.denoising_autoencoder --noise.gaussian 0.5 --noise.masking 0 --noise.salt_and_pepper 0

One autoencoder is trained for each noise, and a plain one without noise; they are alike in everything else. The report
applies each noise to each of them, beside 3x3 filters and the unchanged noisy image; it draws noisy images, their
reconstructions and the filters of the first layers, and probes the codes with few labels. Mean squared error per pixel
on held-out digits:

    noise, removed by   nothing   median   mean    plain   gaussian   masking   salt and pepper
    gaussian            0.051     0.064    0.059   0.027   0.019      0.035     0.020
    masking             0.094     0.155    0.093   0.062   0.043      0.029     0.040
    salt and pepper     0.088     0.070    0.072   0.038   0.025      0.047     0.025

Linear probes with 10 labels per class reach 90 % on each denoising code, and 89 % on the plain code, on a random-init
code and on raw pixels (each within 2 %): 8x8 pixels show no difference. MNIST does: with all labels, a linear probe
reaches 92.3 % on the plain code, 92.8 to 94.4 % on the denoising codes (masking is best) and 90.8 % on a random-init
code. The paper ties the weights, stacks three layers and fine-tunes them; none of this is done here.
"""

from dataclasses import dataclass, field, replace

from ssl_jax.cli import main
from ssl_jax.domains import CodeSize, Probability, Settings, Stddev
from ssl_jax.errors import UserError
from ssl_jax.methods.autoencoder import Member, autoencoders, denoising_evaluation
from ssl_jax.models.autoencoder import AutoencoderConfig
from ssl_jax.recipes.autoencoders import (
    CELEB_A,
    CIFAR10,
    DIGITS,
    LONG_MNIST,
    MNIST,
    ReconstructionConfig,
    family_experiment,
)
from ssl_jax.reports.denoising_autoencoder import report_denoising_autoencoders
from ssl_jax.training.experiment import Experiment
from ssl_jax.transforms.corruption import Corruption, gaussian, masking, salt_and_pepper

NOISES = {"gaussian": gaussian, "masking": masking, "salt_and_pepper": salt_and_pepper}


@dataclass(frozen=True)
class NoiseLevels(Settings):
    """How much there is of each noise; for each above 0 an autoencoder is trained."""

    gaussian: Stddev = 0.3
    """Standard deviation; pixels are in [0, 1]."""
    masking: Probability = 0.4
    """Share of the pixels that are set to 0."""
    salt_and_pepper: Probability = 0.2
    """Share of the pixels that are set to 0 or 1."""

    def check_relations(self) -> None:
        if not self.corruptions():
            raise UserError("noise: every noise is 0; give at least one, such as --noise.gaussian 0.3.")

    def corruptions(self) -> dict[str, Corruption]:
        """The noises that there are, by name."""
        levels = {name: getattr(self, name) for name in NOISES}
        return {
            name: lambda rng, image, name=name, level=level: NOISES[name](rng, image, level)
            for name, level in levels.items()
            if level
        }


@dataclass(frozen=True)
class Config(ReconstructionConfig):
    """Denoising autoencoders, one for each noise, and a plain one beside them."""

    code_size: CodeSize = 256
    """Units of the code; there may be more than pixels, which the noise keeps from being copied."""
    noise: NoiseLevels = field(default_factory=NoiseLevels)


ONE_LAYER = AutoencoderConfig(hidden=(), code="sigmoid")
"""The paper's: a code of logistic units, and a decoder of one layer."""

PRESETS = {
    "digits": replace(Config(**DIGITS), network=ONE_LAYER, objective="cross_entropy"),
    "mnist": replace(Config(**MNIST), network=ONE_LAYER, objective="cross_entropy", code_size=1000),
    "tfds_mnist": replace(Config(**LONG_MNIST), network=ONE_LAYER, objective="cross_entropy", code_size=2000),
    "cifar10": Config(**CIFAR10, code_size=512),
    "celeb_a": Config(**CELEB_A, code_size=512),
}


def build(config: Config) -> Experiment:
    """An autoencoder for each noise and a plain one, and everything that experiments with autoencoders share."""
    noises = config.noise.corruptions()
    members = {name: Member(config.code_size, corruption) for name, corruption in noises.items()}
    family = autoencoders(
        {"plain": Member(config.code_size), **members},
        config.network,
        size=config.size,
        channels=config.data.channels,
        centre=config.centre,
        objective=config.objective,
    )
    method = family.method._replace(evaluate=denoising_evaluation(family, noises))
    return family_experiment(
        config,
        family._replace(method=method),
        represented=next(iter(noises)),
        headline=("loss", *(f"{name}_error" for name in noises)),
        report=lambda report: report_denoising_autoencoders(
            report,
            family,
            noises,
            probe_examples=config.probe_examples,
            seed=config.train.seed,
        ),
    )


if __name__ == "__main__":
    main(PRESETS, build)
