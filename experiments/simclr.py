"""SimCLR: each view of an image is to recognise the other among the batch (Chen et al. 2020, arXiv:2002.05709).

    python -m experiments.simclr                            # offline, 2 minutes on 2 CPU cores: 96 %
    python -m experiments.simclr mnist --data.source DIR    # a folder of idx files: 90 %
    python -m experiments.simclr cifar10                    # ResNet-18, 1,000 epochs: linear probe about 91 %
    python -m experiments.simclr cifar10_solo_learn         # the same with other settings: linear probe 90.74 %
    python -m experiments.simclr imagenet --workdir gs://...    # ResNet-50, 1,000 epochs: linear probe 69.3 %
    python -m experiments.simclr imagenet_v2 --workdir gs://... # ResNet-152 3x without selective kernels, 800 epochs

The first two accuracies are of a linear probe with 10 labels per class; raw pixels give 89 % on digits and 75 % on
MNIST, a randomly initialised encoder 71 and 27 %. `cifar10` has the settings and the result of google-research/simclr
(README.md, with the defaults of run.py), `cifar10_solo_learn` those of vturrisi/solo-learn
(scripts/pretrain/cifar/simclr.yaml). `imagenet` has the paper's (2.2, table 6): a linear probe gives 69.3 % with
ResNet-50, 74.2 % with twice and 76.5 % with four times the width; on 128 TPU v3 cores, 100 epochs took the authors 1.5
hours. `imagenet_v2` has the settings of SimCLRv2 (arXiv:2006.10029, section 3) without selective kernels and memory;
for a network three times as wide the authors have results with selective kernels alone (79.8 %, table 1). `stl10` has
no published counterpart.

The paper's brightness is a sum, that of the released code and of this one a product.
The published results are of whole pictures; here, ImageNet's are shrunk to 320 pixels first (recipes/datasets.py).

On TPUs: imagenet on v5e:8x8; imagenet_v2 on v5p:4x4x4 (docs/planning.md).
"""

from dataclasses import dataclass, field, replace

import jax

from ssl_jax.cli import main
from ssl_jax.domains import Temperature
from ssl_jax.losses.joint_embedding import nt_xent
from ssl_jax.method import Mean
from ssl_jax.methods.joint_embedding import Embedding, Network, pairwise
from ssl_jax.models.projection import MlpConfig, ProjectionMlp
from ssl_jax.models.resnet import SIZES, ResNet
from ssl_jax.recipes.views import (
    CIFAR10,
    DIGITS,
    IMAGENET,
    LARS,
    MNIST,
    SOLO_LEARN,
    STL10,
    EmbeddingConfig,
    embedding_experiment,
)
from ssl_jax.training.experiment import Experiment


@dataclass(frozen=True)
class Config(EmbeddingConfig):
    """SimCLR."""

    temperature: Temperature = 0.1
    """Of the softmax: similarities are divided by it."""
    projector: MlpConfig = field(default_factory=MlpConfig)


SMALL_HEAD = MlpConfig(hidden=(128,), features=64)

PRESETS = {
    "digits": Config(**DIGITS, temperature=0.5, projector=SMALL_HEAD),
    "mnist": Config(**MNIST, temperature=0.2, projector=SMALL_HEAD),
    "cifar10": replace(
        Config(**CIFAR10, temperature=0.5, projector=MlpConfig(hidden=(512, 512))),
        optimizer=replace(LARS, weight_decay=1e-4),
        schedule=replace(CIFAR10["schedule"], learning_rate=2.0),
    ),
    "cifar10_solo_learn": replace(
        Config(**SOLO_LEARN, temperature=0.2),
        views=2 * (replace(IMAGENET["views"][0], size=32, centre=1.0),),
        schedule=replace(SOLO_LEARN["schedule"], learning_rate=0.4),
        projector=MlpConfig(
            hidden=(2048,), hidden_norm=False, features=256, last_norm="none", last_bias=True
        ),
    ),
    "stl10": Config(**STL10, temperature=0.5, projector=MlpConfig(hidden=(512,))),
    "imagenet": Config(**IMAGENET, projector=MlpConfig(dtype="bfloat16")),
    "imagenet_v2": replace(
        Config(**IMAGENET),
        steps=249_600,
        encoder=replace(SIZES["resnet152"], width=192, dtype="bfloat16", remat="full"),
        optimizer=replace(LARS, weight_decay=1e-4),
        schedule=replace(IMAGENET["schedule"], learning_rate=6.4, warmup_steps=12_480),
        projector=MlpConfig(hidden=(6144, 6144), dtype="bfloat16"),
    ),
}


def build(config: Config) -> Experiment:
    """The network, and NT-Xent over the global batch."""

    def contrast(first: Embedding, second: Embedding, weights: jax.Array) -> dict[str, Mean]:
        loss = nt_xent(first.projection, second.projection, weights, temperature=config.temperature)
        return {"simclr_loss": loss}

    return embedding_experiment(
        config,
        Network(ResNet(config.encoder), ProjectionMlp(config.projector)),
        pairwise(contrast),
        headline=("simclr_loss", "probe_accuracy"),
        views_share_statistics=True,
    )


if __name__ == "__main__":
    main(PRESETS, build)
