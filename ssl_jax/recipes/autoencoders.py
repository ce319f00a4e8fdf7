"""Experiments with autoencoders of images: their configuration, the settings of each data set, and the experiment.

The configuration of an experiment extends one of those below with the fields of its paper, and its presets start from
the settings: `Config(**DIGITS, code_size=10)`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax

from ssl_jax.data.images import ImageConfig, batch_shapes
from ssl_jax.domains import Pixels, PositiveInt, PositiveShare
from ssl_jax.errors import UserError
from ssl_jax.method import Batch, Extras, Method, Represent, Tree
from ssl_jax.methods.autoencoder import Family, Objective, Reconstruct
from ssl_jax.models.autoencoder import AutoencoderConfig
from ssl_jax.models.conv_autoencoder import ConvConfig
from ssl_jax.recipes import datasets
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.recipes.datasets import open_image_data
from ssl_jax.training.experiment import Experiment, Inference, Report, TrainConfig
from ssl_jax.training.mapping import MapFunction
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig

ADAM = OptimizerConfig(weight_decay=0.0, clip_norm=0.0, epsilon=1e-8)
"""Gradients of a mean over pixels are small, so epsilon must be small beside them."""


@dataclass(frozen=True)
class WholeImageConfig(RunConfig):
    """A run on whole images of one size; the defaults are those of the embedded digits."""

    steps: PositiveInt = 2000
    """Optimiser steps of the whole run."""
    size: Pixels = datasets.DIGITS.size
    """Height and width that images are brought to."""
    centre: PositiveShare = 1.0
    """Share of the shorter side that is kept, in the middle."""
    probe_examples: PositiveInt = 10_000
    """Most labelled training images that the probes at the end of the run are fitted to. All held-out images are
    scored; 1 % is of the whole training set."""
    data: ImageConfig = field(default_factory=ImageConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: ADAM)
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(learning_rate=1e-3, warmup_steps=100, decay="cosine")
    )
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(batch_size=128, eval_every=500, save_every=500, keep_every=500)
    )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image as the network receives it: height, width, channels."""
        return self.size, self.size, self.data.channels


@dataclass(frozen=True)
class AutoencodingConfig(WholeImageConfig):
    """A run of one or several autoencoders."""

    network: AutoencoderConfig = field(default_factory=AutoencoderConfig)

    def check_relations(self) -> None:
        super().check_relations()
        self.network.check(self.shape)


@dataclass(frozen=True)
class ReconstructionConfig(AutoencodingConfig):
    """A run of autoencoders that minimise an error of pixels."""

    objective: Objective = "squared_error"
    """What is minimised: the squared error of pixels, or their cross-entropy, as Hinton & Salakhutdinov 2006 and
    Vincent et al. 2008 do. Errors are reported as squares either way."""


Settings = dict[str, Any]
"""Fields of an `AutoencodingConfig` by name."""

DIGITS_OPTIMIZER = replace(ADAM, weight_decay=0.3)
"""So few images need a strong weight decay."""

DIGITS: Settings = {
    "network": AutoencoderConfig(hidden=(512,)),
    "optimizer": DIGITS_OPTIMIZER,
    "schedule": ScheduleConfig(learning_rate=4e-3, warmup_steps=100, decay="cosine"),
    "train": TrainConfig(batch_size=128, eval_every=500, save_every=500, keep_every=500),
}

MNIST: Settings = DIGITS | {
    "size": datasets.MNIST.size,
    "probe_examples": 5_000,
    "data": datasets.MNIST.data,
    "network": AutoencoderConfig(hidden=(512, 256)),
    "optimizer": ADAM,
    "schedule": ScheduleConfig(learning_rate=2e-3, warmup_steps=100, decay="cosine"),
}
"""Four epochs of MNIST, for a laptop's minutes."""

