"""VICReg: views agree, every feature varies, no two vary together (Bardes, Ponce & LeCun 2021, arXiv:2105.04906).

    python -m experiments.vicreg                            # offline, 2 minutes on 2 CPU cores
    python -m experiments.vicreg mnist --data.source DIR    # a folder of idx files
    python -m experiments.vicreg cifar10                    # ResNet-18, 1,000 epochs: linear probe 92.1 % (solo-learn)
    python -m experiments.vicreg imagenet --workdir gs://...    # ResNet-50, 1,000 epochs: linear probe 73.2 %

The report at the end sets a linear probe with 10 labels a class beside one of raw pixels, 89 % on the digits.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from ssl_jax.cli import main
from ssl_jax.method import Mean
from ssl_jax.methods.joint_embedding import Embedding, Network
from ssl_jax.models.projection import MlpConfig
from ssl_jax.recipes.views import (
    CIFAR10,
    DIGITS,
    IMAGENET,
    IMAGENET_SCHEDULE,
    IMAGENET_TRAIN,
    MNIST,
    ViewsConfig,
    pair_experiment,
)
from ssl_jax.training.experiment import Experiment


def vicreg(first: jax.Array, second: jax.Array, weights: jax.Array) -> dict[str, Mean]:
    """Invariance, variance and covariance, unweighted (equations 1 to 5, as averaged in the authors' code).

    The distance is a mean over features; the hinges are averaged over the two views, where the paper's equation 6 and
    algorithm 1 add them; the covariances of the two views are added.

    Args:
      first, second: [batch, width] projections. weights: [batch], 0 for images that do not count.
    """
    count = weights.sum()
    column = weights[:, None]
    width = first.shape[-1]

    def centre(z: jax.Array) -> jax.Array:
        return (z - (z * column).sum(0, keepdims=True) / count) * column

    def covariance(z: jax.Array) -> jax.Array:
        return centre(z).T @ centre(z) / jnp.maximum(count - 1, 1)

    def spread(covariance: jax.Array) -> jax.Array:
        return jax.nn.relu(1 - jnp.sqrt(jnp.diagonal(covariance) + 1e-4)).mean()

    def overlap(covariance: jax.Array) -> jax.Array:
        return (jnp.square(covariance).sum() - jnp.square(jnp.diagonal(covariance)).sum()) / width

    both = covariance(first), covariance(second)
    return {
        "invariance": ((jnp.square(first - second).mean(-1) * weights).sum(), count),
        "variance": ((spread(both[0]) + spread(both[1])) / 2 * count, count),
        "covariance": ((overlap(both[0]) + overlap(both[1])) * count, count),
    }


HEAD = MlpConfig(hidden=(8192, 8192), features=8192, last_norm="none")


@dataclass(frozen=True)
class Config(ViewsConfig):
    """VICReg."""

    invariance: float = 25.0
    """Weight of the squared distance of the two views."""
    variance: float = 25.0
    """Weight of the hinge that keeps every feature's standard deviation at 1."""
    covariance: float = 1.0
    """Weight of the covariances between different features."""
    projector: MlpConfig = HEAD


SMALL = {"projector": replace(HEAD, hidden=(128, 128), features=128)}

PRESETS = {
    "digits": Config(**DIGITS, **SMALL),
    "mnist": Config(**MNIST, **SMALL),
    "cifar10": Config(**CIFAR10, projector=replace(HEAD, hidden=(2048, 2048), features=2048)),
    "imagenet": replace(
        Config(**IMAGENET),
        steps=625_500,
        schedule=replace(IMAGENET_SCHEDULE, learning_rate=1.6, warmup_steps=6_255, final_fraction=1e-3),
        train=replace(IMAGENET_TRAIN, batch_size=2048),
    ),
}


def build(config: Config) -> Experiment:
    """The network, its loss, and everything that image experiments share."""

    def loss(first: Embedding, second: Embedding, weights: jax.Array) -> dict[str, Mean]:
        terms = vicreg(first.projection, second.projection, weights)
        return {
            f"{name}_loss": (getattr(config, name) * total, weight) for name, (total, weight) in terms.items()
        }

    return pair_experiment(
        config,
        Network(config.encoder, config.projector),
        loss,
        headline=("loss", "invariance_loss", "probe_accuracy"),
    )


if __name__ == "__main__":
    main(PRESETS, build)
