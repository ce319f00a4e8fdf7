"""No method leaves it to JAX which dtype a result has: neither one of two dtypes, nor one that has no dtype given.

In float32 the methods are traced where JAX's default dtypes have 64 bits (`jax_enable_x64`), in bfloat16 where they
have 32, as everywhere else.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import pytest

from ssl_jax.cli import parse
from ssl_jax.method import evaluate, split_variables
from ssl_jax.runs.listing import import_experiment
from ssl_jax.training.step import gradients
from tests.cases import SMALL, length


def computed_in(config, dtype):
    """The configuration with all its networks in this dtype."""
    changes = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "dtype":
            changes["dtype"] = dtype
        elif dataclasses.is_dataclass(value):
            changes[field.name] = computed_in(value, dtype)
    return dataclasses.replace(config, **changes)


def heldout(name, batch):
    """Shapes of a held-out batch, where its rows differ from those of training."""
    image, tokens = batch.get("image"), batch.get("tokens")
    added = {
        "anomaly_detection": lambda: {
            "image": jax.ShapeDtypeStruct((image.shape[0], *image.shape[2:]), image.dtype),
            "extent": jax.ShapeDtypeStruct((image.shape[0], 2), jnp.int32),
            "normal": jax.ShapeDtypeStruct(image.shape[:2], jnp.float32),
        },
        "gpt2": lambda: {"bytes": jax.ShapeDtypeStruct(tokens.shape, jnp.int32)},
        "gpt3_in_context": lambda: {
            "shown": jax.ShapeDtypeStruct((tokens.shape[0], tokens.shape[1] // 2), jnp.int32)
        },
    }
    return {**batch, **added[name]()} if name in added else batch


def trace(method, batch, heldout, rng):
    """All that a method computes, once."""
    variables = method.init(rng, batch)
    params, extras = split_variables(variables)
    step = gradients(method, params, extras, batch, rng[None])
    after = method.after_update(params, step[-1], jnp.int32(1))
    return variables, step, evaluate(method, params, step[-1], heldout, rng), after


BATCH_NORMALISED = (
    "barlow_twins",
    "byol",
    "dino",
    "moco",
    "simclr",
    "simsiam",
    "vicreg",
    "rotation",
    "image_classifier",
)
"""Whose networks have Flax's batch normalisation, which promotes bfloat16 by itself."""


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, "float32") for name in SMALL]
    + [(name, "bfloat16") for name in SMALL if name not in BATCH_NORMALISED],
)
def test_no_dtype_is_left_to_jax(name, dtype, tmp_path):
    module = import_experiment(f"experiments.{name}")
    arguments = [str(word) for word in [*SMALL[name](tmp_path), *length(2, 1)]]
    config = computed_in(parse(arguments, module.PRESETS, name).config, dtype)
    experiment = module.build(config)
    with jax.numpy_dtype_promotion("strict"), jax.enable_x64(dtype == "float32"):
        found = [
            jax.eval_shape(
                functools.partial(trace, phase.method or experiment.method),
                phase.batch,
                heldout(name, phase.batch),
                jax.random.key(0),
            )
            for phase in experiment.phases
        ]
    for path, leaf in jax.tree_util.tree_leaves_with_path(found):
        assert leaf.dtype.itemsize <= 4, f"{jax.tree_util.keystr(path)} is {leaf.dtype}"
