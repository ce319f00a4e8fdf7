"""Models with plain formulas: forward mode gives the directional derivatives that reverse mode gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.autoencoder import Autoencoder, AutoencoderConfig
from ssl_jax.models.bert import BertConfig, BertPretraining
from ssl_jax.models.conv_autoencoder import ConvConfig
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config
from ssl_jax.ops.operation import plain_formulas

SIZE = {"vocab_size": 20, "positions": 8, "layers": 2, "width": 16, "heads": 2, "mlp_width": 32}
TOKENS = jax.random.randint(jax.random.key(0), (3, 8), 0, 20)
SEGMENTS = jnp.array([[1] * 8, [1] * 3 + [2] * 4 + [0], [1] * 4 + [0] * 4])
DROPOUT = {"deterministic": False, "rngs": {"dropout": jax.random.key(1)}}


def bert(remat):
    model = BertPretraining(BertConfig(**SIZE, remat=remat))
    inputs = (TOKENS, jnp.zeros_like(TOKENS), SEGMENTS)

    def loss(params):
        predictions = model.apply(params, *inputs, **DROPOUT)
        return jnp.square(predictions.token_logits).mean() + jnp.square(predictions.pair_logits).mean()

    return model, inputs, loss


def gpt2(remat):
    model = Gpt2(Gpt2Config(**SIZE, remat=remat))

    def loss(params):
        hidden, _ = model.apply(params, TOKENS, SEGMENTS, **DROPOUT)
        return jnp.square(model.apply(params, hidden, method="logits")).mean()

    return model, (TOKENS,), loss


def convolutional(_):
    config = ConvConfig(width=4, strides=(2, 2), residual_blocks=2, residual_width=2)
    model = Autoencoder(AutoencoderConfig(kind="convolutional", convolutional=config), 3, (8, 8, 2))
    images = jax.random.uniform(jax.random.key(2), (3, 8, 8, 2))
    return model, (images,), lambda params: jnp.square(model.apply(params, images) - images).mean()


@pytest.mark.parametrize(
    ("build", "remat"),
    [(bert, "none"), (gpt2, "full"), (convolutional, None)],
    ids=["bert", "gpt2 remat", "convolutional"],
)
def test_first_and_second_directional_derivatives(build, remat):
    """The slope of the loss along a direction, and how the gradient changes along it (forward over reverse mode)."""
    model, inputs, loss = build(remat)
    # Away from the initialisation, whose zeros have no slope.
    params = jax.tree.map(
        lambda x: jnp.asarray(np.random.default_rng(x.size).normal(0, 0.3, x.shape), jnp.float32),
        jax.eval_shape(model.init, jax.random.key(0), *inputs),
    )
    direction = jax.tree.map(
        lambda x: jnp.asarray(np.random.default_rng(1).normal(size=x.shape), x.dtype), params
    )

    @jax.jit
    def forward(params, direction):
        with plain_formulas():
            value, slope = jax.jvp(loss, (params,), (direction,))
            return value, slope, jax.jvp(jax.grad(loss), (params,), (direction,))[1]

    @jax.jit
    def reverse(params, direction):
        def along(params):
            slopes = jax.tree.map(jnp.vdot, jax.grad(loss)(params), direction)
            return sum(jax.tree.leaves(slopes))

        return loss(params), *jax.value_and_grad(along)(params)

    found, wanted = forward(params, direction), reverse(params, direction)
    assert abs(wanted[1]) > 1e-2
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * float(jnp.abs(b).max())),
        found,
        wanted,
    )
