import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models import attention
from ssl_jax.models.attention import causal_mask, packed_mask, padding_mask

attend = jax.jit(attention.attend, static_argnums=4)


def reference(queries, keys, values, mask):
    """Attention as its definition has it, in float64, a query at a time."""
    queries, keys, values = (np.asarray(x, np.float64) for x in (queries, keys, values))
    batch, length, heads, width = queries.shape
    out = np.zeros(queries.shape)
    mask = np.broadcast_to(mask, (batch, heads, length, keys.shape[1]))
    for b, q, h in np.ndindex(batch, length, heads):
        seen = mask[b, h, q]
        if seen.any():
            scores = keys[b, seen, h] @ queries[b, q, h] / np.sqrt(width)
            weights = np.exp(scores - scores.max())
            out[b, q, h] = weights / weights.sum() @ values[b, seen, h]
    return out


@pytest.fixture
def qkv():
    return jax.random.normal(jax.random.key(0), (3, 2, 6, 3, 4)) * 2


def test_attention_is_its_definition(qkv):
    mask = np.random.default_rng(0).random((2, 3, 6, 6)) < 0.6
    mask[0, 0, 2] = False
    np.testing.assert_allclose(attend(*qkv, jnp.asarray(mask)), reference(*qkv, mask), atol=1e-5)
    np.testing.assert_allclose(attend(*qkv, None), reference(*qkv, True), atol=1e-5)


def test_a_query_that_sees_nothing_gives_zeros_and_finite_gradients(qkv):
    mask = padding_mask(jnp.array([[1, 1, 0, 0, 0, 0], [0] * 6]))
    out = attend(*qkv, mask)
    assert (out[1] == 0).all()
    gradients = np.asarray(jax.jit(jax.grad(lambda qkv: (attend(*qkv, mask) ** 2).sum()))(qkv))
    assert np.isfinite(gradients).all()
    assert (gradients[:, 1] == 0).all()


def test_gradients_are_those_of_plain_autodiff(qkv):
    mask = causal_mask(6, 6)

    def plain(qkv):
        logits = jnp.einsum("bqhd,bkhd->bhqk", qkv[0], qkv[1]) / 2
        weights = jax.nn.softmax(jnp.where(mask, logits, -jnp.inf), axis=-1)
        return (jnp.einsum("bhqk,bkhd->bqhd", weights, qkv[2]) ** 3).sum()

    ours = jax.jit(jax.grad(lambda qkv: (attend(*qkv, mask) ** 3).sum()))(qkv)
    np.testing.assert_allclose(ours, jax.jit(jax.grad(plain))(qkv), rtol=1e-4, atol=1e-5)


def test_softmax_of_bfloat16_is_summed_in_float32():
    # 1024 equal weights: a sum in bfloat16 stops at 256, and the weights would be four times too large.
    queries, keys = jnp.zeros((2, 1, 1024, 1, 8), jnp.bfloat16)
    out = attend(queries[:, :1], keys, jnp.ones((1, 1024, 1, 8), jnp.bfloat16), None)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), 1, rtol=1e-2)


def test_dropout_of_weights_keeps_the_mean():
    """Each of 4096 queries averages 256 equal values; dropout leaves the expectation, with the variance of its rate."""
    rate, keys = 0.2, 256
    zeros = jnp.zeros((16, 256, 1, 4))
    out = attend(zeros, zeros[:, :keys], jnp.ones((16, keys, 1, 4)), None, rate, jax.random.key(0))[..., 0]
    deviation = np.sqrt(rate / (1 - rate) / keys)
    assert abs(out.mean() - 1) < 5 * deviation / np.sqrt(out.size)
    np.testing.assert_allclose(out.std(), deviation, rtol=0.05)


def test_packed_mask_is_same_document_and_no_padding():
    segment_ids = jnp.array([[1, 1, 2, 2, 0], [1, 1, 1, 1, 1]])
    mask, segment_ids = np.asarray(packed_mask(segment_ids)), np.asarray(segment_ids)
    assert mask.shape == (2, 1, 5, 5)
    for b, q, k in np.ndindex(2, 5, 5):
        assert mask[b, 0, q, k] == (segment_ids[b, q] == segment_ids[b, k] != 0)


def test_causal_mask_with_and_without_offset():
    np.testing.assert_array_equal(causal_mask(4, 4)[0, 0], np.tri(4, dtype=bool))
    offset = jnp.array([0, 3])
    mask, offset = np.asarray(causal_mask(2, 5, offset)), np.asarray(offset)
    for b, q, k in np.ndindex(2, 2, 5):
        assert mask[b, 0, q, k] == (k <= offset[b] + q)
