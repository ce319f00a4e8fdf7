"""DINO: a student predicts what its moving average says of another view (Caron et al. 2021, arXiv:2104.14294).

python -m experiments.dino                            # offline, 2 minutes on 2 CPU cores
python -m experiments.dino mnist --data.source DIR    # a folder of idx files
python -m experiments.dino cifar10                    # ResNet-18, 1,000 epochs
python -m experiments.dino imagenet --workdir gs://...    # ResNet-50, 800 epochs: linear probe 75.3 %

"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from ssl_jax.cli import main
from ssl_jax.losses.joint_embedding import dino, teacher_entropy, teacher_temperature, update_centre
from ssl_jax.method import Aux, Batch, Mean, Tree
from ssl_jax.methods.joint_embedding import Embedding, Network, ViewsLoss
from ssl_jax.methods.target_network import TargetConfig
from ssl_jax.models.projection import MlpConfig
from ssl_jax.models.prototypes import PrototypeHead
from ssl_jax.models.resnet import ResNet
from ssl_jax.recipes.views import CIFAR10, DIGITS, IMAGENET, LARS, MNIST, ViewsConfig, embedding_experiment
from ssl_jax.training.experiment import Experiment

HEAD = MlpConfig(hidden=(2048, 2048), features=256, last_norm="none", last_bias=True)
TEACHER = TargetConfig(decay=0.996, start="copy")


@dataclass(frozen=True)
class Config(ViewsConfig):
    """DINO. The teacher sees the first two views, the student all."""

    prototypes: int = 60_000
    """Outputs of the head, over which teacher and student have a distribution."""
    student_temperature: float = 0.1
    """Of the student's softmax."""
    teacher_temperatures: tuple[float, float] = (0.04, 0.07)
    """Of the teacher's softmax at the first step and after its warm-up."""
    temperature_steps: int = 15_600
    """Length of that warm-up."""
    centre_momentum: float = 0.9
    """Share of itself that the centre keeps in a step."""
    projector: MlpConfig = HEAD
    target: TargetConfig = TEACHER


SMALL = {
    "prototypes": 256,
    "temperature_steps": 300,
    "projector": replace(HEAD, hidden=(128, 128), features=64),
    "target": replace(TEACHER, decay=0.99),
}
GLOBAL = replace(
    IMAGENET["views"][0], crop_area=(0.14, 1.0), brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1
)
SOLARISED = replace(GLOBAL, blur=0.1, solarise=0.2)
LOCAL = replace(GLOBAL, size=96, crop_area=(0.05, 0.14), blur=0.5)

PRESETS = {
    "digits": Config(**DIGITS, **SMALL),
    "mnist": Config(**MNIST, **SMALL),
    "cifar10": Config(**CIFAR10, prototypes=4096),
    "imagenet": replace(
        Config(**IMAGENET),
        steps=249_600,
        views=(replace(GLOBAL, blur=1.0), SOLARISED, *6 * (LOCAL,)),
        optimizer=replace(LARS, rate_in_momentum=False),
        schedule=replace(IMAGENET["schedule"], final_fraction=1e-3),
        projector=replace(HEAD, dtype="bfloat16"),
    ),
}


def self_distillation(config: Config) -> ViewsLoss:
    """The student's distribution of each view against the teacher's of another view."""

    def temperature(step: jax.Array | int) -> jax.Array:
        first, last = config.teacher_temperatures
        return teacher_temperature(step, first=first, last=last, warmup_steps=config.temperature_steps)

    def loss(views: Sequence[Embedding], batch: Batch, state: Tree) -> tuple[dict[str, Mean], Aux]:
        students, teachers = [view.projection for view in views], [view.target for view in views[:2]]
        centre, warmth, weights = state["centre"], state["temperature"], batch["example_weight"]
        temperatures = {"student_temperature": config.student_temperature, "teacher_temperature": warmth}
        losses = {"dino_loss": dino(students, teachers, centre, weights, **temperatures)}
        metrics = {"teacher_entropy": teacher_entropy(teachers, centre, weights, temperature=warmth)}
        centre = update_centre(centre, teachers, weights, momentum=config.centre_momentum)
        return losses, Aux(metrics, {**state, "centre": centre})

    return ViewsLoss(
        loss,
        init_state=lambda rng: {"centre": jnp.zeros(config.prototypes), "temperature": temperature(1)},
        after_update=lambda state, step: {**state, "temperature": temperature(step + 1)},
    )


def build(config: Config) -> Experiment:
    """The student, its moving average as the teacher, and the centre."""
    return embedding_experiment(
        config,
        Network(ResNet(config.encoder), PrototypeHead(config.projector, config.prototypes)),
        self_distillation(config),
        headline=("dino_loss", "teacher_entropy", "probe_accuracy"),
        target=config.target,
        target_views=(0, 1),
        views_share_statistics=True,
    )


if __name__ == "__main__":
    main(PRESETS, build)
