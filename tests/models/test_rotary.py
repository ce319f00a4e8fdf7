"""Rotary positions against complex numbers, and in models: cached, packed, by kernels, and cut over devices."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from ssl_jax.errors import UserError
from ssl_jax.models import attention, transformer
from ssl_jax.models.attention import forget_padding
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config
from ssl_jax.models.rotary import rotate, rotation
from ssl_jax.models.transformer import Transformer, TransformerConfig, empty_cache
from ssl_jax.ops.flash_attention import Segments, flash_attention

HEAD = 12
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 5, 3, HEAD)).astype(np.float32)
POSITIONS = np.array([[0, 1, 2, 3, 4], [700, 3, 1999, 4, 12]], np.int32)
STACK = TransformerConfig(
    layers=2, width=16, heads=2, mlp_width=8, position_encoding="rotary", initializer_stddev=0.3
)
rotated = jax.jit(lambda x, positions: rotate(x, rotation(positions, HEAD)))


def turned(x, positions):
    """Equation 13 of arXiv:2104.09864 in double precision, each pair of features a complex number."""
    pairs = x[..., : HEAD // 2].astype(np.float64) + 1j * x[..., HEAD // 2 :]
    angles = positions[:, :, None, None] * 10_000.0 ** (-2 * np.arange(HEAD // 2) / HEAD)
    pairs = pairs * np.exp(1j * angles)
    return np.concatenate([pairs.real, pairs.imag], axis=-1)


@functools.partial(jax.jit, static_argnums=0)
def apply(config, params, *arguments, **keywords):
    return Transformer(config).apply(params, *arguments, **keywords)


def test_rotation_is_that_of_complex_numbers():
    np.testing.assert_allclose(rotated(X, POSITIONS), turned(X, POSITIONS), atol=5e-4)
    np.testing.assert_array_equal(rotated(X, POSITIONS)[0, 0], X[0, 0])  # position 0


def test_attention_depends_on_differences_of_positions_alone():
    queries, keys = X[:, :, 0], X[:, :, 1]

    def logits(shift):
        return np.einsum(
            "bqd,bkd->bqk",
            rotated(queries[:, :, None], POSITIONS + shift)[:, :, 0],
            rotated(keys[:, :, None], POSITIONS + shift)[:, :, 0],
        )

    np.testing.assert_allclose(logits(100), logits(0), atol=2e-3)
    other = np.einsum("bqd,bkd->bqk", queries, keys)
    assert np.abs(logits(0) - other).max() > 1


def test_gradients_are_rotated_back():
    weights = jnp.asarray(RNG.standard_normal(X.shape), jnp.float32)
    gradient = jax.jit(jax.grad(lambda x: (rotated(x, POSITIONS) * weights).sum()))(X)
    np.testing.assert_allclose(gradient, turned(np.asarray(weights), -POSITIONS), atol=5e-4)


def test_bfloat16_is_rotated_by_angles_of_float32():
    x = jnp.bfloat16(X)
    found = rotated(x, POSITIONS)
    assert found.dtype == jnp.bfloat16
    # One rounding. An angle in bfloat16 would be off by up to 8 radians at position 1,999.
    np.testing.assert_allclose(np.float32(found), turned(np.float32(x), POSITIONS), atol=2e-2)


def test_the_order_of_tokens_counts_and_their_place_does_not():
    x = jnp.asarray(RNG.standard_normal((1, 6, 16)), jnp.float32)
    params = jax.jit(Transformer(STACK).init)(jax.random.key(0), x)
    alone, _ = apply(STACK, params, x)
    behind = jnp.concatenate([x[:, ::-1], x], axis=1)
    segment_ids = jnp.array([[1] * 6 + [2] * 6])
    packed, _ = apply(STACK, params, behind, Segments(segment_ids, segment_ids))
    np.testing.assert_allclose(packed[:, 6:], alone, atol=1e-5)
    assert jnp.abs(packed[:, 5::-1] - alone).max() > 1e-2


def test_gpt_writes_with_a_cache_what_it_writes_without():
    """Prompts of different lengths, whose padding takes slots of the cache but no positions."""
    config = Gpt2Config(vocab_size=20, positions=12, layers=2, width=16, heads=2, mlp_width=8)
    model = Gpt2(dataclasses.replace(config, position_encoding="rotary", initializer_stddev=0.4))
    tokens, lengths = jnp.asarray(RNG.integers(0, 20, (2, 7)), jnp.int32), jnp.array([2, 4])
    params = jax.jit(model.init)(jax.random.key(0), tokens)
    assert "position" not in params["params"]["embeddings"]
    call = jax.jit(lambda params, tokens, cache=None: model.apply(params, tokens, cache=cache))
    expected, _ = call(params, tokens)
    prompts = jnp.where(jnp.arange(4)[None] < lengths[:, None], tokens[:, :4], 0)
    _, cache = call(params, prompts, empty_cache(model.config.transformer, 2, 8))
    cache = forget_padding(cache, lengths)
    for step in range(3):
        at = lengths[:, None] + step
        hidden, cache = call(params, jnp.take_along_axis(tokens, at, axis=1), cache)
        np.testing.assert_allclose(
            hidden, jnp.take_along_axis(expected, at[:, :, None], axis=1), rtol=1e-4, atol=1e-4
        )


def test_kernels_take_rotated_queries_and_keys(monkeypatch):
    config = dataclasses.replace(STACK, layers=1)
    x = jnp.asarray(RNG.standard_normal((1, 128, 16)), jnp.float32)
    segment_ids = jnp.repeat(jnp.array([[1, 2, 2, 0]]), 32, axis=1)
    params = jax.jit(Transformer(config).init)(jax.random.key(0), x)
    plain, _ = apply(config, params, x, Segments(segment_ids, segment_ids))
    calls = []

    def kernel(*arguments):
        calls.append(arguments)
        return flash_attention(*arguments, interpret=True)

    monkeypatch.setattr(transformer, "kernel_takes", lambda *sizes: True)
    monkeypatch.setattr(attention, "flash_attention", kernel)
    found, _ = Transformer(config).apply(params, x, Segments(segment_ids, segment_ids))
    assert calls
    np.testing.assert_allclose(found[:, :96], plain[:, :96], atol=2e-5)


def test_heads_cut_over_devices_are_rotated_alike():
    mesh = jax.make_mesh((2, 2, 2), ("data", "fsdp", "tensor"), (jax.sharding.AxisType.Auto,) * 3)
    x = jnp.asarray(RNG.standard_normal((4, 6, 16)), jnp.float32)
    params = jax.jit(Transformer(STACK).init)(jax.random.key(0), x)
    expected, _ = apply(STACK, params, x)
    by_head = NamedSharding(mesh, PartitionSpec(None, "fsdp", None, "tensor", None))
    qkv = params["params"]["layers"]["attention"]["qkv"]
    qkv["kernel"] = jax.device_put(qkv["kernel"], by_head)
    with jax.set_mesh(mesh):
        found, _ = apply(STACK, params, jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_heads_of_an_odd_width_are_refused():
    with pytest.raises(UserError, match=r"position_encoding rotary: .* width 9 with 3 heads have 3"):
        TransformerConfig(1, 9, 3, 8, position_encoding="rotary")
    TransformerConfig(1, 9, 3, 8, position_encoding="relative")
