"""The contract: the toy in the docstring is a complete method, and the machinery trains it."""

import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssl_jax import method as seam
from ssl_jax.method import Aux, Method, unchanged
from ssl_jax.training.step import make_initial_state, make_train_step


def documented() -> Method:
    """The code in the docstring, run as it stands there."""
    code = seam.__doc__.split("as experiments/minimal.py trains it:\n")[1].split("\nRules of the contract")[0]
    names = {"Method": Method, "Aux": Aux, "jax": jax, "jnp": jnp}
    exec(textwrap.dedent(code), names)
    return names["denoising"](width=8, noise=0.1)


def test_the_method_in_the_docstring_learns() -> None:
    method, optimizer = documented(), optax.adam(1e-2)
    batch = {"image": jnp.asarray(np.random.default_rng(0).normal(size=(32, 4)), jnp.float32)}
    state = make_initial_state(method, optimizer, batch=batch, seed=0)()
    step = jax.jit(make_train_step(method, optimizer, seed=0))
    losses = []
    for _ in range(200):
        total = state.metrics["loss"][0]
        state, _ = step(state, batch)
        losses.append(state.metrics["loss"][0] - total)
    assert losses[-1] < 0.2 * losses[0]
    assert state.metrics["noise_left"][1] == 200 * 32


def test_extras_are_unchanged_by_default() -> None:
    method = documented()
    assert method.after_update is unchanged
    assert unchanged({}, extras := {"a": jnp.ones(2)}, 1) is extras
