"""The smallest experiment: a denoising autoencoder on 8x8 digits (after Vincent et al. 2008).

    python -m experiments.minimal        # seconds on a laptop's CPU: held-out error 0.024; of the noisy image 0.090

The method below is complete; sharding, checkpoints, resuming, logs, plots and evaluation come with the machinery.
Copy this file to prototype a loss of your own.
"""

from dataclasses import dataclass, field

import grain
import jax
import jax.numpy as jnp
from etils import epath

from ssl_jax.cli import main
from ssl_jax.data.digits import Digits, batch_shapes
from ssl_jax.domains import Stddev, Width
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.training.experiment import Data, Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig


def denoising(width: int, noise: float) -> Method:
    """Reconstructs an image from a noisy copy of it through `width` hidden units."""

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        pixels = batch["image"].shape[-1]
        down, up = jax.random.split(rng)
        encoder = jax.random.normal(down, (pixels, width), jnp.float32) / pixels**0.5
        decoder = jax.random.normal(up, (width, pixels), jnp.float32) / width**0.5
        return {"params": {"encoder": encoder, "decoder": decoder}}

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        clean = batch["image"]
        noisy = clean + noise * jax.random.normal(rng, clean.shape, jnp.float32)
        reconstruction = jnp.tanh(noisy @ params["encoder"]) @ params["decoder"]
        error = jnp.square(reconstruction - clean).mean(-1)
        return {"reconstruction_loss": Mean.of(error, batch["example_weight"])}, Aux({}, extras)

    return Method(init, loss)


@dataclass(frozen=True)
class Config(RunConfig):
    """Denoising autoencoder."""

    width: Width = 32
    """Hidden units."""
    noise: Stddev = 0.3
    """Standard deviation of the noise; pixels are in [0, 1]."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(weight_decay=0.0, clip_norm=0.0, epsilon=1e-8)
    )
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(learning_rate=3e-3, warmup_steps=0, decay="constant")
    )
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(batch_size=64, eval_every=200, save_every=200)
    )


PRESETS = {"digits": Config()}


def build(config: Config) -> Experiment:
    """The method and its data."""

    def open_data(folder: epath.Path) -> Data:
        training = grain.MapDataset.source(Digits(heldout=False)).seed(config.train.seed).shuffle().repeat()
        heldout = grain.MapDataset.source(Digits(heldout=True))
        return Data(train=(training,), heldout=({"heldout": heldout},), identity={})

    return make_experiment(
        config,
        denoising(config.width, config.noise),
        phases=one_phase(config, batch_shapes(config.train.batch_size), "images"),
        open_data=open_data,
        headline=("reconstruction_loss",),
    )


if __name__ == "__main__":
    main(PRESETS, build)
