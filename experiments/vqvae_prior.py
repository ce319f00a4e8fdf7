"""The second stage of VQ-VAE: a prior over its codes, from which images are sampled (arXiv:1711.00937, 3.3 and 4.1).

    python -m experiments.vqvae_prior                                # offline, a minute: a VQ-VAE, then its prior
    python -m experiments.vqvae_prior mnist --run runs/vqvae-mnist   # over the codes of a run of experiments.vqvae
    python -m experiments.vqvae_prior cifar10 --run runs/vqvae-cifar10

Without --run the preset's VQ-VAE is trained first, in the folder vqvae/ of the run; with it, that run is copied there,
so that the run folder is complete. The VQ-VAE stays frozen; its codes are computed on the fly, and the prior, a GPT,
reads them row by row (the paper's prior is a PixelCNN). After each evaluation, new images are in samples/. Bits per
dimension are those of codes and 8-bit pixels together; see `methods/code_prior.py`.

Held-out digits of the default preset, seed 0: 2.47 nats per code (3.28 from the frequency of each code at its place);
4.67 bits per dimension, of which 0.89 are the codes'. The digits use 17 of the 256 pixel values that the likelihood
covers. On MNIST: 1.55 nats per code (2.93) and 2.81 bits per dimension. No result of the larger presets has been
measured. In the paper, CIFAR-10 has 4.67 bits per dimension (section 4.1) with 8x8x10 codes, as in cifar10; which prior
and which distribution of pixels that is with, it does not say.

On TPUs: imagenet on v5e:4x4 (docs/planning.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import jax.numpy as jnp

from experiments import vqvae as first_stage
from ssl_jax.cli import main
from ssl_jax.data.images import batch_shapes
from ssl_jax.domains import PositiveInt, Text
from ssl_jax.method import Tree
from ssl_jax.methods.code_prior import CodePrior, PriorConfig, code_prior
from ssl_jax.methods.partition import TRANSFORMER
from ssl_jax.recipes.autoencoders import inference_by_codes
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.recipes.datasets import open_image_data
from ssl_jax.reports.code_prior import report_code_prior, sample_images
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.runs.prerequisites import PlannedRun, Prerequisite
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.mapping import map_examples
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig

MEASURED = 2_000
"""Training images, at most, that the deviation of a reconstruction from its image is measured on."""


@dataclass(frozen=True)
class Config(RunConfig):
    """A prior over the codes of a VQ-VAE."""

    steps: PositiveInt = 2000
    """Length of training."""
    run: Text = ""
    """A run of experiments.vqvae, RUN or RUN@STEP; its settings then replace those at `vqvae`. It is copied into vqvae/
    of the run folder. Without one, that VQ-VAE is trained first."""
    copies: ClassVar[Mapping[str, str]] = {"run": "vqvae"}
    """Folder that the named run is copied to."""
    prior: PriorConfig = field(default_factory=PriorConfig)
    vqvae: first_stage.Config = field(default_factory=first_stage.Config)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(beta2=0.98, epsilon=1e-8, weight_decay=0.1)
    )
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(learning_rate=2e-3, warmup_steps=100, decay="cosine")
    )
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(batch_size=128, eval_every=500, save_every=500, keep_every=500)
    )


MNIST = Config(prior=PriorConfig(layers=3, width=96), vqvae=first_stage.PRESETS["mnist"])

CIFAR10 = Config(
    steps=100_000,
    prior=PriorConfig(layers=12, width=512, heads=8, initializer_stddev=0.02, dtype="bfloat16"),
    vqvae=first_stage.PRESETS["cifar10"],
    schedule=ScheduleConfig(learning_rate=6e-4, warmup_steps=2_000, decay="cosine", final_fraction=0.1),
    train=TrainConfig(batch_size=256, log_every=100, eval_every=5_000, save_every=5_000, keep_every=10_000),
)

PRESETS = {
    "digits": Config(
        steps=600,  # 1,497 images are learnt by heart after that
        prior=PriorConfig(dropout=0.2),
        train=TrainConfig(batch_size=128, eval_every=200, save_every=200, keep_every=200),
    ),
    "mnist": MNIST,
    "tfds_mnist": replace(MNIST, steps=20_000, vqvae=first_stage.PRESETS["tfds_mnist"]),
    "cifar10": CIFAR10,
    "celeb_a": replace(CIFAR10, vqvae=first_stage.PRESETS["celeb_a"]),
    "imagenet": replace(
        CIFAR10,
        steps=500_000,
        prior=replace(CIFAR10.prior, layers=24, width=1024, heads=16, remat="full"),
        vqvae=first_stage.PRESETS["imagenet"],
    ),
}


def first_run(config: Config) -> Prerequisite:
    """The VQ-VAE: of the run that is named, or the preset's, which is trained first."""
    preset = next(iter(first_stage.PRESETS))
    return Prerequisite(
        config.copies["run"], PlannedRun(first_stage.__name__, preset, config.vqvae), run=config.run
    )


def freeze(run: OpenedRun, prior: CodePrior) -> dict[str, Tree]:
    """The frozen extras of the prior: a VQ-VAE, and how far its reconstructions are from its training images."""
    frozen = {"vqvae": run.restore()}
    images = run.data.train[0][: min(MEASURED, len(run.data.details.train))]
    errors = map_examples(
        prior.error,
        {"params": {}, **frozen},
        images,
        mesh=run.mesh,
        batch_size=run.experiment.train.batch_size,
    )
    # Not below a quarter of a level: images that are reconstructed exactly leave no deviation.
    return {**frozen, "deviation": jnp.sqrt(max(errors.mean(), (1 / 4 / 255) ** 2))}


def make_prior(config: Config) -> CodePrior:
    """The method over the codes of the VQ-VAE."""
    stage = first_run(config).config
    return code_prior(
        config.prior,
        first_stage.make_autoencoder(stage),
        size=stage.size,
        channels=stage.data.channels,
    )


def build(config: Config) -> Experiment:
    """VQ-VAE, prior, data and optimiser, wired."""
    prior, first, seed = make_prior(config), first_run(config), config.train.seed
    data = first.config.data
    return make_experiment(
        config,
        prior.method,
        phases=one_phase(config, batch_shapes(data, config.train.batch_size), "images"),
        open_data=lambda folder: open_image_data(data, classes=0, seed=seed),
        derive=prior.derive,
        rules=TRANSFORMER,
        headline=("code_loss", "bits_per_dim"),
        sample=lambda report: sample_images(report, prior),
        report=lambda report: report_code_prior(report, prior, seed=seed),
        inference=inference_by_codes(
            lambda *example: prior.encode(*example).reshape(-1, *prior.grid),
            lambda params, extras, codes: prior.decode(extras, codes),
        )._replace(data=data, score=prior.score),
        starts=(first.start(lambda run: freeze(run, prior)),),
    )


if __name__ == "__main__":
    main(PRESETS, build)
