"""Convolutional encoder and decoder with residual blocks, for images and for sequences.

They are those of VQ-VAE (arXiv:1711.00937, section 4.1): the encoder has strided convolutions, then residual blocks at
the coarsest resolution; the decoder has the same layers in reverse order, with transposed convolutions. Kernels are
twice as large as the stride, so that every pixel of the decoder's output is a sum of equally many products, without a
checkerboard pattern. A resize before an ordinary convolution avoids it as well, but computes at the fine resolution.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.domains import Settings, Width, integers
from ssl_jax.errors import UserError
from ssl_jax.ops.convolution import convolve, convolve_transposed
from ssl_jax.placement import along_batch


@dataclasses.dataclass(frozen=True)
class ConvConfig(Settings):
    """The shape of a convolutional encoder and of its mirror image, the decoder. The defaults are those of VQ-VAE's
    released code."""

    width: Annotated[int, integers(2, 2**20)] = 128
    """Channels at the coarsest resolution."""
    fine_width: Width | None = None
    """Channels at the finer resolutions; None for half of the width."""
    strides: tuple[Annotated[int, integers(2, 64)], ...] = (2, 2)
    """Stride of each convolution of the encoder, which shrinks every axis; the decoder enlarges in reverse order."""
    residual_blocks: Annotated[int, integers(0, 1_000)] = 2
    """Number of residual blocks at the coarsest resolution, in the encoder and in the decoder."""
    residual_width: Width = 32
    """Channels of the hidden layer of a residual block."""

    def check_relations(self) -> None:
        if not self.strides:
            raise UserError("strides of a convolutional encoder: give at least one, such as 2.")

    def width_of(self, layer: int) -> int:
        """Channels of the output of a strided convolution of the encoder; `layer` counts from 1."""
        if layer == len(self.strides):
            return self.width
        return self.width // 2 if self.fine_width is None else self.fine_width

    def coarse(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Sizes of the encoder's output for an input of these sizes (height and width, or length).

        Raises:
          UserError: the sizes are not divisible by the strides.
        """
        stride = math.prod(self.strides)
        for size in sizes:
            if size % stride:
                fits = " or ".join(
                    str(n) for n in (size // stride * stride, -(-size // stride) * stride) if n
                )
                raise UserError(
                    f"size {size} is not divisible by the encoder's stride {stride} "
                    f"({' x '.join(map(str, self.strides))}); give images of size {fits}, or other strides."
                )
        return tuple(size // stride for size in sizes)


class Convolution(nn.Module):
    """A convolution with a bias, or the transpose of one.

    Attributes:
      features: channels of the output.
      size: of the kernel along each axis.
      stride: along each axis.
      transposed: whether the convolution is transposed.
      zero_init: initialises the kernel with zeros; otherwise its variance is 2 / fan-in.
    """

    features: int
    size: int
    stride: int = 1
    transposed: bool = False
    zero_init: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[batch, *sizes, channels]` to `[batch, *sizes, features]`, with other sizes if there is a stride."""
        axes = x.ndim - 2
        window = (self.size,) * axes

        def initializer(factor: float = 1.0, **layout: int) -> nn.initializers.Initializer:
            if self.zero_init:
                return nn.initializers.zeros
            return nn.initializers.variance_scaling(2.0 * factor, "fan_in", "truncated_normal", **layout)

        if self.transposed:
            # An output is the sum of only one in stride ** axes of the kernel's products.
            init = initializer(self.stride**axes, in_axis=-1, out_axis=-2)
            kernel = self.param("kernel", init, (*window, self.features, x.shape[-1]), jnp.float32)
            y = convolve_transposed(x, kernel, self.stride)
        else:
            kernel = self.param("kernel", initializer(), (*window, x.shape[-1], self.features), jnp.float32)
            y = convolve(x, kernel, self.stride)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return along_batch(y + bias.astype(y.dtype).reshape((1,) * (y.ndim - 1) + bias.shape))


class ResidualBlock(nn.Module):
    """ReLU, convolution of size 3, ReLU, convolution of size 1, and a residual sum.

    Attributes:
      width: channels of the hidden layer.
    """

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, None]:
        """`[batch, *sizes, channels]` to the same shape, and None, which `nn.scan` requires."""
        y = Convolution(self.width, 3, name="convolution1")(nn.relu(x))
        return x + Convolution(x.shape[-1], 1, name="convolution2")(nn.relu(y)), None


class ResidualStack(nn.Module):
    """All residual blocks, and a ReLU after the last."""

    config: ConvConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[batch, *sizes, config.width]` to the same shape."""
        if self.config.residual_blocks:
            stack = nn.scan(
                ResidualBlock,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=self.config.residual_blocks,
            )
            x, _ = stack(self.config.residual_width, name="layers")(x)
        return nn.relu(x)


class ConvEncoder(nn.Module):
    """The encoder.

    Attributes:
      config: its shape.
      dtype: dtype of the computation.
    """

    config: ConvConfig
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Encodes images or sequences as a coarser grid.

        Args:
          x: `[batch, height, width, channels]` or `[batch, length, channels]`.

        Returns:
          `[batch, height / stride, width / stride, config.width]` or `[batch, length / stride, config.width]`, in
          `dtype`, not negative; the stride is the product of all strides.

        Raises:
          UserError: a size is not divisible by the stride.
        """
        c = self.config
        c.coarse(x.shape[1:-1])
        x = x.astype(self.dtype)
        for layer, stride in enumerate(c.strides, 1):
            x = nn.relu(Convolution(c.width_of(layer), 2 * stride, stride, name=f"down{layer}")(x))
        x = Convolution(c.width, 3, name="convolution")(x)
        return ResidualStack(c, name="residual")(x)


class ConvDecoder(nn.Module):
    """The decoder, the mirror image of `ConvEncoder`.

    The last kernel is initialised with zeros, so that the first reconstructions are blank. With large random ones, a
    quantiser settles on codes before they carry information: at the end of training, VQ-VAE's error on the digits is
    then twice as large, and larger still for lookup-free codes.

    Attributes:
      config: its shape.
      channels: of the images.
      dtype: dtype of the computation.
    """

    config: ConvConfig
    channels: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """A grid `[batch, *sizes, any number of channels]` to float32 images `[batch, *(sizes * stride), channels]`."""
        c = self.config
        x = Convolution(c.width, 3, name="convolution")(x.astype(self.dtype))
        x = ResidualStack(c, name="residual")(x)
        for layer, stride in reversed(list(enumerate(c.strides, 1))):
            last = layer == 1
            width = self.channels if last else c.width_of(layer - 1)
            x = Convolution(width, 2 * stride, stride, transposed=True, zero_init=last, name=f"up{layer}")(x)
            x = x if last else nn.relu(x)
        return x.astype(jnp.float32)
