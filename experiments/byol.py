"""BYOL: predict what a moving average of the network makes of another view (Grill et al. 2020, arXiv:2006.07733).

    python -m experiments.byol                            # offline, 2 minutes on 2 CPU cores: 94 %
    python -m experiments.byol mnist --data.source DIR    # a folder of idx files: 88 %
    python -m experiments.byol cifar10                    # ResNet-18, 1,000 epochs: linear probe 92.58 %
    python -m experiments.byol imagenet --workdir gs://...    # ResNet-50, 1,000 epochs: linear probe 74.3 %

The first two accuracies are of a linear probe with 10 labels per class; raw pixels give 89 % on digits and 75 % on
MNIST. There are no negatives: the predictor on one side only, and the target that gets no gradient, keep the
representation from collapsing. A collapse shows in `embedding_std` and `effective_rank`. The paper's ImageNet run took
8 hours on 512 TPU v3 cores.

`cifar10` has the settings and the result of vturrisi/solo-learn (scripts/pretrain/cifar/byol.yaml; the paper has none
for CIFAR-10), `imagenet` those of the released code (deepmind-research/byol, configs/byol.py) and of the paper's table
1. `stl10` has no published counterpart.
The published results are of whole pictures; here, ImageNet's are shrunk to 320 pixels first (recipes/datasets.py).

On TPUs: imagenet on v5p:4x4x4 (docs/planning.md).
"""

from dataclasses import dataclass, field, replace

import jax

from ssl_jax.cli import main
from ssl_jax.losses.joint_embedding import symmetric_regression
from ssl_jax.method import Mean
from ssl_jax.methods.joint_embedding import Embedding, Network, pairwise
from ssl_jax.methods.target_network import TargetConfig
from ssl_jax.models.projection import MlpConfig, ProjectionMlp
from ssl_jax.models.resnet import ResNet
from ssl_jax.recipes.views import (
    BYOL_VIEWS,
    DIGITS,
    IMAGENET,
    IMAGENET_SCHEDULE,
    LARS,
    MNIST,
    SOLO_LEARN,
    STL10,
    EmbeddingConfig,
    embedding_experiment,
)
from ssl_jax.training.experiment import Experiment

HEAD = MlpConfig(hidden=(4096,), features=256, last_norm="none")


@dataclass(frozen=True)
class Config(EmbeddingConfig):
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
SOLO_HEAD = replace(HEAD, last_bias=True)

PRESETS = {
    "digits": replace(Config(**DIGITS), **SMALL),
    "mnist": replace(Config(**MNIST), **SMALL),
    "cifar10": replace(
        Config(**SOLO_LEARN),
        optimizer=replace(SOLO_LEARN["optimizer"], weight_decay=1e-5),
        schedule=replace(SOLO_LEARN["schedule"], learning_rate=1.0),
        projector=SOLO_HEAD,
        predictor=SOLO_HEAD,
        target=TargetConfig(decay=0.99, start="copy"),
    ),
    "stl10": replace(Config(**STL10), optimizer=BYOL_LARS, target=TargetConfig(decay=0.99)),
    "imagenet": replace(
        Config(**IMAGENET),
        views=BYOL_VIEWS,
        optimizer=BYOL_LARS,
        schedule=replace(IMAGENET_SCHEDULE, learning_rate=3.2),
        projector=PAPER_HEAD,
        predictor=PAPER_HEAD,
    ),
}


def regress(first: Embedding, second: Embedding, weights: jax.Array) -> dict[str, Mean]:
    """The network predicts the target of each view from the other view."""
    predictions, targets = (first.prediction, second.prediction), (first.target, second.target)
    return {"byol_loss": symmetric_regression(predictions, targets, weights)}


def build(config: Config) -> Experiment:
    """The network, its moving average as the target, and the symmetric regression."""
    return embedding_experiment(
        config,
        Network(ResNet(config.encoder), ProjectionMlp(config.projector), ProjectionMlp(config.predictor)),
        pairwise(regress),
        headline=("byol_loss", "probe_accuracy", "embedding_std"),
        target=config.target,
    )


if __name__ == "__main__":
    main(PRESETS, build)
