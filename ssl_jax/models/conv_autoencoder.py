"""Convolutional encoder and decoder with residual blocks, of images and of sequences alike.

They are VQ-VAE's (arXiv:1711.00937, section 4.1): strided convolutions, residual blocks at the coarsest resolution, and
the same backwards with transposed convolutions. Kernels are twice as large as the stride, so that every pixel of the
decoder is a sum of equally many products, without a checkerboard, and the work is done at the coarse resolution; a
resize before an ordinary convolution has as even an overlap and does it at the fine one.
"""

import dataclasses
import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.errors import UserError
from ssl_jax.ops.convolution import convolve, convolve_transposed
from ssl_jax.placement import along_batch


@dataclasses.dataclass(frozen=True)
class ConvConfig:
    """The shape of a convolutional encoder and of its mirror image, the decoder; the defaults are VQ-VAE's code's."""

    width: int = 128
    """Channels at the coarsest resolution; half as many at the finer ones."""
    strides: tuple[int, ...] = (2, 2)
    """By how much each layer shrinks every axis; a decoder enlarges in reverse order."""
    residual_blocks: int = 2
    """At the coarsest resolution, in the encoder and in the decoder."""
    residual_width: int = 32
    """Channels inside of a residual block."""

    def __post_init__(self) -> None:
        if self.width < 2 or self.residual_width < 1 or self.residual_blocks < 0:
            raise UserError(
                f"a convolutional encoder of width {self.width} with {self.residual_blocks} residual blocks of "
                f"{self.residual_width} channels cannot be built; the width must be at least 2, that of the blocks at "
                "least 1, and their number 0 or more."
            )
        if not self.strides or min(self.strides) < 2:
            raise UserError(
                f"strides {self.strides} of a convolutional encoder: at least one is needed, and each must be 2 or "
                "more; 2 2 makes a quarter of every axis."
            )

    def coarse(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """What the encoder makes of an image of these sizes (height and width, or length).

        Raises:
          UserError: they are not divisible by the strides.
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

    The kernel starts with variance 2 / fan-in, or `blank`, with zeros.
    """

    features: int
    size: int
    stride: int = 1
    transposed: bool = False
    blank: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        axes = x.ndim - 2
        window = (self.size,) * axes

        def start(factor: float = 1.0, **layout: int) -> nn.initializers.Initializer:
            if self.blank:
                return nn.initializers.zeros
            return nn.initializers.variance_scaling(2.0 * factor, "fan_in", "truncated_normal", **layout)

        if self.transposed:
            # Of the kernel's size ** axes products, an output is the sum of one in stride ** axes.
            init = start(self.stride**axes, in_axis=-1, out_axis=-2)
            kernel = self.param("kernel", init, (*window, self.features, x.shape[-1]), jnp.float32)
            y = convolve_transposed(x, kernel, self.stride)
        else:
            kernel = self.param("kernel", start(), (*window, x.shape[-1], self.features), jnp.float32)
            y = convolve(x, kernel, self.stride)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return along_batch(y + bias.astype(y.dtype).reshape((1,) * (y.ndim - 1) + bias.shape))


class ResidualBlock(nn.Module):
    """ReLU, convolution of 3, ReLU, convolution of 1, added to the input. Returns it and None, as `nn.scan` wants."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, None]:
        y = Convolution(self.width, 3, name="convolution1")(nn.relu(x))
        return x + Convolution(x.shape[-1], 1, name="convolution2")(nn.relu(y)), None


class ResidualStack(nn.Module):
    """All residual blocks, and a ReLU at their end."""

    config: ConvConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
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
    """Images `[batch, height, width, channels]` or sequences `[batch, length, channels]` to a coarser grid.

    Returns:
        `[batch, height / stride, width / stride, config.width]` or `[batch, length / stride, config.width]`, in
        `dtype`, not negative; the stride is the product of all.

    Raises:
        UserError: a size is not divisible by the stride.
    """

    config: ConvConfig
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        c = self.config
        c.coarse(x.shape[1:-1])
        x = x.astype(self.dtype)
        for layer, stride in enumerate(c.strides, 1):
            width = c.width if layer == len(c.strides) else c.width // 2
            x = nn.relu(Convolution(width, 2 * stride, stride, name=f"down{layer}")(x))
        x = Convolution(c.width, 3, name="convolution")(x)
        return ResidualStack(c, name="residual")(x)


class ConvDecoder(nn.Module):
    """The mirror image of `ConvEncoder`, from a grid of any number of channels to float32 images of `channels`.

    The first images are blank. If they are large and left to chance, a quantiser settles on codes before these mean
    anything: VQ-VAE's error of the digits is then twice as large to the end, and more if codes are signs.
    """

    config: ConvConfig
    channels: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        c = self.config
        x = Convolution(c.width, 3, name="convolution")(x.astype(self.dtype))
        x = ResidualStack(c, name="residual")(x)
        for layer, stride in reversed(list(enumerate(c.strides, 1))):
            last = layer == 1
            width = self.channels if last else c.width // 2
            x = Convolution(width, 2 * stride, stride, transposed=True, blank=last, name=f"up{layer}")(x)
            x = x if last else nn.relu(x)
        return x.astype(jnp.float32)
