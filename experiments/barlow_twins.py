"""Barlow Twins: views agree feature by feature, and no two features do (Zbontar et al. 2021, arXiv:2103.03230).

    python -m experiments.barlow_twins                            # offline, 2 minutes on 2 CPU cores: 93 %
    python -m experiments.barlow_twins mnist --data.source DIR    # a folder of idx files
    python -m experiments.barlow_twins cifar10                    # ResNet-18, 1,000 epochs: linear probe 92.1 %
    python -m experiments.barlow_twins imagenet --workdir gs://...    # ResNet-50, 1,000 epochs: linear probe 73.2 %

The offline figure is of a linear probe with 10 labels a class; raw pixels give 89 %. The README walks
through this file as an example of a new loss.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from ssl_jax.cli import main
from ssl_jax.image_pretraining import (
    CIFAR10,
    DIGITS,
    IMAGENET,
    MNIST,
    ImagePretraining,
    adapt,
    wire_pairs,
)
from ssl_jax.method import Mean
from ssl_jax.methods.joint_embedding import Embedding, Network
from ssl_jax.models.projection import MlpConfig
from ssl_jax.training.experiment import Experiment


def barlow_twins(first: jax.Array, second: jax.Array, weights: jax.Array, *, redundancy: float) -> Mean:
    """Squared distance of the cross-correlation matrix of two views from the identity (equation 1).

    Args:
      first, second: [batch, width] projections. weights: [batch], 0 for images that do not count.
      redundancy: weight of the elements off the diagonal.
    """
    count = weights.sum()
    weights = weights[:, None]

    def standardise(z: jax.Array) -> jax.Array:
        mean = (z * weights).sum(0, keepdims=True) / count
        variance = (jnp.square(z - mean) * weights).sum(0, keepdims=True) / count
        return (z - mean) * jax.lax.rsqrt(variance + 1e-5)

    correlation = (standardise(first) * weights).T @ standardise(second) / count
    agreement = jnp.square(jnp.diagonal(correlation) - 1).sum()
    overlap = jnp.square(correlation).sum() - jnp.square(jnp.diagonal(correlation)).sum()
    return (agreement + redundancy * overlap) * count, count


HEAD = MlpConfig(hidden=(8192, 8192), features=8192, last_norm="none")


@dataclass(frozen=True)
class Config(ImagePretraining):
    """Barlow Twins."""

    redundancy: float = 5e-3
    """Weight of the correlations between different features."""
    projector: MlpConfig = HEAD


SMALL = {"redundancy": 0.02, "projector": replace(HEAD, hidden=(128, 128), features=128)}

PRESETS = {
    "digits": adapt(Config, DIGITS, **SMALL),
    "mnist": adapt(Config, MNIST, **SMALL),
    "cifar10": adapt(Config, CIFAR10, projector=replace(HEAD, hidden=(2048, 2048), features=2048)),
    "imagenet": adapt(
        Config,
        IMAGENET,
        steps=625_500,
        optimizer=replace(IMAGENET.optimizer, rate_in_momentum=False, weight_decay=1.5e-6),
        schedule=replace(IMAGENET.schedule, learning_rate=1.6, warmup_steps=6_255, final_fraction=1e-3),
        train=replace(IMAGENET.train, batch_size=2048),
    ),
}


def build(config: Config) -> Experiment:
    """The network, its loss, and everything that image experiments share."""

    def loss(first: Embedding, second: Embedding, weights: jax.Array) -> dict[str, Mean]:
        views = first.projection, second.projection
        return {"barlow_loss": barlow_twins(*views, weights, redundancy=config.redundancy)}

    return wire_pairs(
        config,
        Network(config.encoder, config.projector),
        loss,
        headline=("barlow_loss", "probe_accuracy"),
    )


if __name__ == "__main__":
    main(PRESETS, build)