LONG_MNIST: Settings = MNIST | {
    "steps": 46_900,
    "probe_examples": 10_000,
    "data": datasets.TFDS_MNIST.data,
    "network": AutoencoderConfig(hidden=(1000, 500, 250)),
    "schedule": ScheduleConfig(learning_rate=1e-3, warmup_steps=1_000, decay="cosine"),
    "train": TrainConfig(batch_size=256, log_every=100, eval_every=2_345, save_every=2_345, keep_every=4_690),
}
"""200 epochs of MNIST's 60,000 images."""

CIFAR10: Settings = {
    "steps": 97_500,
    "size": datasets.CIFAR10.size,
    "data": datasets.CIFAR10.data,
    "network": AutoencoderConfig(kind="convolutional", convolutional=ConvConfig(), dtype="bfloat16"),
    "schedule": ScheduleConfig(learning_rate=1e-3, warmup_steps=1_000, decay="cosine"),
    "train": TrainConfig(batch_size=512, log_every=100, eval_every=1_950, save_every=1_950, keep_every=9_750),
}
"""1,000 epochs of 50,000 images."""

CELEB_A: Settings = CIFAR10 | {
    "steps": 63_600,
    "size": datasets.CELEB_A.size,
    "centre": datasets.CELEB_A.centre,
    "data": datasets.CELEB_A.data,
    "network": AutoencoderConfig(
        kind="convolutional", convolutional=ConvConfig(width=256, strides=(2, 2, 2, 2)), dtype="bfloat16"
    ),
}
"""200 epochs of 162,770 faces."""


def family_experiment(
    config: ReconstructionConfig,
    family: Family,
    *,
    represented: str,
    headline: tuple[str, ...],
    report: Callable[[Report], None],
    decode: Reconstruct | None = None,
) -> Experiment:
    """The experiment of a family of autoencoders.

    Args:
      config: of the run.
      family: the autoencoders.
      represented: name of the autoencoder whose code is the representation that `linear_eval` probes, and whose
        reconstructions and codes `ssl_jax.load` gives.
      headline: metrics that the progress bar and the plots show.
      report: called at the end of the run.
      decode: `(params, code) -> images` of that autoencoder, where its code is of interest.

    Raises:
      UserError: a clipped global norm would tie several autoencoders together.
    """
    if len(family.encode) > 1 and config.optimizer.clip_norm:
        raise UserError(
            f"optimizer.clip_norm {config.optimizer.clip_norm} would clip the gradients of {len(family.encode)} "
            "autoencoders together, and each would depend on the others; set it to 0, or train one at a time."
        )

    def reconstruct(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        return family.reconstruct[represented](params, family.preprocess(batch))

    encode, inference = family.encode[represented], Inference(reconstruct=reconstruct)
    if decode:
        inference = inference_by_codes(encode, lambda params, extras, code: decode(params, code))
    return image_experiment(
        config, family.method, represent=encode, headline=headline, report=report, inference=inference
    )


def inference_by_codes(
    encode: MapFunction, decode: Callable[[Tree, Extras, jax.Array], jax.Array]
) -> Inference:
    """What an autoencoder with codes does with new images.

    Args:
      encode: `(params, extras, batch) -> codes`.
      decode: `(params, extras, codes) -> images`.
    """

    def decode_batch(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        return decode(params, extras, batch["code"])

    def reconstruct(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        return decode(params, extras, encode(params, extras, batch))

    return Inference(reconstruct=reconstruct, encode=encode, decode=decode_batch)


def image_experiment(
    config: WholeImageConfig,
    method: Method,
    *,
    represent: Represent,
    headline: tuple[str, ...],
    report: Callable[[Report], None],
    inference: Inference,
) -> Experiment:
    """The experiment of any method on whole images: data, optimiser and phase."""
    return make_experiment(
        config,
        method,
        phases=one_phase(config, batch_shapes(config.data, config.train.batch_size), "images"),
        open_data=lambda folder: open_image_data(config.data, classes=0, seed=config.train.seed),
        represent=represent,
        headline=headline,
        report=report,
        inference=inference,
    )
