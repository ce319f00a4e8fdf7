"""VQ-VAE, its second stage: a prior over the codes, which makes new images (arXiv:1711.00937, 3.3 and 4.1).

    python -m experiments.vqvae_prior                                # offline, a minute: a VQ-VAE, then its prior
    python -m experiments.vqvae_prior mnist --run runs/vqvae-mnist   # over the codes of a run of experiments.vqvae
    python -m experiments.vqvae_prior cifar10 --run runs/vqvae-cifar10

Without --run the preset's VQ-VAE is trained first, into the folder vqvae/ of the run. It stays as it is; codes are
found on the fly, and the prior, a GPT, reads them row by row (the paper's is a PixelCNN). After each evaluation new
images are in samples/. Bits per dimension are of the whole, codes and 8-bit pixels; see `methods/code_prior.py`.

Held-out digits of the default, seed 0: 2.47 nats a code, and 3.28 by how frequent every code is at its place; 4.67 bits
a dimension, of which 0.89 are the codes. The pixels have 17 of the 256 values that are paid for. On MNIST, 1.55 nats
(2.93) and 2.81 bits.
"""

import re
from dataclasses import dataclass, field, replace

import jax.numpy as jnp
from etils import epath

from experiments import vqvae as first_stage
from ssl_jax.cli import main
from ssl_jax.data.images import batch_shapes
from ssl_jax.errors import UserError
from ssl_jax.method import Tree
from ssl_jax.methods.code_prior import CodePrior, PriorConfig, code_prior
from ssl_jax.methods.partition import TRANSFORMER
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.recipes.datasets import open_image_data
from ssl_jax.reports.prior import report_prior, sample_images
from ssl_jax.runs.configuration import restore_config, run_settings
from ssl_jax.runs.opening import open_run
from ssl_jax.training import loop
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.folder import CONFIG, read_json
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.representations import representations
from ssl_jax.training.schedules import ScheduleConfig

MEASURED = 2_000
"""Training images, at most, that the deviation of what is rebuilt is measured on."""


@dataclass(frozen=True)
class Config(RunConfig):
    """A prior over the codes of a VQ-VAE."""

    steps: int = 2000
    """Length of training."""
    run: str = ""
    """A run of experiments.vqvae, RUN or RUN@STEP; its settings then replace those at `vqvae`. Without one, that VQ-VAE
    is trained first."""
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
        prior=replace(CIFAR10.prior, layers=24, width=1024, heads=16, remat="dots"),
        vqvae=first_stage.PRESETS["imagenet"],
    ),
}


def of_run(source: str) -> tuple[epath.Path, int | None]:
    """Folder and step of RUN@STEP; no step stands for the newest."""
    name, step = re.fullmatch(r"(.*?)(?:@(\d+))?", source).groups()
    return epath.Path(name).expanduser(), int(step) if step else None


def vqvae_config(config: Config) -> first_stage.Config:
    """Of the run that is named, or the preset's."""
    if not config.run:
        return config.vqvae
    folder, _ = of_run(config.run)
    settings = read_json(folder / CONFIG)
    if settings["experiment"] != first_stage.__name__:
        raise UserError(
            f"run {folder}: is one of {settings['experiment']}; expected one of {first_stage.__name__}."
        )
    return restore_config(first_stage.PRESETS[settings["preset"]], settings["config"])


def train_vqvae(config: first_stage.Config, folder: epath.Path) -> None:
    """Trains the first stage to its end, from wherever it stands."""
    settings = run_settings(first_stage.__name__, next(iter(first_stage.PRESETS)), config)
    stopped = loop.train(first_stage.build(config), folder, settings)
    if stopped:
        raise SystemExit(stopped)


def load_vqvae(folder: epath.Path, step: int | None, prior: CodePrior) -> dict[str, Tree]:
    """The frozen extras of the prior: a VQ-VAE, and how far from its training images it rebuilds them."""
    run = open_run(folder)
    steps = run.checkpoints.steps()
    if step is not None and step not in steps:
        raise UserError(f"run {folder}@{step}: has no such checkpoint; there are {steps}.")
    frozen = {"vqvae": run.restore(steps[-1] if step is None else step)}
    images = run.data.train[0][: min(MEASURED, len(run.data.details.train))]
    errors = representations(
        prior.error,
        {"params": {}, **frozen},
        images,
        mesh=run.mesh,
        batch_size=run.experiment.train.batch_size,
    ).features
    # Not below a quarter of a level: images that are rebuilt exactly leave no deviation.
    return {**frozen, "deviation": jnp.sqrt(max(errors.mean(), (1 / 4 / 255) ** 2))}


def make_prior(config: Config) -> CodePrior:
    """The method over the codes of the VQ-VAE."""
    stage = vqvae_config(config)
    return code_prior(
        config.prior,
        first_stage.make_autoencoder(stage),
        grid=stage.network.coarse((stage.size, stage.size)),
        size=stage.size,
        channels=stage.data.channels,
    )


def build(config: Config) -> Experiment:
    """VQ-VAE, prior, data and optimiser, wired."""
    prior, data, seed = make_prior(config), vqvae_config(config).data, config.train.seed

    def frozen(folder: epath.Path) -> dict[str, Tree]:
        if config.run:
            return load_vqvae(*of_run(config.run), prior)
        train_vqvae(config.vqvae, folder / "vqvae")
        return load_vqvae(folder / "vqvae", None, prior)

    return make_experiment(
        config,
        prior.method,
        phases=one_phase(config, batch_shapes(data, config.train.batch_size), "images"),
        open_data=lambda folder: open_image_data(data, classes=0, seed=seed),
        derive=prior.derive,
        rules=TRANSFORMER,
        headline=("code_loss", "bits_per_dim"),
        sample=lambda report: sample_images(report, prior),
        report=lambda report: report_prior(report, prior, seed=seed),
        frozen=frozen,
    )


if __name__ == "__main__":
    main(PRESETS, build)
