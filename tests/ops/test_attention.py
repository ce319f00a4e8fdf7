"""The softmax of attention, where a mask leaves nothing."""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.ops.attention import masked_softmax


def test_a_row_that_is_masked_throughout_has_zeros_and_finite_gradients():
    logits, mask = jax.random.normal(jax.random.key(0), (2, 5)), jnp.array([[True] * 5, [False] * 5])
    for form in (masked_softmax.plain, masked_softmax.fast):
        weights, pull = jax.vjp(lambda x, form=form: form(x, mask), logits)
        np.testing.assert_array_equal(weights[1], 0)
        np.testing.assert_array_equal(pull(jnp.arange(10.0).reshape(2, 5))[0][1], 0)
