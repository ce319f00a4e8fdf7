"""RotNet: predict by which of four quarter turns an image is rotated (Gidaris et al. 2018, arXiv:1803.07728).

    python -m experiments.rotation                            # offline, 3 minutes on 2 CPU cores: 74 %
    python -m experiments.rotation mnist --data.source DIR    # a folder of idx files
    python -m experiments.rotation cifar10                    # ResNet-18, 100 epochs
    python -m experiments.rotation imagenet --workdir gs://...    # ResNet-50, 30 epochs

The offline accuracy is of a linear probe with 10 labels per class; a randomly initialised encoder gives 71 %, raw
pixels 89 %, as rotation teaches little on 8x8 pixels. The paper's own networks were a Network-in-Network (CIFAR-10:
89.1 % with a non-linear classifier on its second block) and AlexNet (ImageNet: 38.7 % linear on its third layer, table
4). Batch, rate, momentum and weight decay of `cifar10` are those of gidariss/FeatureLearningRotNet (config/
CIFAR10_RotNet_NIN4blocks.py); Nesterov's momentum, steps of the rate and 200 epochs are not. No result of either preset
has been measured. The last layers of a ResNet learn the turns rather than the content; the pooled features that are
probed here are therefore not the best ones of this method.

On TPUs: imagenet on v5e:4x4 (docs/planning.md).
"""

from dataclasses import dataclass, replace

from ssl_jax.cli import main
from ssl_jax.methods.rotation import rotation
from ssl_jax.recipes.views import (
    CIFAR10,
    DIGITS,
    IMAGENET,
    IMAGENET_TRAIN,
    MNIST,
    ViewsConfig,
    mild,
    views_experiment,
)
from ssl_jax.training.experiment import Experiment
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class Config(ViewsConfig):
    """Rotation prediction; it has one view."""


SGD = {
    "optimizer": OptimizerConfig(name="sgd", weight_decay=5e-4, clip_norm=0.0),
    "schedule": ScheduleConfig(learning_rate=0.1, warmup_steps=500, decay="cosine"),
}

PRESETS = {
    "digits": replace(Config(**mild(DIGITS)), steps=750),  # of four turns each: the work of 1,500 pairs
    "mnist": replace(Config(**mild(MNIST)), steps=750),
    "cifar10": replace(
        Config(**mild(CIFAR10)), steps=39_000, train=replace(CIFAR10["train"], batch_size=128), **SGD
    ),
    "imagenet": replace(
        Config(**mild(IMAGENET)), steps=150_000, train=replace(IMAGENET_TRAIN, batch_size=256), **SGD
    ),
}


def build(config: Config) -> Experiment:
    """The encoder, and a classifier of turns."""
    method = rotation(config.encoder, config.views[0], config.classes)
    return views_experiment(config, method, headline=("rotation_loss", "rotation_accuracy", "probe_accuracy"))


if __name__ == "__main__":
    main(PRESETS, build)
