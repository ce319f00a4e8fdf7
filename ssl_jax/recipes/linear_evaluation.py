"""The papers' linear evaluation: a linear classifier on a frozen encoder, trained on random crops of all images.

It is a run of its own, in linear_eval/paper_STEP of the run folder: it continues after an interruption, on any number
of devices. The encoder is an extra of the model, which gets no gradient.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import flax.linen as nn
import grain
import jax
import jax.numpy as jnp
from etils import epath
from jax.sharding import Mesh

from ssl_jax.data.images import batch_shapes
from ssl_jax.errors import UserError
from ssl_jax.files import write_json
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.methods.online_probe import label_metrics
from ssl_jax.models.resnet import ResNet
from ssl_jax.recipes.base import make_experiment, one_phase
from ssl_jax.recipes.views import ViewsConfig, mild
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.runs.warm_start import placed_like
from ssl_jax.training.experiment import Data, Experiment, Report, Start, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.transforms.images import plain_view, random_views

EVALUATIONS = 9
"""Evaluations during the training of the classifier."""
RESULT = "accuracy"
"""Name of the file with the result."""


def linear_evaluation(
    run: OpenedRun, *, epochs: int, optimizer: Literal["sgd", "lars"], learning_rate: float
) -> Experiment:
    """The training of a linear classifier on the frozen encoder of a run on views of images.

    Args:
      run: with labelled images.
      epochs: passes over all labelled training images.
      optimizer: sgd with Nesterov's momentum, or lars.
      learning_rate: at its peak, of a batch of 256; it grows with the batch and falls along a cosine, without warm-up.

    Raises:
      UserError: the run is not of views of images.
    """
    config = run.config
    if not isinstance(config, ViewsConfig):
        raise UserError(
            f"{run.folder}: a run of {run.settings['experiment']}, which has no encoder of views of images; expected a "
            "run such as that of experiments.simclr. Leave out --protocol paper."
        )
    labelled, size = run.data.labelled["train"], config.train.batch_size
    steps = max(1, round(epochs * len(labelled) / size))
    every = max(1, steps // EVALUATIONS)
    config = replace(
        config,
        steps=steps,
        views=mild({"views": config.views})["views"],
        optimizer=OptimizerConfig(
            name=optimizer, weight_decay=0.0, clip_norm=0.0, nesterov=optimizer == "sgd"
        ),
        schedule=ScheduleConfig(learning_rate=learning_rate * size / 256, warmup_steps=0, decay="cosine"),
        train=TrainConfig(
            batch_size=size, seed=config.train.seed, eval_every=every, save_every=every, keep_every=steps
        ),
    )

    def open_data(folder: epath.Path) -> Data:
        training = labelled.seed(config.train.seed).shuffle().repeat()
        return run.data._replace(train=(training,), heldout=({"heldout": run.data.labelled["heldout"]},))

    return make_experiment(
        config,
        linear_classifier(config, max(config.classes, len(run.data.details.classes))),
        phases=one_phase(config, batch_shapes(config.data, size), "images"),
        open_data=open_data,
        headline=("class_loss", "class_accuracy"),
        starts=(Start(f"the encoder of {run.folder}@{run.step}", _encoder_of(run)),),
        report=lambda report: _report(report, labelled, epochs),
    )


def linear_classifier(config: ViewsConfig, classes: int) -> Method:
    """A classifier of the features of random crops and mirror images, in training, and of plain images, in evaluation.

    Args:
      config: of the run; its first view is that of training.
      classes: number of labels.
    """
    encoder, view = ResNet(config.encoder), config.views[0]
    head = nn.Dense(classes, kernel_init=nn.initializers.normal(0.01))  # as in the codes of MoCo and SimSiam

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        images = jnp.zeros((2, view.size, view.size, batch["image"].shape[-1]), jnp.float32)
        frozen = encoder.init(rng, images, train=True)
        features = jnp.zeros((1, config.encoder.features), jnp.float32)
        return {"params": {"head": head.init(rng, features)["params"]}, "frozen": dict(frozen)}

    def classified(
        params: Tree, extras: Extras, images: jax.Array, batch: Batch
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        features = encoder.apply(extras["frozen"], images, train=False).astype(jnp.float32)
        return label_metrics("class", head.apply({"params": params["head"]}, features), batch)

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        images = random_views(rng, batch["image"], batch["extent"], view)
        losses, metrics = classified(params, extras, images, batch)
        return losses, Aux(metrics, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        images = plain_view(batch["image"], batch["extent"], view.size, view.centre)
        losses, metrics = classified(params, extras, images, batch)
        return losses | metrics

    return Method(init, loss, evaluate)


def _encoder_of(run: OpenedRun) -> Callable[..., Mapping[str, Tree]]:
    """`Start.load`, which takes the encoder of the run with its batch statistics."""

    def load(
        variables: Mapping[str, Tree], folder: epath.Path, mesh: Mesh, log: Callable[[str], None]
    ) -> Mapping[str, Tree]:
        theirs = run.restore()
        frozen = {"params": theirs["params"]["encoder"], "batch_stats": theirs["batch_stats"]["encoder"]}
        return {**variables, "frozen": jax.tree.map(placed_like, frozen, variables["frozen"])}

    return load


def _report(report: Report, labelled: grain.MapDataset, epochs: int) -> None:
    heldout = report.data.labelled["heldout"]
    accuracy = report.metrics["heldout"]["class_accuracy"]
    report.log(
        f"linear evaluation: {accuracy:.1%} of {len(heldout):,} held-out images are right; the classifier was trained "
        f"on random crops of all {len(labelled):,} training images, {epochs} times"
    )
    if report.writes:
        result = {"accuracy": accuracy, "fitted": len(labelled), "scored": len(heldout), "epochs": epochs}
        write_json(report.folder / f"{RESULT}.json", result)
