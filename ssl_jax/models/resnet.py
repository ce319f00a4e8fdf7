"""Residual networks for images (arXiv:1512.03385), in the variant "v1.5" of torchvision and google-research/simclr.

In a bottleneck block with a stride, the 3x3 convolution has the stride. A stage consists of its `first` block and of
the others, which are alike and run under `nn.scan`: their parameters and statistics are stacked on axis 0 below
`layers`, so that compile time does not grow with depth. On TPUs the loop is unrolled: it would copy all activations
into stacked arrays and back, and hide from the compiler that batch statistics of several views can be summed together.

BatchNorm computes its statistics over the whole batch it is called with: in a training step, the global batch, on
however many devices. The running statistics (float32, in the collection "batch_stats") average the biased variances of
batches; torch averages unbiased ones.

Convolutions are initialised as in torchvision: normal, with variance 2 / fan-out; simclr has 1 / fan-in. Because a
normalisation follows each of them, this does not change the output, only the size of a step relative to the kernel.
"""

import dataclasses
from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.domains import Dtype, Fraction, PositiveFloat, Settings, Width, integers
from ssl_jax.errors import UserError
from ssl_jax.ops.convolution import convolve
from ssl_jax.ops.normalization import batch_normalise
from ssl_jax.ops.recompute import unrolled
from ssl_jax.placement import along_batch

MOST_STAGES = 10
"""Each has twice the channels of the one before."""


@dataclasses.dataclass(frozen=True)
class ResNetConfig(Settings):
    """The shape of a residual network. The defaults are ResNet-50."""

    blocks: tuple[Annotated[int, integers(1, 1_000)], ...] = (3, 4, 6, 3)
    """Number of blocks in each stage. Every stage but the first halves height and width and doubles the channels."""
    bottleneck: bool = True
    """Whether blocks have convolutions 1x1, 3x3 and 1x1, the last with four times the channels; otherwise two 3x3."""
    width: Width = 64
    """Channels of the 3x3 convolutions of the first stage. The papers' "2x" and "4x" networks are 128 and 256."""
    stem: Literal["imagenet", "cifar", "small"] = "imagenet"
    """The layers before the stages. imagenet: a convolution 7x7 and a max-pool 3x3, each of stride 2; cifar: a
    convolution 3x3 of stride 1, for images of 32x32; small: the same of stride 2, with a quarter of the operations."""
    norm_momentum: Fraction = 0.9
    """EMA decay of the running statistics."""
    norm_epsilon: PositiveFloat = 1e-5
    """Added to the variance."""
    zero_init_residual: bool = True
    """Whether the last scale of each block is initialised with 0, so that the block begins as the identity
    (arXiv:1706.02677)."""
    remat: Literal["none", "full"] = "none"
    """What the backward pass recomputes to save memory: none or full (all but the activations between blocks)."""
    dtype: Dtype = "float32"
    """Dtype of the computation, float32 or bfloat16; parameters and statistics are float32."""

    def check_relations(self) -> None:
        if not 1 <= len(self.blocks) <= MOST_STAGES:
            raise UserError(
                f"blocks of a ResNet: give the blocks of 1 to {MOST_STAGES} stages, such as 3 4 6 3."
            )

    @property
    def features(self) -> int:
        """Number of features of the output."""
        return self.width * 2 ** (len(self.blocks) - 1) * (4 if self.bottleneck else 1)


