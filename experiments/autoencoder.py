"""Autoencoders: images through a bottleneck (Hinton & Salakhutdinov 2006, doi:10.1126/science.1127647).

    python -m experiments.autoencoder                            # offline, a minute of a laptop's CPU
    python -m experiments.autoencoder mnist --data.source DIR    # a folder of idx files, 4 minutes
    python -m experiments.autoencoder tfds_mnist                 # the paper's network, 200 epochs
    python -m experiments.autoencoder cifar10                    # convolutional; also celeb_a, of 64x64 pixels
    python -m experiments.autoencoder --code_sizes 3 --network.kind convolutional

Autoencoders of several code sizes are trained side by side and compared with PCA of the same size, fitted to the same
images. The report has their errors on held-out images as a table and in plots/error_by_code_size.png, reconstructions,
a map of the codes, and linear probes with few labels. Mean squared error per pixel on held-out images, pixels in [0,
1]:

    code size          2        4        8        16       32       64
    digits             0.0327   0.0180   0.0102   0.0045   0.0019
    PCA                0.0515   0.0361   0.0227   0.0101   0.0021
    mnist              0.0389   0.0285   0.0170   0.0105   0.0065   0.0043
    PCA                0.0555   0.0474   0.0364   0.0254   0.0152   0.0078

In the paper, a network of 784-1000-500-250-30 units has a squared error of 3.00 per MNIST image (0.0038 per pixel), and
PCA 13.87 (figure 2B). PCA's error is lower here because its reconstructions are clipped to [0, 1]. Differences from the
paper: no pretraining by restricted Boltzmann machines, ReLU instead of logistic units, Adam instead of conjugate
gradients.
"""

from dataclasses import dataclass

from ssl_jax.cli import main
from ssl_jax.domains import CodeSize
from ssl_jax.errors import UserError
from ssl_jax.methods.autoencoder import Member, autoencoders
from ssl_jax.recipes.autoencoders import (
    CELEB_A,
    CIFAR10,
    DIGITS,
    LONG_MNIST,
    MNIST,
    ReconstructionConfig,
    family_experiment,
)
from ssl_jax.reports.code_sizes import report_code_sizes
from ssl_jax.training.experiment import Experiment


@dataclass(frozen=True)
class Config(ReconstructionConfig):
    """Autoencoders of several code sizes, trained side by side."""

    code_sizes: tuple[CodeSize, ...] = (2, 4, 8, 16, 32)
    """Numbers in the code of each autoencoder; one, or several that are compared."""

    def check_relations(self) -> None:
        super().check_relations()
        if not self.code_sizes or len(set(self.code_sizes)) < len(self.code_sizes):
            raise UserError(f"code_sizes {self.code_sizes}: give one size or several different ones.")


PRESETS = {
    "digits": Config(**DIGITS),
    "mnist": Config(**MNIST, code_sizes=(2, 4, 8, 16, 32, 64)),
    "tfds_mnist": Config(
        **LONG_MNIST, objective="cross_entropy", code_sizes=(2, 4, 8, 16, 30, 64, 128, 256, 512)
    ),
    "cifar10": Config(**CIFAR10, code_sizes=(2, 8, 32, 128, 512)),
    "celeb_a": Config(**CELEB_A, code_sizes=(2, 8, 32, 128, 512)),
}


def build(config: Config) -> Experiment:
    """A family of autoencoders, and everything that experiments with them share."""
    sizes = {f"code_{size}": size for size in sorted(config.code_sizes)}
    family = autoencoders(
        {name: Member(size) for name, size in sizes.items()},
        config.network,
        size=config.size,
        channels=config.data.channels,
        centre=config.centre,
        objective=config.objective,
    )
    smallest, largest = (f"code_{of(config.code_sizes)}" for of in (min, max))
    return family_experiment(
        config,
        family,
        represented=largest,
        headline=tuple(dict.fromkeys(("loss", f"{smallest}_error", f"{largest}_error"))),
        report=lambda report: report_code_sizes(
            report, family, sizes, probe_examples=config.probe_examples, seed=config.train.seed
        ),
    )


if __name__ == "__main__":
    main(PRESETS, build)
