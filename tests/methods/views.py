"""Small joint-embedding methods on the embedded digits, which several files of tests share."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from experiments import simclr
from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.evals.collapse import collapse_metrics
from ssl_jax.method import split_variables
from ssl_jax.methods.joint_embedding import Network, joint_embedding
from ssl_jax.models.projection import MlpConfig, ProjectionMlp
from ssl_jax.models.resnet import ResNet, ResNetConfig
from ssl_jax.training.sharding import make_mesh, shard

STEPS = 100
VIEW = replace(simclr.PRESETS["digits"].views[0], rotate=0.0, jitter=0.0)
ENCODER = ResNetConfig(blocks=(1,), bottleneck=False, width=8, stem="small")
HEAD = MlpConfig(hidden=(32,), features=16, last_norm="none")


def make(loss, *, predictor=None, views=(VIEW, VIEW), **settings):
    """A method with a small network, and its metrics of collapse."""
    predictor = predictor and ProjectionMlp(predictor)
    network = Network(ResNet(ENCODER), ProjectionMlp(HEAD), predictor)
    spread = lambda first, second, weights: collapse_metrics(first.projection, weights)  # noqa: E731
    return joint_embedding(
        network, loss, views=views, classes=10, steps=STEPS, pair_metrics=spread, **settings
    )


@functools.cache
def batch(size=32):
    """The first digits."""
    images = open_images(ImageConfig()).train
    rows = [images[i] for i in range(size)]
    return {name: jnp.stack([row[name] for row in rows]) for name in rows[0]} | {
        "example_weight": jnp.ones(size)
    }


@functools.cache
def _variables(method):
    return jax.jit(method.init)(jax.random.key(0), batch())


def init(method):
    """(params, extras) before the first step."""
    return split_variables(_variables(method))


def total(losses):
    """What is minimised."""
    return sum(mean.sum / mean.weight for mean in losses.values())


@functools.cache
def _step(method):
    @jax.jit
    def step(params, extras, rows):
        def loss(params):
            losses, aux = method.loss(params, extras, rows, jax.random.key(1))
            return total(losses), aux.extras

        return jax.value_and_grad(loss, has_aux=True)(params)

    return step


def loss_gradient_extras(method, mesh=None):
    """(loss, gradient, extras after the step) of the batch, on one device or spread over those of a mesh."""
    params, extras = init(method)
    if mesh is None:
        (loss, changed), gradient = _step(method)(params, extras, batch())
        return loss, gradient, changed
    mesh = make_mesh(mesh)
    with jax.set_mesh(mesh):
        params, extras = jax.device_put((params, extras), shard(mesh, (), (params, extras)))
        rows = jax.device_put(batch(), NamedSharding(mesh, PartitionSpec(("data", "fsdp"))))
        (loss, changed), gradient = _step(method)(params, extras, rows)
    return loss, gradient, changed
