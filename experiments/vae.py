"""Variational autoencoder: images are generated from a code with a known prior (Kingma & Welling, arXiv:1312.6114).

    python -m experiments.vae                            # offline, a minute of a laptop's CPU
    python -m experiments.vae --code_size 2              # its latent grid is the whole plane of codes
    python -m experiments.vae --likelihood gaussian      # 8-bit grey levels, in bits per dimension
    python -m experiments.vae --kl.beta 4 --kl.warmup_steps 500 --kl.free_nats 0.1
    python -m experiments.vae mnist --data.source DIR    # a folder of idx files
    python -m experiments.vae tfds_mnist                 # 784-200-200-50 as in arXiv:1509.00519, 200 epochs
    python -m experiments.vae cifar10                    # convolutional and Gaussian; also celeb_a

The report has the evidence lower bound, the importance-weighted estimate of the likelihood of the same images, and the
likelihood under a model without a network; samples from the prior, interpolations, a plane of codes, reconstructions,
a map, and probes of the codes. ssl_jax/methods/variational.py explains which data each likelihood is of. Results on
held-out images in nats per image and bits per pixel (standard errors: digits 0.2 and, Gaussian, 1; mnist 0.9 nats):

                                               digits            mnist              digits, gaussian
    evidence lower bound                       -22.96   0.518    -105.92   0.195    40.04   7.10
    importance-weighted bound, 100 samples     -22.69   0.511    -101.57   0.187    44.71   6.99
    independent pixels                         -27.11   0.611    -205.23   0.378
    probabilistic PCA of the same code size                                         18.01   7.59
"""

from dataclasses import dataclass, field, replace
from typing import Annotated

from ssl_jax.cli import main
from ssl_jax.domains import CodeSize, integers
from ssl_jax.errors import UserError
from ssl_jax.methods.variational import KlConfig, Likelihood, variational_autoencoder
from ssl_jax.models.autoencoder import AutoencoderConfig
from ssl_jax.recipes.autoencoders import (
    CELEB_A,
    CIFAR10,
    DIGITS,
    LONG_MNIST,
    MNIST,
    AutoencodingConfig,
    image_experiment,
    inference_by_codes,
)
from ssl_jax.reports.variational_autoencoder import report_variational_autoencoder
from ssl_jax.training.experiment import Experiment


@dataclass(frozen=True)
class Config(AutoencodingConfig):
    """A variational autoencoder."""

    code_size: CodeSize = 10
    """Numbers in the code."""
    likelihood: Likelihood = "bernoulli"
    """Of black and white pixels, which are drawn from the greys at every step, or Gaussian, of 8-bit pixels."""
    kl: KlConfig = field(default_factory=KlConfig)
    importance_samples: Annotated[int, integers(1, 100_000)] = 100
    """Draws of a code for the importance-weighted estimate of an image's likelihood, at the end of the run and of new
    images."""

    def check_relations(self) -> None:
        super().check_relations()
        if self.network.code != "linear":
            raise UserError(
                f"network.code {self.network.code}: means and variances are any numbers; use linear."
            )


PRESETS = {
    "digits": Config(**DIGITS),
    "mnist": replace(Config(**MNIST), network=AutoencoderConfig(hidden=(500,)), code_size=20),
    "tfds_mnist": replace(
        Config(**LONG_MNIST),
        network=AutoencoderConfig(hidden=(200, 200)),
        code_size=50,
        importance_samples=5000,
    ),
    "cifar10": Config(**CIFAR10, code_size=128, likelihood="gaussian", importance_samples=1000),
    "celeb_a": Config(**CELEB_A, code_size=128, likelihood="gaussian", importance_samples=1000),
}


def build(config: Config) -> Experiment:
    """The autoencoder, and everything that experiments with codes of images share."""
    made = variational_autoencoder(
        config.network,
        code_size=config.code_size,
        size=config.size,
        channels=config.data.channels,
        centre=config.centre,
        likelihood=config.likelihood,
        kl=config.kl,
    )
    return image_experiment(
        config,
        made.method,
        represent=made.encode,
        headline=("loss", "negative_elbo", "kl"),
        report=lambda report: report_variational_autoencoder(
            report,
            made,
            code_size=config.code_size,
            likelihood=config.likelihood,
            samples=config.importance_samples,
            probe_examples=config.probe_examples,
            seed=config.train.seed,
        ),
        inference=inference_by_codes(
            made.encode, lambda params, extras, code: made.decode(params, code)
        )._replace(score=made.score(config.importance_samples, config.train.seed)),
    )


if __name__ == "__main__":
    main(PRESETS, build)
