"""The step: exact accumulation, randomness from (seed, step) alone, and the guard against NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssl_jax.method import Aux, Method
from ssl_jax.training.experiment import Phase
from ssl_jax.training.state import initial_state
from ssl_jax.training.step import (
    gradients,
    make_initial_state,
    make_train_step,
    mean,
    objective,
    split_batch,
    step_rng,
)
from tests.training import toys

KEYS = jax.random.split(jax.random.key(0), 4)


def named(params, extras, batch, rng):
    """Two losses with weights of their own, so uneven that one part of the batch may have none."""
    error = jnp.square(batch["x"] @ params["w"] - batch["x"]).sum(-1)
    losses = {
        "first": ((error * batch["first"]).sum(), batch["first"].sum()),
        "second": (jnp.sum(jnp.sqrt(1 + error) * batch["second"]), batch["second"].sum()),
    }
    return losses, Aux({"seen": (batch["x"].sum(), jnp.float32(len(error)))}, {"count": extras["count"] + 1})


def uneven_batch(size: int = 24) -> dict[str, jax.Array]:
    chance = np.random.default_rng(3)
    first, second = chance.integers(0, 5, size), chance.random(size)
    first[::4] = 0  # a whole micro-batch without weight, where parts take every fourth example
    return {
        "x": jnp.asarray(chance.normal(size=(size, 3)), jnp.float32),
        "first": jnp.asarray(first, jnp.float32),
        "second": jnp.asarray(second, jnp.float32),
    }


PARAMS = {"w": jnp.asarray(np.random.default_rng(1).normal(size=(3, 3)), jnp.float32)}
EXTRAS = {"count": jnp.zeros(())}


@pytest.mark.parametrize("parts", [2, 4])
def test_micro_batches_of_uneven_weight_give_the_gradient_of_the_whole_batch(parts: int) -> None:
    batch = uneven_batch()

    def whole(params):
        losses, _ = named(params, EXTRAS, batch, None)
        return sum(total / weight for total, weight in losses.values())

    loss, grads = jax.value_and_grad(whole)(PARAMS)
    method = Method(None, named)
    found, found_loss, metrics, extras = gradients(method, PARAMS, EXTRAS, batch, KEYS[:parts])
    np.testing.assert_allclose(found["w"], grads["w"], rtol=2e-6)
    np.testing.assert_allclose(found_loss, loss, rtol=1e-6)
    for name, pair in named(PARAMS, EXTRAS, batch, None)[0].items():
        np.testing.assert_allclose(metrics[name], pair, rtol=1e-6)
    np.testing.assert_allclose(metrics["seen"], (batch["x"].sum(), 24), rtol=1e-5)
    assert extras["count"] == parts  # state without gradient goes through every micro-batch


def test_the_mean_of_the_parts_means_would_be_wrong() -> None:
    """What the test above must tell apart."""
    batch = uneven_batch()
    averaged = jax.vmap(lambda part: objective(named(PARAMS, EXTRAS, part, None)[0]))(
        split_batch(batch, 4)
    ).mean()
    assert abs(averaged - objective(named(PARAMS, EXTRAS, batch, None)[0])) > 0.1


def test_scalar_losses_are_averaged_and_each_part_has_its_own_key() -> None:
    def loss(params, extras, batch, rng):
        noise = jax.random.normal(rng, batch["x"].shape)
        return jnp.mean((batch["x"] @ params["w"] + noise) ** 2), Aux({}, extras)

    batch = uneven_batch()
    pieces = split_batch(batch, 4)
    parts = [
        jax.value_and_grad(lambda p, i=i: loss(p, {}, jax.tree.map(lambda x: x[i], pieces), KEYS[i])[0])(
            PARAMS
        )
        for i in range(4)
    ]
    grads, found, _, _ = gradients(Method(None, loss), PARAMS, {}, batch, KEYS)
    np.testing.assert_allclose(found, np.mean([value for value, _ in parts]), rtol=1e-6)
    np.testing.assert_allclose(grads["w"], np.mean([g["w"] for _, g in parts], axis=0), rtol=1e-5, atol=1e-6)


def test_asking_for_the_weights_first_costs_no_matrix_product() -> None:
    """The pass before the gradients needs only the weights; the compiler must drop the model from it."""

    def floating_point_operations(loss) -> float:
        def total(params, batch):
            return gradients(Method(None, loss), params, EXTRAS, batch, KEYS)[0]

        compiled = jax.jit(total).lower(PARAMS, uneven_batch()).compile()
        products = [line for line in compiled.as_text().splitlines() if " dot(" in line]
        return len(products)

    def scalar(*inputs):  # no weights to ask for
        losses, aux = named(*inputs)
        return objective(losses), aux

    assert floating_point_operations(named) == floating_point_operations(scalar) > 0


def test_split_batch_takes_every_nth_example() -> None:
    parts = split_batch({"x": jnp.arange(6)}, 3)["x"]
    np.testing.assert_array_equal(parts, [[0, 3], [1, 4], [2, 5]])


def test_mean_of_nothing_is_zero_and_has_no_gradient() -> None:
    assert mean(jnp.float32(6), jnp.float32(4)) == 1.5
    value, slope = jax.value_and_grad(lambda x: mean(x * 0, x * 0))(0.0)
    assert (value, slope) == (0.0, 0.0)


def test_every_step_and_micro_batch_has_its_own_key() -> None:
    keys = [step_rng(seed, step, part) for seed in (0, 1) for step in (1, 2) for part in (0, 1)]
    keys += [jax.random.key(0), jax.random.key(1)]  # those that `init` consumed
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == len(keys)


def test_after_update_sees_the_new_parameters_and_counts_from_one() -> None:
    def after_update(params, extras, step):
        return {**extras, "copy": params["w"], "step": step}

    def loss(params, extras, batch, rng):
        return jnp.sum(params["w"] ** 2), Aux({}, extras)

    start = {"params": {"w": jnp.ones(2)}, "copy": jnp.zeros(2), "step": jnp.int32(0)}
    method = Method(lambda rng, batch: dict(start), loss, after_update=after_update)
    step = make_train_step(method, optax.sgd(0.25), seed=0)
    state, _ = step(initial_state(method, optax.sgd(0.25), ("loss", "grad_norm"), {}, 0), {"x": jnp.zeros(2)})
    np.testing.assert_array_equal(state.params["w"], [0.5, 0.5])
    np.testing.assert_array_equal(state.extras["copy"], [0.5, 0.5])
    assert state.extras["step"] == 1


def ones(batch_size: int) -> dict[str, jax.Array]:
    """A batch of the toy method, of ones."""
    batch = Phase(1, toys.shapes(batch_size), ("examples", batch_size)).batch
    return {name: jnp.ones(x.shape, x.dtype) for name, x in batch.items()}


def poisoned(kind: str) -> Method:
    """Fine but for batches that hold a 9: then the loss, only its gradient, or nothing but the update is not finite."""
    method = toys.noisy_regression()

    def loss(params, extras, batch, rng):
        losses, aux = method.loss(params, extras, {**batch, "x": jnp.minimum(batch["x"], 8)}, rng)
        total, weight = losses["error"]
        bad = batch["x"].max() == 9
        if kind == "loss":
            total = jnp.where(bad, jnp.nan, total)
        if kind == "gradient":
            total = total + jnp.sqrt(jnp.where(bad, 0.0 * params["w"][0, 0], 1.0))
        return {"error": (total, weight)}, aux

    return method._replace(loss=loss)


@pytest.mark.parametrize("kind", ["loss", "gradient", "update"])
def test_a_step_that_is_not_finite_is_recorded_and_none_after_it_changes_anything(kind: str) -> None:
    """Nor does the step itself, unless the update alone is not finite."""

    def broken_update(updates, state, params=None):
        factor = jnp.where(state == 2, jnp.inf, -0.01)
        return jax.tree.map(lambda x: x * factor, updates), state + 1

    optimizer = optax.GradientTransformation(lambda params: jnp.int32(0), broken_update)
    if kind != "update":
        optimizer = optax.adam(1e-2)
    method = poisoned(kind)
    good = ones(8)
    bad = {**good, "x": good["x"].at[3, 1].set(9)} if kind != "update" else good
    step = jax.jit(make_train_step(method, optimizer, seed=0))
    state = make_initial_state(method, optimizer, batch=good, seed=0)()
    for _ in range(2):
        state, bad_step = step(state, good)
        assert bad_step == 0
    before = state
    for batch in (bad, good, good):
        state, bad_step = step(state, batch)
        assert bad_step == state.bad_step == 3
        if kind == "update" and state.step == 3:
            assert not np.isfinite(state.params["w"]).any()
            before = state
    assert state.step == 5
    for field in ("params", "extras", "opt_state", "metrics"):
        jax.tree.map(np.testing.assert_array_equal, getattr(state, field), getattr(before, field))


def test_bad_step_can_be_read_after_the_state_was_donated() -> None:
    method, optimizer = toys.noisy_regression(), optax.sgd(0.1)
    batch = ones(8)
    step = jax.jit(make_train_step(method, optimizer, seed=0), donate_argnums=0)
    state, bad_step = step(make_initial_state(method, optimizer, batch=batch, seed=0)(), batch)
    step(state, batch)
    assert state.bad_step.is_deleted()
    assert int(bad_step) == 0
