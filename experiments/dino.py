"""DINO: predict a teacher's distribution over prototypes from another view (Caron et al. 2021, arXiv:2104.14294).

    python -m experiments.dino                            # offline, 2 minutes on 2 CPU cores: 96 %
    python -m experiments.dino mnist --data.source DIR    # a folder of idx files
    python -m experiments.dino cifar10                    # ResNet-18, 1,000 epochs: linear probe 89.52 %
    python -m experiments.dino imagenet --workdir gs://...    # ResNet-50, 800 epochs: linear probe 75.3 %, k-NN 67.5 %

The offline accuracy is of a linear probe with 10 labels per class; raw pixels give 89 %. On a sixth of the training
digits, by which the settings of `digits` were chosen, it is 98.6 %; with a learning rate of 2e-3 96.6 %, and with a
decay of 0.99 and a temperature that rises to 0.07 as well 90.8 %. In a collapse `teacher_entropy` is log(prototypes) or
0, and `dino_loss` equals it.

`imagenet` has the settings and the results of facebookresearch/dino for ResNet-50 (main_dino.py; args.txt of the
released weights; README.md), `cifar10` those of vturrisi/solo-learn (scripts/pretrain/cifar/dino.yaml; the paper has
none for CIFAR-10). Differences: in both codes the head has GELU, and the prototypes do not move in the first epoch; in
the authors' code batch statistics are over crops of both sizes, and the teacher is probed.
The published results are of whole pictures; here, ImageNet's are shrunk to 320 pixels first (recipes/datasets.py).

On TPUs: imagenet on v5p:4x4x4 (docs/planning.md).
"""

from dataclasses import dataclass, replace
from typing import Annotated

import jax.numpy as jnp

from ssl_jax.cli import main
from ssl_jax.domains import NonNegativeInt, Probability, Temperature, integers
from ssl_jax.losses.joint_embedding import TeacherState, dino, linear_warmup, teacher_entropy, update_centre
from ssl_jax.method import Aux, Batch
from ssl_jax.methods.joint_embedding import LossOutput, Network, Views, ViewsLoss
from ssl_jax.methods.target_network import TargetConfig
from ssl_jax.models.projection import MlpConfig
from ssl_jax.models.prototypes import PrototypeHead
from ssl_jax.models.resnet import ResNet
from ssl_jax.recipes.views import (
    DIGITS,
    IMAGENET,
    LARS,
    MNIST,
    SOLO_LEARN,
    EmbeddingConfig,
    embedding_experiment,
)
from ssl_jax.training.experiment import Experiment

HEAD = MlpConfig(hidden=(2048, 2048), features=256, last_norm="none", last_bias=True)
TEACHER = TargetConfig(decay=0.996, start="copy")


@dataclass(frozen=True)
class Config(EmbeddingConfig):
    """DINO. The student sees all views, the teacher the first two."""

    prototypes: Annotated[int, integers(2, 2**20)] = 60_000
    """Outputs of the head."""
    temperatures: tuple[Temperature, Temperature] = (0.04, 0.07)
    """Of the teacher's softmax, at the first step and from temperature_steps on; the student's is 0.1."""
    temperature_steps: NonNegativeInt = 15_600
    """Steps over which the teacher's temperature rises."""
    centre_momentum: Probability = 0.9
    """Share of itself that the centre of the teacher's outputs keeps in a step."""
    projector: MlpConfig = HEAD
    target: TargetConfig = TEACHER


SMALL_HEAD = replace(HEAD, hidden=(128, 128), features=64)
SMALL = {"prototypes": 256, "temperatures": (0.04, 0.04), "projector": SMALL_HEAD}
FASTER = {"schedule": replace(DIGITS["schedule"], learning_rate=5e-3), "target": replace(TEACHER, decay=0.95)}
VIEW = replace(IMAGENET["views"][0], brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
GLOBAL, LOCAL = replace(VIEW, crop_area=(0.14, 1.0)), replace(VIEW, size=96, crop_area=(0.05, 0.14))
PRESETS = {
    "digits": replace(Config(**DIGITS, **SMALL), **FASTER),
    "mnist": replace(Config(**MNIST, **SMALL), **FASTER),
    "cifar10": replace(
        Config(**SOLO_LEARN, prototypes=4096, temperatures=(0.07, 0.07)),
        projector=replace(HEAD, hidden_norm=False),
        optimizer=replace(SOLO_LEARN["optimizer"], weight_decay=1e-6),
        target=replace(TEACHER, decay=0.9995),
    ),
    "imagenet": replace(
        Config(**IMAGENET, projector=replace(HEAD, dtype="bfloat16")),
        steps=249_600,
        views=(replace(GLOBAL, blur=1.0), replace(GLOBAL, blur=0.1, solarise=0.2), *6 * (LOCAL,)),
        optimizer=replace(LARS, rate_in_momentum=False),
        schedule=replace(IMAGENET["schedule"], final_fraction=1e-3),
    ),
}


def build(config: Config) -> Experiment:
    """The student, its moving average as the teacher, and the distance of their distributions of different views."""
    warm_up = *config.temperatures, config.temperature_steps

    def distil(views: Views, batch: Batch, state: TeacherState) -> LossOutput:
        students, teachers = [view.projection for view in views], [view.target for view in views[:2]]
        given = teachers, state, batch["example_weight"]
        metrics = {"teacher_entropy": teacher_entropy(*given)}
        state = update_centre(*given, momentum=config.centre_momentum)
        return {"dino_loss": dino(students, *given)}, Aux(metrics, state)

    return embedding_experiment(
        config,
        Network(ResNet(config.encoder), PrototypeHead(config.projector, config.prototypes)),
        ViewsLoss(
            distil,
            init_state=lambda rng: TeacherState(
                jnp.zeros(config.prototypes, jnp.float32), linear_warmup(1, *warm_up)
            ),
            after_update=lambda state, step: state._replace(temperature=linear_warmup(step + 1, *warm_up)),
        ),
        headline=("dino_loss", "teacher_entropy", "probe_accuracy"),
        target=config.target,
        target_views=(0, 1),
        views_share_statistics=True,
    )


if __name__ == "__main__":
    main(PRESETS, build)
