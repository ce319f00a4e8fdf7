"""The contract: what a method may leave out, and how means are made and evaluated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.minimal import denoising
from ssl_jax.errors import UserError
from ssl_jax.method import Aux, Mean, Method, evaluate, merge_metrics, named_means, split_variables

BATCH = {
    "image": jnp.asarray(np.random.default_rng(0).uniform(size=(6, 4)), jnp.float32),
    "example_weight": jnp.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0]),
}
KEY = jax.random.key(1)


def scalar_method(params, extras, batch, rng):
    """The squared mean of the pixels, which is no mean over examples."""
    return jnp.square((params * batch["image"]).mean()), Aux(
        {"pixels": Mean.of(*2 * (batch["image"],))}, extras
    )


def test_an_evaluation_is_that_of_the_losses_and_metrics_unless_the_method_has_its_own():
    params, extras = split_variables({"params": jnp.float32(2.0), "state": jnp.ones(())})
    assert extras == {"state": 1}
    method = Method(init=None, loss=scalar_method)
    found = evaluate(method, params, extras, BATCH, KEY)
    assert found.keys() == {"loss", "pixels"}
    loss, aux = scalar_method(params, extras, BATCH, KEY)
    assert found["loss"].weight == 4
    np.testing.assert_allclose(found["loss"].sum, 4 * loss, rtol=1e-6)
    np.testing.assert_array_equal(found["pixels"], aux.metrics["pixels"])

    own = method._replace(evaluate=lambda params, extras, batch, rng: {"own": (params, extras["state"])})
    assert evaluate(own, params, extras, BATCH, KEY) == {"own": Mean(params, extras["state"])}


def test_rows_without_weight_count_for_nothing():
    method = denoising(width=3, noise=0.1)
    params, extras = split_variables(method.init(KEY, BATCH))
    other = BATCH["image"].at[4:].set(7.0)
    found, same = (
        evaluate(method, params, extras, {**BATCH, "image": image}, KEY)["reconstruction_loss"]
        for image in (BATCH["image"], other)
    )
    assert found.weight == same.weight == 4
    np.testing.assert_allclose(found.sum, same.sum, rtol=1e-6)


@pytest.mark.parametrize("factor", [0.5, jnp.float32(3)])
def test_a_scaled_mean_keeps_its_weight(factor):
    mean = Mean.of(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.5]))
    assert mean.scaled(factor) == (2 * factor, 1.5)


def test_two_metrics_of_one_name_are_refused_rather_than_one_hidden():
    one = {"alignment": Mean(jnp.float32(1), jnp.float32(1))}
    assert merge_metrics(one, {"alignment_loss": (2, 1)}) == one | {"alignment_loss": Mean(2, 1)}
    with pytest.raises(UserError, match=r"alignment: two losses or metrics .* rename"):
        merge_metrics(one, {"alignment": (2, 1)})

    method = Method(init=None, loss=lambda *_: (one, Aux(one, {})))
    with pytest.raises(UserError, match="alignment"):
        evaluate(method, {}, {}, BATCH, KEY)


def test_named_losses_keep_their_names_and_become_means():
    assert named_means({"a": (jnp.float32(6), jnp.float32(2))}, BATCH) == {"a": Mean(6, 2)}
