"""VICReg: views agree, every feature varies, no two vary together (Bardes, Ponce & LeCun 2021, arXiv:2105.04906).

    python -m experiments.vicreg                            # offline, 2 minutes on 2 CPU cores
    python -m experiments.vicreg mnist --data.source DIR    # a folder of idx files
    python -m experiments.vicreg cifar10                    # ResNet-18, 1,000 epochs: linear probe 92.07 %
    python -m experiments.vicreg imagenet --workdir gs://...    # ResNet-50, 1,000 epochs: linear probe 73.2 %

The report at the end shows a linear probe with 10 labels per class beside one of raw pixels, 89 % on the digits.

`cifar10` has the settings and the result of vturrisi/solo-learn (scripts/pretrain/cifar/vicreg.yaml; the paper has none
for CIFAR-10). It adds the hinges of the two views, which are averaged here: its weight of 25 is 50 here. `imagenet` has
those of the released code (facebookresearch/vicreg, main_vicreg.py and README.md: batch 2,048, base rate 0.2).
The published results are of whole pictures; here, ImageNet's are shrunk to 320 pixels first (recipes/datasets.py).

On TPUs: imagenet on v5e:8x8 (docs/planning.md).
"""

from dataclasses import dataclass, replace

import jax

from ssl_jax.cli import main
from ssl_jax.domains import NonNegativeFloat
from ssl_jax.losses.joint_embedding import vicreg
from ssl_jax.method import Mean
from ssl_jax.methods.joint_embedding import Embedding, Network, pairwise
from ssl_jax.models.projection import MlpConfig, ProjectionMlp
from ssl_jax.models.resnet import ResNet
from ssl_jax.recipes.views import (
    DIGITS,
    LONG_IMAGENET,
    MNIST,
    SOLO_LEARN,
    EmbeddingConfig,
    embedding_experiment,
)
from ssl_jax.training.experiment import Experiment

HEAD = MlpConfig(hidden=(8192, 8192), features=8192, last_norm="none")


@dataclass(frozen=True)
class Config(EmbeddingConfig):
    """VICReg."""

    invariance: NonNegativeFloat = 25.0
    """Weight of the squared distance of the two views."""
    variance: NonNegativeFloat = 25.0
    """Weight of the hinge that keeps every feature's standard deviation at 1."""
    covariance: NonNegativeFloat = 1.0
    """Weight of the covariances between different features."""
    projector: MlpConfig = HEAD


SMALL = {"projector": replace(HEAD, hidden=(128, 128), features=128)}
SOLO_VIEW = replace(SOLO_LEARN["views"][0], crop_area=(0.2, 1.0), solarise=0.1)

PRESETS = {
    "digits": Config(**DIGITS, **SMALL),
    "mnist": Config(**MNIST, **SMALL),
    "cifar10": Config(
        **SOLO_LEARN | {"views": 2 * (SOLO_VIEW,)},
        variance=50.0,
        projector=replace(HEAD, hidden=(2048, 2048), features=2048, last_bias=True),
    ),
    "imagenet": Config(**LONG_IMAGENET),
}


def build(config: Config) -> Experiment:
    """The network, and the three weighted terms of the loss."""

    def loss(first: Embedding, second: Embedding, weights: jax.Array) -> dict[str, Mean]:
        terms = vicreg(first.projection, second.projection, weights)
        return {f"{name}_loss": term.scaled(getattr(config, name)) for name, term in terms.items()}

    return embedding_experiment(
        config,
        Network(ResNet(config.encoder), ProjectionMlp(config.projector)),
        pairwise(loss),
        headline=("loss", "invariance_loss", "probe_accuracy"),
    )


if __name__ == "__main__":
    main(PRESETS, build)
