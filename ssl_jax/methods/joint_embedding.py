"""Two views of each image through one network, and a loss that compares them: what SimCLR, BYOL and their kin share.

A new objective is a `PairLoss`, a pure function of the two embeddings. Views, batch statistics, the target network, the
online probe and the figures on held-out images come from here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.methods.image_method import ImageMethod, blank_views, frozen_encoder
from ssl_jax.methods.online_probe import init_probe, probe_metrics
from ssl_jax.models.projection import MlpConfig, ProjectionMlp
from ssl_jax.models.resnet import ResNet, ResNetConfig
from ssl_jax.transforms.images import ViewConfig, random_views


class Embedding(NamedTuple):
    """One view of every image of a batch, as the network and its target see it; all [batch, width].

    prediction: None without a predictor. target: the projection by the target network, None without one.
    """

    representation: jax.Array
    projection: jax.Array
    prediction: jax.Array | None = None
    target: jax.Array | None = None


PairLoss = Callable[[Embedding, Embedding, jax.Array], Mapping[str, Mean]]
"""`(first view, second view, weights [batch]) -> named (sum, weight) pairs`; the mean of each is minimised."""


class Network(nn.Module):
    """Encoder, projector and, where there is one, predictor."""

    encoder: ResNetConfig
    projector: MlpConfig
    predictor: MlpConfig | None = None

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> Embedding:
        representation = ResNet(self.encoder, name="encoder")(images, train)
        projection = ProjectionMlp(self.projector, name="projector")(representation, train)
        prediction = None
        if self.predictor is not None:
            prediction = ProjectionMlp(self.predictor, name="predictor")(projection, train)
        return Embedding(representation, projection, prediction)


@dataclass(frozen=True)
class TargetConfig:
    """A second network whose parameters are a moving average of the first one's (BYOL, arXiv:2006.07733)."""

    decay: float = 0.996
    """Share of itself that the target keeps at the first step; rises to 1 as a cosine. 0.99 for short runs."""
    start: Literal["own", "copy"] = "own"
    """The target begins with weights of its own, as in deepmind-research/byol, or as a copy of the online network."""


def target_decay(config: TargetConfig, step: jax.Array, steps: int) -> jax.Array:
    """The decay of the moving average at a step that counts from 1, of a run of `steps` (arXiv:2006.07733, 3.2)."""
    progress = (step - 1) / steps
    return 1 - (1 - config.decay) * (jnp.cos(jnp.pi * progress) + 1) / 2


PairMetrics = Callable[[Embedding, Embedding, jax.Array], Mapping[str, Mean]]
"""Of the same form as a `PairLoss`; watched, not minimised."""


def joint_embedding(
    network: Network,
    pair_loss: PairLoss,
    *,
    views: tuple[ViewConfig, ViewConfig],
    classes: int,
    steps: int,
    pair_metrics: PairMetrics = lambda first, second, weights: {},
    target: TargetConfig | None = None,
    views_share_statistics: bool = False,
) -> ImageMethod:
    """A method whose loss compares two views of each image.

    Args:
      network: what is trained.
      pair_loss: the objective.
      views: how either view is made; a pair, since some methods treat them differently.
      classes: of the online probe, a linear classifier that is trained beside on the labels and whose gradient does not
        reach the encoder; 0 for none.
      steps: of the whole run, for the target's schedule.
      pair_metrics: of the two embeddings of held-out images, beside the loss.
      target: of the moving average, if the loss reads `Embedding.target`.
      views_share_statistics: batch normalisation sees both views as one batch (SimCLR) instead of one after the other.
    """
    represent = frozen_encoder(network.encoder, views[0])
    target_network = Network(network.encoder, network.projector)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        network_rng, target_rng, probe_rng = jax.random.split(rng, 3)
        image = blank_views(views[0], batch)
        variables = dict(network.init(network_rng, image, train=True))
        params = dict(variables["params"])
        extras = {"batch_stats": variables["batch_stats"]}
        if target is not None:
            start = (
                variables if target.start == "copy" else target_network.init(target_rng, image, train=True)
            )
            extras["target"] = {
                kind: {name: start[kind][name] for name in ("encoder", "projector")}
                for kind in ("params", "batch_stats")
            }
        probe = init_probe(probe_rng, network.encoder.features, classes)
        return {"params": {**params, **probe}, **extras}

    def embed(
        which: Network, params: Tree, batch_stats: Tree, pair: tuple[jax.Array, jax.Array], train: bool
    ) -> tuple[tuple[Embedding, Embedding], Tree]:
        """Both views through a network, and its batch statistics after them."""

        def apply(images: jax.Array, batch_stats: Tree) -> tuple[Embedding, Tree]:
            variables = {"params": params, "batch_stats": batch_stats}
            if not train:
                return which.apply(variables, images, train=False), batch_stats
            embedding, changed = which.apply(variables, images, train=True, mutable=["batch_stats"])
            return embedding, changed["batch_stats"]

        if train and views_share_statistics:
            # Interleaved, so that both views of an image stay on the device that holds it.
            together, batch_stats = apply(
                jnp.stack(pair, axis=1).reshape(-1, *pair[0].shape[1:]), batch_stats
            )
            apart = jax.tree.map(lambda x: x.reshape(-1, 2, *x.shape[1:]), together)
            return (
                jax.tree.map(lambda x: x[:, 0], apart),
                jax.tree.map(lambda x: x[:, 1], apart),
            ), batch_stats
        first, batch_stats = apply(pair[0], batch_stats)
        second, batch_stats = apply(pair[1], batch_stats)
        return (first, second), batch_stats

    def both_views(
        params: Tree, extras: Extras, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[tuple[Embedding, Embedding], dict[str, Tree]]:
        pair = tuple(
            random_views(key, batch["image"], batch["extent"], view)
            for key, view in zip(jax.random.split(rng), views, strict=True)
        )
        (first, second), batch_stats = embed(network, params, extras["batch_stats"], pair, train)
        extras = {**extras, "batch_stats": batch_stats}
        if target is not None:
            variables = extras["target"]
            seen, target_stats = embed(
                target_network, variables["params"], variables["batch_stats"], pair, train
            )
            first = first._replace(target=seen[0].projection)
            second = second._replace(target=seen[1].projection)
            extras["target"] = {**variables, "batch_stats": target_stats}
        return (first, second), extras

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        (first, second), extras = both_views(params, extras, batch, rng, train=True)
        losses = dict(pair_loss(first, second, batch["example_weight"]))
        probe_losses, metrics = probe_metrics(params, first.representation, batch)
        return losses | probe_losses, Aux(metrics, extras)

    def after_update(params: Tree, extras: Extras, step: jax.Array) -> Mapping[str, Tree]:
        decay = target_decay(target, step, steps)
        average = jax.tree.map(
            lambda old, new: decay * old + (1 - decay) * new,
            extras["target"]["params"],
            {name: params[name] for name in extras["target"]["params"]},
        )
        return {**extras, "target": {**extras["target"], "params": average}}

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        pair, _ = both_views(params, extras, batch, rng, train=False)
        weights = batch["example_weight"]
        probe_losses, metrics = probe_metrics(params, represent(params, extras, batch), batch)
        return {**pair_loss(*pair, weights), **probe_losses, **metrics, **pair_metrics(*pair, weights)}

    method = Method(init, loss, evaluate)
    if target is not None:
        method = method._replace(after_update=after_update)
    return ImageMethod(method, represent)
