"""The hidden states of all layers are those that shorter encoders end with."""

import dataclasses
import operator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.bert import BertConfig, BertEncoder
from ssl_jax.models.hidden_states import hidden_states

SMALL = BertConfig(
    vocab_size=20, positions=8, layers=2, width=8, heads=2, mlp_width=16, initializer_stddev=0.3, pooler=False
)
ALBERT = dataclasses.replace(SMALL, share_layers=True, embedding_width=4)
RELATIVE = dataclasses.replace(SMALL, position_encoding="relative", relative_buckets=4, relative_distance=3)
ROTARY = dataclasses.replace(SMALL, position_encoding="rotary")


@pytest.mark.parametrize(
    "config", [SMALL, ALBERT, RELATIVE, ROTARY], ids=["bert", "albert", "relative", "rotary"]
)
def test_layers(config):
    rng = np.random.default_rng(0)
    tokens, types = (jnp.asarray(rng.integers(0, high, (3, 6)), jnp.int32) for high in (20, 2))
    present = jnp.asarray([[1] * 6, [1] * 4 + [0] * 2, [1] * 6], jnp.int32)
    params = jax.jit(BertEncoder(config).init)(jax.random.key(0), tokens, types, present)["params"]
    states = jax.jit(partial(hidden_states, config))(params, tokens, types, present)
    assert states.shape == (3, 3, 6, 8)
    for layers in (1, 2):
        shorter = dataclasses.replace(config, layers=layers)
        kept = params["layers"]
        if not config.share_layers:
            kept = jax.tree.map(operator.itemgetter(slice(layers)), kept)
        own = {"params": params | {"layers": kept}}
        expected = jax.jit(BertEncoder(shorter).apply)(own, tokens, types, present)
        np.testing.assert_allclose(states[layers], expected.hidden, atol=2e-5)
    assert not np.allclose(states[0], states[1], atol=0.1)
