"""The parts of every transformer: dense layers, normalisations, dropout, activations, the MLP block.

Much of a training step on small matrices is spent around the matrix products: on transposed copies, on sums
for the biases, on storing what the backward pass reads again. The derivatives that are written out here avoid
that.
"""

import functools
import math
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.placement import whole

Activation = Literal["gelu", "gelu_tanh", "relu"]


def _gelu(x: jax.Array) -> jax.Array:
    # With erf, of which XLA makes one polynomial; the erfc of jax.nn.gelu costs three times as much.
    return 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5)))


recompute = functools.partial(jax.checkpoint, prevent_cse=False)
"""Of a function: the backward pass has only its arguments stored, and computes again what else it needs."""

ACTIVATIONS: dict[Activation, Callable[[jax.Array], jax.Array]] = {
    "gelu": recompute(_gelu),  # Hugging Face's "gelu"
    "gelu_tanh": recompute(jax.nn.gelu),  # GPT-2's, and google-research/bert's as released
    "relu": jax.nn.relu,
}


@jax.custom_vjp
def affine(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """`x @ kernel + bias` over the last axes of `x`, in the dtype of `x`.

    Args:
        x: `[*batch, *inputs]`.
        kernel: float32 `[*inputs, *outputs]`.
        bias: float32 `[*outputs]`.

    Returns:
        `[*batch, *outputs]`. The gradients of kernel and bias are summed in float32 whatever the dtype.
    """
    inputs = kernel.ndim - bias.ndim
    batch = x.ndim - inputs
    contract = (tuple(range(batch, x.ndim)), tuple(range(inputs)))
    y = jax.lax.dot_general(x, kernel.astype(x.dtype), (contract, ((), ())))
    return y + bias.astype(x.dtype).reshape((1,) * batch + bias.shape)


def _affine_forward(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> tuple[jax.Array, tuple]:
    return affine(x, kernel, bias), (x, kernel, bias)


def _affine_backward(saved: tuple, g: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, kernel, bias = saved
    inputs = kernel.ndim - bias.ndim
    batch = x.ndim - inputs
    contract = (tuple(range(batch, g.ndim)), tuple(range(inputs, kernel.ndim)))
    dx = jax.lax.dot_general(g, kernel.astype(x.dtype), (contract, ((), ())))
    # As products of matrices with one axis of rows: with more, XLA on a CPU copies `x` transposed. The outputs keep
    # their axes, by which they may be cut over devices.
    rows = math.prod(x.shape[:batch])
    x, g = x.reshape(rows, -1), g.reshape(rows, *bias.shape)
    over_rows = functools.partial(
        jax.lax.dot_general, dimension_numbers=(((0,), (0,)), ((), ())), preferred_element_type=jnp.float32
    )
    return dx, over_rows(x, g).reshape(kernel.shape), over_rows(jnp.ones(rows, g.dtype), g)


affine.defvjp(_affine_forward, _affine_backward)


class Dense(nn.Module):
    """A linear map of the last `axes` axes of the input, or of an activation of it, to `features`.

    Attributes:
        features: shape of the output's last axes; the kernel is `[*inputs, *features]`.
        stddev: of the normal distribution, cut off at twice that, which the kernel is drawn from; None for a kernel
            whose own standard deviation is 1/sqrt(number of inputs).
        dtype: of the computation; parameters are float32.
        axes: how many.
        activation: of the input. The backward pass computes it again, so that the input alone is stored.
        bias: there is one.
    """

    features: tuple[int, ...]
    stddev: float | None = 0.02
    dtype: str = "float32"
    axes: int = 1
    activation: Activation | None = None
    bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (*x.shape[x.ndim - self.axes :], *self.features)
        if self.stddev is None:
            inputs, outputs = range(self.axes), range(self.axes, len(shape))
            init = nn.initializers.lecun_normal(tuple(inputs), tuple(outputs))
        else:
            init = nn.initializers.truncated_normal(self.stddev)
        kernel = self.param("kernel", init, shape, jnp.float32)
        if self.bias:
            bias = self.param("bias", nn.initializers.zeros, self.features, jnp.float32)
        else:
            bias = jnp.zeros(self.features)  # the compiler drops the sum
        x = x.astype(self.dtype)
        if self.activation is None:
            return affine(x, kernel, bias)
        activation = ACTIVATIONS[self.activation]
        return recompute(lambda x, kernel, bias: affine(activation(x), kernel, bias))(x, kernel, bias)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _standardise(x: jax.Array, epsilon: float, centre: bool) -> jax.Array:
    return _standardise_rule(x, epsilon, centre)[0]


def _standardise_rule(x: jax.Array, epsilon: float, centre: bool) -> tuple[jax.Array, jax.Array]:
    centred = x - x.mean(-1, keepdims=True) if centre else x
    scale = jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + epsilon)
    return centred * scale, scale


@_standardise.defjvp
def _standardise_jvp(
    epsilon: float, centre: bool, primals: tuple, tangents: tuple
) -> tuple[jax.Array, jax.Array]:
    # In terms of the output, so that it is all that the backward pass has to read.
    [x], [dx] = primals, tangents
    y, scale = _standardise_rule(x, epsilon, centre)
    centred = dx - dx.mean(-1, keepdims=True) if centre else dx
    return y, scale * (centred - y * (y * dx).mean(-1, keepdims=True))


class LayerNorm(nn.Module):
    """Layer normalisation of the last axis (arXiv:1607.06450), computed in float32 whatever the dtype."""

    epsilon: float
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32)
        scale, bias = (a.reshape((1,) * (x.ndim - 1) + a.shape) for a in (scale, bias))
        return (_standardise(x.astype(jnp.float32), self.epsilon, True) * scale + bias).astype(self.dtype)


class RmsNorm(nn.Module):
    """Division of the last axis by its root mean square (arXiv:1910.07467), in float32 whatever the dtype."""

    epsilon: float
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
        scale = scale.reshape((1,) * (x.ndim - 1) + scale.shape)
        return (_standardise(x.astype(jnp.float32), self.epsilon, False) * scale).astype(self.dtype)


def _mix(x: jax.Array) -> jax.Array:
    """A bijection of 32-bit words, each bit of the input flipping each of the output with probability near 1/2."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def random_words(seed: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Random uint32 `[*shape]` for dropout, from a seed of two words.

    A hash of each element's position: many times cheaper than jax.random, whose cipher dropout does not need,
    and fused with what reads it, so that no array of random words is stored. A function of seed and position,
    hence the same however the array is laid over devices.
    """
    first = jax.lax.broadcasted_iota(jnp.uint32, (shape[0],) + (1,) * (len(shape) - 1), 0)
    inner = (1, *shape[1:])
    rest = jnp.zeros(inner, jnp.uint32)
    for axis in range(1, len(shape)):
        rest = rest * shape[axis] + jax.lax.broadcasted_iota(jnp.uint32, inner, axis)
    return _mix(_mix(rest ^ seed[0]) ^ _mix(first ^ seed[1]))


@functools.partial(recompute, static_argnums=(1,))
def _drop(x: jax.Array, threshold: int, seed: jax.Array) -> jax.Array:
    keep = random_words(seed, x.shape) < jnp.uint32(threshold)
    return jnp.where(keep, x * (2**32 / threshold), jnp.zeros((), x.dtype))


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Zeroes elements with probability `rate` and rescales the others; the identity without a key."""
    if key is None or rate == 0:
        return x
    return _drop(x, round((1 - rate) * 2**32), jax.random.bits(key, (2,), jnp.uint32))


class Mlp(nn.Module):
    """Dense, activation, dense: `[..., width] -> [..., width]` through `hidden` units.

    The last matrix is drawn with `out_stddev`, the first with `stddev`. A gated block multiplies the first dense
    layer by the activation of another one beside it, `gate` (arXiv:2002.05202).
    """

    hidden: int
    activation: Activation = "gelu"
    stddev: float | None = 0.02
    dtype: str = "float32"
    out_stddev: float | None = 0.02
    bias: bool = True
    gated: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        hidden = functools.partial(Dense, (self.hidden,), self.stddev, self.dtype, bias=self.bias)
        out = functools.partial(Dense, x.shape[-1:], self.out_stddev, self.dtype, bias=self.bias, name="down")
        up = hidden(name="up")(x)
        if not self.gated:
            return out(activation=self.activation)(up)
        activation = ACTIVATIONS[self.activation]
        return out()(recompute(lambda up, gate: up * activation(gate))(up, hidden(name="gate")(x)))


class Table(nn.Module):
    """A table of embeddings `[entries, width]`, looked up by index; an index outside the table gives NaN.

    It is drawn as the kernel of `Dense`, whose inputs would be the width.
    """

    entries: int
    width: int
    stddev: float | None

    def setup(self) -> None:
        if self.stddev is None:
            init = nn.initializers.lecun_normal(in_axis=1, out_axis=0)
        else:
            init = nn.initializers.truncated_normal(self.stddev)
        self.embedding = self.param("embedding", init, (self.entries, self.width), jnp.float32)

    def __call__(self, index: jax.Array) -> jax.Array:
        return jnp.take(whole(self.embedding), index, axis=0)


_FEW_ROWS = 64


def tied_logits(hidden: jax.Array, table: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """A table of embeddings once more, as the output layer.

    Args:
        hidden: `[..., width]`.
        table: float32 `[vocab, width]`.
        bias: float32 `[vocab]`, or None.

    Returns:
        float32 `[..., vocab]`.
    """
    batch = hidden.shape[:-1]
    if math.prod(batch) <= _FEW_ROWS:
        # Decoding. With the table on the left, XLA on a CPU reads it as it lies and copies no part of it.
        rows = hidden.reshape(-1, hidden.shape[-1])
        logits = jax.lax.dot_general(table.astype(hidden.dtype), rows, (((1,), (1,)), ((), ())))
        logits = logits.T.reshape(*batch, -1).astype(jnp.float32)
        return logits if bias is None else logits + bias.reshape((1,) * len(batch) + bias.shape)
    if bias is None:
        return jnp.einsum("...d,vd->...v", hidden, table.astype(hidden.dtype)).astype(jnp.float32)
    return affine(hidden, table.T, bias).astype(jnp.float32)
