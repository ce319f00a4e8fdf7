"""Barlow Twins: views agree in every feature, and no two features correlate (Zbontar et al. 2021, arXiv:2103.03230).

    python -m experiments.barlow_twins                            # offline, 2 minutes on 2 CPU cores: 93 %
    python -m experiments.barlow_twins mnist --data.source DIR    # a folder of idx files
    python -m experiments.barlow_twins cifar10                    # ResNet-18, 1,000 epochs: linear probe 92.10 %
    python -m experiments.barlow_twins imagenet --workdir gs://...    # ResNet-50, 1,000 epochs: linear probe 73.5 %

The offline accuracy is of a linear probe with 10 labels per class; raw pixels give 89 %. The README explains this file
as an example of a new loss.

`cifar10` has the settings and the result of vturrisi/solo-learn (scripts/pretrain/cifar/barlow.yaml; the paper has none
for CIFAR-10), `imagenet` those of the released code (facebookresearch/barlowtwins, main.py and README.md). The paper
(arXiv:2103.03230, section 2.2) has a weight decay of 1.5e-6 and a redundancy weight of 0.005, and reports 73.2 %.
The published results are of whole pictures; here, ImageNet's are shrunk to 320 pixels first (recipes/datasets.py).

On TPUs: imagenet on v5e:8x8 (docs/planning.md).
"""

from dataclasses import dataclass, replace

import jax

from ssl_jax.cli import main
from ssl_jax.domains import NonNegativeFloat, PositiveFloat
from ssl_jax.losses.joint_embedding import barlow_twins
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
from ssl_jax.training.optimizers import ParameterGroup

HEAD = MlpConfig(hidden=(8192, 8192), features=8192, last_norm="none")


@dataclass(frozen=True)
class Config(EmbeddingConfig):
    """Barlow Twins."""

    redundancy: NonNegativeFloat = 5e-3
    """Weight of the correlations between different features."""
    scale: PositiveFloat = 1.0
    """Factor on the whole loss. LARS does not depend on it, but biases and norms, which it does not adapt, do."""
    projector: MlpConfig = HEAD


BIASES = ParameterGroup("bias", "^(encoder|projector)/.*(bias|scale)$", rate=0.024)
"""Biases and norm parameters have a lower learning rate: 0.0048 where the other parameters have 0.2, both x batch / 256
(facebookresearch/barlowtwins)."""

SMALL = {"redundancy": 0.02, "projector": replace(HEAD, hidden=(128, 128), features=128)}

PRESETS = {
    "digits": Config(**DIGITS, **SMALL),
    "mnist": Config(**MNIST, **SMALL),
    "cifar10": Config(
        **SOLO_LEARN,
        redundancy=0.0051,
        scale=0.1,
        projector=replace(HEAD, hidden=(2048, 2048), features=2048, last_bias=True),
    ),
    "imagenet": replace(
        Config(**LONG_IMAGENET, redundancy=0.0051),
        optimizer=replace(LONG_IMAGENET["optimizer"], groups=(BIASES,)),
    ),
}


def build(config: Config) -> Experiment:
    """The network, and the correlation of the projections of two views."""

    def loss(first: Embedding, second: Embedding, weights: jax.Array) -> dict[str, Mean]:
        projections = first.projection, second.projection
        agreement = barlow_twins(*projections, weights, redundancy=config.redundancy)
        return {"barlow_loss": agreement.scaled(config.scale)}

    return embedding_experiment(
        config,
        Network(ResNet(config.encoder), ProjectionMlp(config.projector)),
        pairwise(loss),
        headline=("barlow_loss", "probe_accuracy"),
    )


if __name__ == "__main__":
    main(PRESETS, build)
