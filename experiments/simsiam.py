"""SimSiam: BYOL without a target network, with a stop-gradient alone (Chen & He 2020, arXiv:2011.10566).

    python -m experiments.simsiam                            # offline, 2 minutes on 2 CPU cores: 96 %
    python -m experiments.simsiam mnist --data.source DIR    # a folder of idx files
    python -m experiments.simsiam cifar10                    # ResNet-18, 800 epochs: linear probe 91.8 %
    python -m experiments.simsiam imagenet --workdir gs://...    # ResNet-50, 100 epochs: linear probe 68.1 %

The offline accuracy is of a linear probe with 10 labels per class; raw pixels give 89 %. Without the stop-gradient or
the predictor the representation collapses: `embedding_std` falls to 0.

`imagenet` has the settings and the result of facebookresearch/simsiam (main_simsiam.py with --fix-pred-lr, README.md),
`cifar10` those of the paper's appendix D. In both the rate falls at every step, in the released code once an epoch.
The published results are of whole pictures; here, ImageNet's are shrunk to 320 pixels first (recipes/datasets.py).

On TPUs: imagenet on v5e:4x4 (docs/planning.md).
"""

from dataclasses import dataclass, replace

import jax

from ssl_jax.cli import main
from ssl_jax.losses.joint_embedding import symmetric_regression
from ssl_jax.method import Mean
from ssl_jax.methods.joint_embedding import Embedding, Network, pairwise
from ssl_jax.models.projection import MlpConfig, ProjectionMlp
from ssl_jax.models.resnet import ResNet
from ssl_jax.recipes.views import (
    CIFAR10,
    DIGITS,
    IMAGENET,
    IMAGENET_TRAIN,
    MNIST,
    MOCO_VIEW,
    EmbeddingConfig,
    embedding_experiment,
)
from ssl_jax.training.experiment import Experiment
from ssl_jax.training.optimizers import OptimizerConfig, ParameterGroup
from ssl_jax.training.schedules import ScheduleConfig


def simsiam(first: Embedding, second: Embedding, weights: jax.Array) -> dict[str, Mean]:
    """The network predicts the projection of each view from the other view: the paper's equation 4, plus 1."""
    predictions, targets = (first.prediction, second.prediction), (first.projection, second.projection)
    return {"simsiam_loss": symmetric_regression(predictions, targets, weights).scaled(1 / 4)}


PROJECTOR = MlpConfig(hidden=(2048, 2048), features=2048, last_norm="plain")
PREDICTOR = MlpConfig(hidden=(512,), features=2048, last_norm="none", last_bias=True)


@dataclass(frozen=True)
class Config(EmbeddingConfig):
    """SimSiam."""

    projector: MlpConfig = PROJECTOR
    predictor: MlpConfig = PREDICTOR


SMALL = {
    "projector": replace(PROJECTOR, hidden=(128, 128), features=128),
    "predictor": replace(PREDICTOR, hidden=(32,), features=128),
    "schedule": replace(DIGITS["schedule"], learning_rate=5e-3),
}
SGD = OptimizerConfig(
    name="sgd",
    weight_decay=1e-4,
    no_decay="$^",  # the paper decays everything
    clip_norm=0.0,
    groups=(ParameterGroup("predictor", "^predictor/", decay="constant"),),
)
"""The predictor's learning rate does not decay: section 4.2 of the paper, --fix-pred-lr of facebookresearch/simsiam."""

PRESETS = {
    "digits": replace(Config(**DIGITS), **SMALL),
    "mnist": replace(Config(**MNIST), **SMALL),
    "cifar10": replace(
        Config(**CIFAR10),
        steps=77_600,
        views=2 * (replace(MOCO_VIEW, size=32, centre=1.0, blur=0.0),),
        projector=replace(PROJECTOR, hidden=(2048,)),
        optimizer=replace(SGD, weight_decay=5e-4),
        schedule=ScheduleConfig(learning_rate=0.06, warmup_steps=0, decay="cosine"),
    ),
    "imagenet": replace(
        Config(**IMAGENET),
        steps=250_200,
        views=2 * (MOCO_VIEW,),
        optimizer=SGD,
        schedule=ScheduleConfig(learning_rate=0.1, warmup_steps=0, decay="cosine"),
        train=replace(IMAGENET_TRAIN, batch_size=512),
    ),
}


def build(config: Config) -> Experiment:
    """The network, and the symmetric regression on its own projections."""
    return embedding_experiment(
        config,
        Network(ResNet(config.encoder), ProjectionMlp(config.projector), ProjectionMlp(config.predictor)),
        pairwise(simsiam),
        headline=("simsiam_loss", "probe_accuracy", "embedding_std"),
    )


if __name__ == "__main__":
    main(PRESETS, build)
