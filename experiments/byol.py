"""BYOL: predict what a slowly moving average of oneself says of another view (Grill et al. 2020, arXiv:2006.07733).

    python -m experiments.byol                            # offline, 2 minutes on 2 CPU cores: 94 %
    python -m experiments.byol mnist --data.source DIR    # a folder of idx files: 88 %
    python -m experiments.byol cifar10                    # ResNet-18, 1,000 epochs: linear probe 92.6 % (solo-learn)
    python -m experiments.byol imagenet --workdir gs://...    # ResNet-50, 1,000 epochs: linear probe 74.3 %

The first two figures are of a linear probe with 10 labels a class; raw pixels give 89 % on digits and 75 % on MNIST.
There are no negatives: the predictor on one side only, and the target that gets no gradient, keep the representation
from collapsing. Watch `embedding_std` and `effective_rank`. The paper's ImageNet run took 8 hours on 512 TPU v3 cores.
"""

from dataclasses import dataclass, field, replace

import jax

from ssl_jax.cli import main
from ssl_jax.losses.joint_embedding import cosine_regression
from ssl_jax.method import Mean
from ssl_jax.methods.joint_embedding import Embedding, Network, TargetConfig
from ssl_jax.models.projection import MlpConfig
from ssl_jax.recipes.views import (
    CIFAR10,
    DIGITS,
    IMAGENET,
    IMAGENET_SCHEDULE,
    IMAGENET_VIEW,
    LARS,
    MNIST,
    STL10,
    ViewsConfig,
    pair_experiment,
)
from ssl_jax.training.experiment import Experiment

HEAD = MlpConfig(hidden=(4096,), features=256, last_norm="none")


@dataclass(frozen=True)
class Config(ViewsConfig):
    """BYOL."""

    projector: MlpConfig = HEAD
    predictor: MlpConfig = HEAD
    target: TargetConfig = field(default_factory=TargetConfig)


SMALL_HEAD = replace(HEAD, hidden=(256,), features=64)
SMALL = {
    "projector": SMALL_HEAD,
    "predictor": SMALL_HEAD,
    "target": TargetConfig(decay=0.95),  # a target that follows within the few steps there are
    "schedule": replace(DIGITS["schedule"], learning_rate=5e-3),
}
BYOL_LARS = replace(LARS, rate_in_momentum=False, weight_decay=1.5e-6)
PAPER_HEAD = replace(HEAD, dtype="bfloat16")
BLURRED = replace(IMAGENET_VIEW, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, blur=1.0)
SOLARISED = replace(BLURRED, blur=0.1, solarise=0.2)

PRESETS = {
    "digits": replace(Config(**DIGITS), **SMALL),
    "mnist": replace(Config(**MNIST), **SMALL),
    "cifar10": replace(Config(**CIFAR10), optimizer=BYOL_LARS, target=TargetConfig(decay=0.99)),
    "stl10": replace(Config(**STL10), optimizer=BYOL_LARS, target=TargetConfig(decay=0.99)),
    "imagenet": replace(
        Config(**IMAGENET),
        views=(BLURRED, SOLARISED),
        optimizer=BYOL_LARS,
        schedule=replace(IMAGENET_SCHEDULE, learning_rate=3.2),
        projector=PAPER_HEAD,
        predictor=PAPER_HEAD,
    ),
}


def regress(first: Embedding, second: Embedding, weights: jax.Array) -> dict[str, Mean]:
    """The online network predicts each view's target from the other view (equation 2, in both directions)."""
    total, weight = cosine_regression(first.prediction, second.target, weights)
    other, _ = cosine_regression(second.prediction, first.target, weights)
    return {"byol_loss": (total + other, weight)}


def build(config: Config) -> Experiment:
    """Online and target network, the symmetric regression, and everything that image experiments share."""
    return pair_experiment(
        config,
        Network(config.encoder, config.projector, config.predictor),
        regress,
        headline=("byol_loss", "probe_accuracy", "embedding_std"),
        target=config.target,
    )


if __name__ == "__main__":
    main(PRESETS, build)
