"""The kernel for TPUs, interpreted, against the plain formula; and where a kernel is taken."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.attention import attend
from ssl_jax.ops import flash_attention as flash
from ssl_jax.ops.flash_attention import Segments, flash_attention, kernel_takes

LENGTH, HEAD = 256, 64
PACKED = jnp.repeat(jnp.array([[1, 1, 1, 2, 2, 3, 0, 0], [1, 2, 3, 4, 5, 6, 7, 8]]), LENGTH // 8, axis=1)
PRESENT = jnp.stack([jnp.arange(LENGTH) < 100, jnp.zeros(LENGTH, bool)]).astype(jnp.int32)
MASKS = {
    "all": Segments(),
    "causal": Segments(causal=True),
    "packed": Segments(PACKED, PACKED),
    "packed, causal": Segments(PACKED, PACKED, causal=True),
    "padding": Segments(keys=PRESENT),
}


@pytest.fixture(scope="module")
def qkv():
    return jax.random.normal(jax.random.key(0), (3, 2, LENGTH, 2, HEAD))


@pytest.mark.parametrize("name", MASKS)
def test_the_kernel_is_the_plain_formula_in_value_and_gradient(qkv, name):
    """Also for queries that attend to nothing: the last quarter of the first row, and a row of padding."""
    mask = MASKS[name]

    def squares(attention, qkv):
        out = attention(*qkv)
        return (out**2).sum(), out

    def both(attention):
        gradient = jax.grad(functools.partial(squares, attention), has_aux=True)
        return jax.jit(gradient)(qkv)

    ours = both(lambda *qkv: flash_attention(*qkv, mask, interpret=True))
    plain = both(lambda *qkv: attend(*qkv, mask.dense(LENGTH, LENGTH)))
    for found, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5 * float(jnp.abs(expected).max()))


def test_on_a_mesh_each_device_has_its_rows_and_heads(qkv):
    mesh = jax.make_mesh((2, 1, 2), ("data", "fsdp", "tensor"), (jax.sharding.AxisType.Auto,) * 3)
    mask = MASKS["packed, causal"]
    with jax.set_mesh(mesh):
        ours = jax.jit(lambda *qkv: flash_attention(*qkv, mask, interpret=True))(*qkv)
    assert ours.sharding.shard_shape(ours.shape) == (1, LENGTH, 1, HEAD)
    np.testing.assert_allclose(ours, attend(*qkv, mask.dense(LENGTH, LENGTH)), atol=2e-5)


@pytest.mark.parametrize(
    ("device", "sizes", "taken"),
    [
        ("tpu", (512, 512, 64, "float32"), True),
        ("tpu", (512, 500, 64, "float32"), False),  # no multiple of a block
        ("gpu", (512, 500, 64, "bfloat16"), False),
        ("gpu", (512, 504, 64, "bfloat16"), True),
        ("gpu", (512, 512, 64, "float32"), False),  # cuDNN's kernel has no float32
        ("gpu", (512, 512, 256, "bfloat16"), False),
        ("cpu", (512, 512, 64, "bfloat16"), False),
        (None, (512, 512, 64, "bfloat16"), False),
    ],
)
def test_a_kernel_is_taken_where_there_is_one(monkeypatch, device, sizes, taken):
    monkeypatch.setattr(flash, "platform", lambda: device)
    assert kernel_takes(*sizes) == taken