SIZES: dict[str, ResNetConfig] = {
    "resnet18": ResNetConfig((2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNetConfig((3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNetConfig((3, 4, 6, 3)),
    "resnet101": ResNetConfig((3, 4, 23, 3)),
    "resnet152": ResNetConfig((3, 8, 36, 3)),
    "resnet200": ResNetConfig((3, 24, 36, 3)),
}
"""The networks of the papers, by name."""


class BatchNorm(nn.Module):
    """Normalisation of each channel over the batch and the image (arXiv:1502.03167), computed in float32.

    Attributes:
      config: of the network.
      train: see `ResNet`.
      zero_init: whether the scale is initialised with 0.
    """

    config: ResNetConfig
    train: bool
    zero_init: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[batch, height, width, channels]` to the same shape and dtype."""
        channels, momentum = x.shape[-1:], self.config.norm_momentum
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        initializer = nn.initializers.zeros if self.zero_init else nn.initializers.ones
        scale = self.param("scale", initializer, channels, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, channels, jnp.float32)
        if not self.train:
            mul = scale * jax.lax.rsqrt(running_var.value + self.config.norm_epsilon)
            mean, mul, bias = (each.reshape(1, 1, 1, -1) for each in (running_mean.value, mul, bias))
            return ((x - mean) * mul + bias).astype(x.dtype)
        y, mean, var = batch_normalise(x, scale, bias, self.config.norm_epsilon)
        if not self.is_initializing():
            for running, new in ((running_mean, mean), (running_var, var)):
                running.value = momentum * running.value + (1 - momentum) * new
        return y


class ConvNorm(nn.Module):
    """A convolution without bias, and BatchNorm.

    Attributes:
      config: of the network.
      channels: of the output.
      size: of the kernel.
      train: see `ResNet`.
      stride: of the convolution.
      zero_init: whether the scale is initialised with 0.
    """

    config: ResNetConfig
    channels: int
    size: int
    train: bool
    stride: int = 1
    zero_init: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[batch, height, width, inputs]` to `[batch, height / stride, width / stride, channels]`."""
        c = self.config
        initializer = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        shape = (self.size, self.size, x.shape[-1], self.channels)
        kernel = self.param("kernel", initializer, shape, jnp.float32)
        return BatchNorm(c, self.train, self.zero_init, name="norm")(
            along_batch(convolve(x, kernel, self.stride))
        )


class Block(nn.Module):
    """Convolutions and a residual sum, with a projection `shortcut` if the shapes of input and output differ.

    Attributes:
      config: of the network.
      channels: of the 3x3 convolutions.
      train: see `ResNet`.
      stride: of the block.
    """

    config: ResNetConfig
    channels: int
    train: bool
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, None]:
        """The activations after the block, and None, which `nn.scan` requires."""
        c = self.config
        if c.bottleneck:
            layers = [(self.channels, 1, 1), (self.channels, 3, self.stride), (4 * self.channels, 1, 1)]
        else:
            layers = [(self.channels, 3, self.stride), (self.channels, 3, 1)]
        y = x
        for i, (channels, size, stride) in enumerate(layers, 1):
            last = i == len(layers)
            y = ConvNorm(
                c, channels, size, self.train, stride, last and c.zero_init_residual, name=f"convolution{i}"
            )(y)
            y = y if last else nn.relu(y)
        if x.shape != y.shape:
            x = ConvNorm(c, y.shape[-1], 1, self.train, self.stride, name="shortcut")(x)
        return nn.relu(x + y), None


class Stage(nn.Module):
    """A sequence of blocks.

    Attributes:
      config: of the network.
      blocks: number of blocks.
      channels: of the 3x3 convolutions.
      stride: of the first block.
      train: see `ResNet`.
    """

    config: ResNetConfig
    blocks: int
    channels: int
    stride: int
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The activations after the stage."""
        block = Block if self.config.remat == "none" else nn.remat(Block, prevent_cse=False)
        x, _ = block(self.config, self.channels, self.train, self.stride, name="first")(x)
        if self.blocks > 1:
            stack = nn.scan(
                block,
                variable_axes={"params": 0, "batch_stats": 0},
                split_rngs={"params": True},
                length=self.blocks - 1,
                unroll=unrolled(self.blocks - 1, self.config.remat),
            )
            x, _ = stack(self.config, self.channels, self.train, name="layers")(x)
        return x


class ResNet(nn.Module):
    """The network up to the mean over the image, without a classifier."""

    config: ResNetConfig

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Computes features of images.

        Args:
          images: float32 `[batch, height, width, channels]`.
          train: normalises by the statistics of this batch and updates the running statistics ("batch_stats" must be
            mutable); otherwise normalises by the running statistics.

        Returns:
          float32 `[batch, features]`.
        """
        c = self.config
        size, stride = {"imagenet": (7, 2), "cifar": (3, 1), "small": (3, 2)}[c.stem]
        x = nn.relu(ConvNorm(c, c.width, size, train, stride, name="stem")(images.astype(c.dtype)))
        if c.stem == "imagenet":
            x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        for i, blocks in enumerate(c.blocks):
            stride = 1 if i == 0 else 2
            x = Stage(c, blocks, c.width * 2**i, stride, train, name=f"stage{i + 1}")(x)
        return x.astype(jnp.float32).mean((1, 2))
