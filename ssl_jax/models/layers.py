"""The parts of every transformer: dense layers, normalisations, the MLP block, tables of embeddings."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.ops.activations import Activation, gated
from ssl_jax.ops.affine import affine
from ssl_jax.ops.normalization import standardise
from ssl_jax.ops.recompute import keep
from ssl_jax.placement import whole


class Dense(nn.Module):
    """A linear map of the last axes of the input, or of an activation of it.

    Attributes:
      features: shape of the output's last axes; the kernel is `[*inputs, *features]`.
      stddev: standard deviation of the truncated normal distribution that initialises the kernel, before it is cut off
        at twice its value. None for a kernel whose standard deviation is 1/sqrt(number of inputs).
      dtype: dtype of the computation; parameters are float32.
      axes: number of input axes that are mapped.
      activation: applied to the input.
      bias: whether the layer has a bias.
    """

    features: tuple[int, ...]
    stddev: float | None = 0.02
    dtype: str = "float32"
    axes: int = 1
    activation: Activation | None = None
    bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[*batch, *inputs]` to `[*batch, *features]` in `dtype`."""
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
            bias = jnp.zeros(self.features, jnp.float32)  # the compiler removes the sum
        return keep(affine(x.astype(self.dtype), kernel, bias, self.activation))


class LayerNorm(nn.Module):
    """Layer normalisation of the last axis (arXiv:1607.06450), computed in float32 whatever the dtype.

    Attributes:
      epsilon: added to the variance.
      dtype: dtype of the output.
    """

    epsilon: float
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[..., width]` to the same shape."""
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32)
        scale, bias = (a.reshape((1,) * (x.ndim - 1) + a.shape) for a in (scale, bias))
        return (standardise(x.astype(jnp.float32), self.epsilon) * scale + bias).astype(self.dtype)


class RmsNorm(nn.Module):
    """Division of the last axis by its root mean square (arXiv:1910.07467), in float32 whatever the dtype.

    Attributes:
      epsilon: added to the mean square.
      dtype: dtype of the output.
    """

    epsilon: float
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[..., width]` to the same shape."""
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
        scale = scale.reshape((1,) * (x.ndim - 1) + scale.shape)
        return (standardise(x.astype(jnp.float32), self.epsilon, False) * scale).astype(self.dtype)


class Mlp(nn.Module):
    """Dense layer, activation, dense layer.

    Attributes:
      hidden: number of hidden units.
      activation: of the hidden units.
      stddev: initialises the first kernel, as in `Dense`.
      dtype: dtype of the computation.
      out_stddev: initialises the last kernel, as in `Dense`.
      bias: whether the dense layers have biases.
      gated: the first dense layer is multiplied by the activation of another one, `gate` (arXiv:2002.05202).
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
        """`[..., width]` to the same shape."""
        hidden = functools.partial(Dense, (self.hidden,), self.stddev, self.dtype, bias=self.bias)
        out = functools.partial(Dense, x.shape[-1:], self.out_stddev, self.dtype, bias=self.bias, name="down")
        up = hidden(name="up")(x)
        if not self.gated:
            return out(activation=self.activation)(up)
        return out()(gated(up, hidden(name="gate")(x), self.activation))


class Table(nn.Module):
    """A table of embeddings `[entries, width]`.

    Attributes:
      entries: number of embeddings.
      width: size of each.
      stddev: initialises the table as the kernel of a `Dense` layer with `width` inputs.
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
        """The embeddings `[..., width]` at `index [...]`; NaN for an index outside of the table."""
        return jnp.take(whole(self.embedding), index, axis=0)

    def average(self, shares: jax.Array) -> jax.Array:
        """The embeddings averaged with `shares [..., entries]`: `[..., width]`."""
        return shares @ whole(self.embedding).astype(shares.dtype)
