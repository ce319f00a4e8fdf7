"""Views of each image through one network, and a loss that compares them: what SimCLR, BYOL, MoCo and DINO share.

A new objective is a function of the embeddings of the views: a `PairLoss` where two embeddings and nothing else decide
it, or a `ViewsLoss`, which also has more views, labels and a state without gradient, such as a queue. The views, the
batch statistics, the target network, the online probe and the metrics on held-out images come from here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.errors import UserError
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree, merge_metrics
from ssl_jax.methods.image_method import ImageMethod, blank_views, frozen_encoder
from ssl_jax.methods.online_probe import init_probe, probe_metrics
from ssl_jax.methods.target_network import TargetConfig, target_decay, update_target
from ssl_jax.transforms.images import ViewConfig, random_views


class Embedding(NamedTuple):
    """One view of every image of the global batch; each array is [batch, width], or None where nothing computes it.

    Attributes:
      representation: output of the encoder; None for a view that the network does not see.
      projection: output of the projector; None likewise.
      prediction: output of the predictor; None likewise, and without a predictor.
      target: projection by the target network, which gets no gradient; None for a view that the target does not see,
        and without a target network.
    """

    representation: jax.Array | None = None
    projection: jax.Array | None = None
    prediction: jax.Array | None = None
    target: jax.Array | None = None


Views = Sequence[Embedding]
"""One embedding per view, in the order of the views."""
LossOutput = tuple[Mapping[str, Mean], Aux]
"""`(losses, Aux(metrics, state))`."""


class ViewsLoss(NamedTuple):
    """An objective on any number of views.

    Attributes:
      loss: `(views, batch, state) -> (losses, Aux(metrics, state))`, on the global batch. The sum of the means of
        `losses` is minimised; metrics are logged. Every loss reads `batch["example_weight"]`, and one on labels
        `batch["label"]`, which is -1 for images without one. Each micro-batch receives the state that the one before
        it returned; an evaluation drops the new state.
      init_state: `(rng) -> state`, arrays without gradient; they are at `loss_state` in the extras of the method. None
        for a loss without state, which receives None.
      after_update: `(state, step) -> state`, once per optimiser step; `step` counts from 1. For schedules.
    """

    loss: Callable[[Views, Batch, Tree], LossOutput]
    init_state: Callable[[jax.Array], Tree] | None = None
    after_update: Callable[[Tree, jax.Array], Tree] | None = None


PairLoss = Callable[[Embedding, Embedding, jax.Array], Mapping[str, Mean]]
"""`(first view, second view, weights [batch]) -> named means`; the sum of the means is minimised."""
PairMetrics = Callable[[Embedding, Embedding, jax.Array], Mapping[str, Mean]]
"""Of the same form; logged, not minimised."""


def pairwise(loss: PairLoss) -> ViewsLoss:
    """A loss on two views without state as a `ViewsLoss`.

    Raises:
      UserError: when the loss is called with more or fewer than two views.
    """

    def on_views(views: Views, batch: Batch, state: None) -> LossOutput:
        if len(views) != 2:
            raise UserError(f"views: this loss compares 2 views of an image, not {len(views)}.")
        return loss(*views, batch["example_weight"]), Aux({}, state)

    return ViewsLoss(on_views)


class Network(nn.Module):
    """Encoder, projector and, where there is one, predictor.

    Attributes:
      encoder: module `(images [batch, size, size, channels], train) -> [batch, features]`.
      projector: module `([batch, features], train) -> [batch, width]`.
      predictor: module `([batch, width], train) -> [batch, width]`, or None.
    """

    encoder: nn.Module
    projector: nn.Module
    predictor: nn.Module | None = None

    def __call__(self, images: jax.Array, train: bool) -> Embedding:
        """Embeds one view.

        Args:
          images: float32 [batch, size, size, channels].
          train: batch normalisation takes the statistics of this batch, and updates the running ones.
        """
        representation = self.encoder(images, train)
        projection = self.projector(representation, train)
        prediction = None if self.predictor is None else self.predictor(projection, train)
        return Embedding(representation, projection, prediction)


def joint_embedding(
    network: Network,
    loss: ViewsLoss,
    *,
    views: Sequence[ViewConfig],
    classes: int,
    steps: int,
    pair_metrics: PairMetrics = lambda first, second, weights: {},
    target: TargetConfig | None = None,
    network_views: Sequence[int] | None = None,
    target_views: Sequence[int] | None = None,
    views_share_statistics: bool = False,
    parts: int = 1,
) -> ImageMethod:
    """A method whose loss compares views of each image.

    Args:
      network: what is trained.
      loss: the objective; see `pairwise` for one on two views.
      views: how each view is made; they may differ in size.
      classes: of the online probe, a linear classifier that is trained beside on the labels and whose gradient does not
        reach the encoder; 0 for none.
      steps: of the whole run, for the target's schedule.
      pair_metrics: of the first two views of held-out images, beside the loss.
      target: of the target network, if the loss reads `Embedding.target`.
      network_views: numbers of the views that the network sees in training, counted from 0; None for all. In an
        evaluation it sees all, for the metrics.
      target_views: numbers of the views that the target network sees; None for all.
      views_share_statistics: batch normalisation of the training step sees all views of one size as one batch (SimCLR,
        DINO) instead of one after the other.
      parts: in which the networks see the images of a training step, one after the other; see `embed`.
    """
    represent = frozen_encoder(network.encoder, views[0])
    target_network = Network(network.encoder, network.projector)
    everything = range(len(views))
    network_views = everything if network_views is None else network_views
    target_views = everything if target_views is None else target_views

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        network_rng, target_rng, probe_rng = jax.random.split(rng, 3)
        image = blank_views(views[0], batch)
        embedding, variables = network.init_with_output(network_rng, image, train=True)
        extras = {"batch_stats": variables.get("batch_stats", {})}
        if target is not None:
            own = target.start == "own"
            start = target_network.init(target_rng, image, train=True) if own else variables
            extras["target"] = {
                kind: {name: tree for name, tree in start.get(kind, {}).items() if name != "predictor"}
                for kind in ("params", "batch_stats")
            }
        if loss.init_state is not None:
            extras["loss_state"] = loss.init_state(jax.random.fold_in(rng, 3))
        probe = init_probe(probe_rng, embedding.representation.shape[-1], classes)
        return {"params": {**variables["params"], **probe}, **extras}

    def embed_views(
        params: Tree, extras: Extras, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[list[Embedding], dict[str, Tree]]:
        """The embeddings of all views, and the extras with the batch statistics after them."""
        keys = jax.random.split(rng, len(views))
        images = [
            random_views(key, batch["image"], batch["extent"], view)
            for key, view in zip(keys, views, strict=True)
        ]
        embeddings = [Embedding()] * len(views)
        seen = network_views if train else everything
        variables = {"params": params, "batch_stats": extras["batch_stats"]}
        outputs, batch_stats = embed(
            network,
            variables,
            [images[i] for i in seen],
            train=train,
            together=views_share_statistics,
            parts=parts,
        )
        extras = {**extras, "batch_stats": batch_stats}
        for i, output in zip(seen, outputs, strict=True):
            embeddings[i] = output
        if target is not None:
            outputs, batch_stats = embed(
                target_network,
                extras["target"],
                [images[i] for i in target_views],
                train=train and target.statistics == "batch",
                together=views_share_statistics,
                parts=parts,
            )
            extras["target"] = {**extras["target"], "batch_stats": batch_stats}
            for i, output in zip(target_views, outputs, strict=True):
                embeddings[i] = embeddings[i]._replace(target=jax.lax.stop_gradient(output.projection))
        return embeddings, extras

    def training_loss(
        params: Tree, extras: Extras, batch: Batch, rng: jax.Array
    ) -> tuple[dict[str, Mean], Aux]:
        embeddings, extras = embed_views(params, extras, batch, rng, train=True)
        losses, aux = loss.loss(embeddings, batch, extras.get("loss_state"))
        if loss.init_state is not None:
            extras["loss_state"] = aux.extras
        representation = embeddings[network_views[0]].representation
        probe_losses, metrics = probe_metrics(params, representation, batch)
        return {**losses, **probe_losses}, Aux({**aux.metrics, **metrics}, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        embeddings, extras = embed_views(params, extras, batch, rng, train=False)
        losses, aux = loss.loss(embeddings, batch, extras.get("loss_state"))
        probe_losses, metrics = probe_metrics(params, represent(params, extras, batch), batch)
        pair = pair_metrics(*embeddings[:2], batch["example_weight"])
        return merge_metrics(losses, aux.metrics, probe_losses, metrics, pair)

    def after_update(params: Tree, extras: Extras, step: jax.Array) -> dict[str, Tree]:
        extras = dict(extras)
        if target is not None:
            now = {"params": params, "batch_stats": extras["batch_stats"]}
            extras["target"] = update_target(target, extras["target"], now, target_decay(target, step, steps))
        if loss.after_update is not None:
            extras["loss_state"] = loss.after_update(extras["loss_state"], step)
        return extras

    return ImageMethod(Method(init, training_loss, evaluate, after_update), represent)


def embed(
    network: Network,
    variables: Mapping[str, Tree],
    images: Sequence[jax.Array],
    *,
    train: bool,
    together: bool,
    parts: int = 1,
) -> tuple[list[Embedding], Tree]:
    """Views through a network, and its batch statistics after them.

    Args:
      network: with or without predictor.
      variables: {"params": ..., "batch_stats": ...}.
      images: for each view float32 [batch, size, size, channels].
      train: batch normalisation takes the statistics of the batch and updates the running ones.
      together: in training, all views of one size are one batch; otherwise each view is. In an evaluation they always
        are one batch.
      parts: in training, images are embedded in so many parts, one after the other, and each part is computed again in
        the backward pass: the activations of one part are in memory (gradient caching, arXiv:2101.06983). Embeddings
        and gradients are those of the whole batch, but batch statistics are those of a part.
    """
    params, batch_stats = variables["params"], variables["batch_stats"]
    embeddings = [Embedding()] * len(images)
    # Without batch statistics nothing depends on the grouping, and one pass compiles in a fraction of the time of many.
    for group in _of_one_size(images) if together or not train else [[i] for i in range(len(images))]:
        joined = _interleave([images[i] for i in group])
        if train:
            batch_stats, output = _in_training(network, params, batch_stats, joined, len(group), parts)
        else:
            output = network.apply({"params": params, "batch_stats": batch_stats}, joined, train=False)
        for i, embedding in zip(group, _apart(output, len(group)), strict=True):
            embeddings[i] = embedding
    return embeddings, batch_stats


def _in_training(
    network: Network, params: Tree, batch_stats: Tree, images: jax.Array, views: int, parts: int
) -> tuple[Tree, Embedding]:
    """Batch statistics after images `[batch * views, ...]`, and their embeddings; see `embed`."""

    def apply(batch_stats: Tree, images: jax.Array) -> tuple[Tree, Embedding]:
        variables = {"params": params, "batch_stats": batch_stats}
        output, changed = network.apply(variables, images, train=True, mutable=["batch_stats"])
        return changed.get("batch_stats", {}), output

    if parts == 1:
        return apply(batch_stats, images)

    # Every `parts`-th image, so that each part is spread over all devices, with all its views.
    def split(x: jax.Array) -> jax.Array:
        apart = x.reshape(-1, parts, views, *x.shape[1:])
        return jnp.swapaxes(apart, 0, 1).reshape(parts, -1, *x.shape[1:])

    def join(x: jax.Array) -> jax.Array:
        apart = x.reshape(parts, -1, views, *x.shape[2:])
        return jnp.swapaxes(apart, 0, 1).reshape(-1, *x.shape[2:])

    batch_stats, output = jax.lax.scan(jax.checkpoint(apply, prevent_cse=False), batch_stats, split(images))
    return batch_stats, jax.tree.map(join, output)


def _of_one_size(images: Sequence[jax.Array]) -> Iterable[list[int]]:
    """Numbers of the views, grouped by size."""
    groups: dict[int, list[int]] = {}
    for i, image in enumerate(images):
        groups.setdefault(image.shape[1], []).append(i)
    return groups.values()


def _interleave(images: Sequence[jax.Array]) -> jax.Array:
    """Views as one batch, in which those of an image are neighbours, so that they stay on the device that holds it."""
    if len(images) == 1:
        return images[0]
    return jnp.stack(images, axis=1).reshape(-1, *images[0].shape[1:])


def _apart(embedding: Embedding, views: int) -> list[Embedding]:
    """The embeddings of each of the views that were interleaved."""
    if views == 1:
        return [embedding]
    apart = jax.tree.map(lambda x: x.reshape(-1, views, *x.shape[1:]), embedding)
    return [jax.tree.map(lambda x, i=i: x[:, i], apart) for i in range(views)]
