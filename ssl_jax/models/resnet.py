"""Residual networks for images (arXiv:1512.03385), in the variant "v1.5" of torchvision and google-research/simclr.

Where a bottleneck block shrinks the image, its 3x3 convolution does it. A stage is its `first` block and, under
`nn.scan`, the others, which are alike: their parameters and statistics are stacked on axis 0 below `layers`, so
that compile time does not grow with depth.

BatchNorm takes its statistics over the whole batch it is called with, which in a training step is the global batch,
however many devices hold it. The running ones (float32, in the collection "batch_stats") are means of the batches'
biased variances, where torch keeps unbiased ones.

Convolutions start as torchvision's: normal, with variance 2 / fan-out, where simclr has 1 / fan-in. Normalisation
follows each of them, so that this changes no output, but the size of a step relative to its kernel.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.errors import UserError
from ssl_jax.ops.convolution import convolve
from ssl_jax.placement import along_batch


@dataclasses.dataclass(frozen=True)
class ResNetConfig:
    """The shape of a residual network; the defaults are ResNet-50."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    """How many in each stage. Every stage but the first halves height and width and doubles the channels."""
    bottleneck: bool = True
    """Blocks of convolutions 1x1, 3x3, 1x1, the last to four times the channels; otherwise of two 3x3."""
    width: int = 64
    """Channels of the 3x3 convolutions of the first stage. The papers' "2x" and "4x" networks are 128 and 256."""
    stem: Literal["imagenet", "cifar", "small"] = "imagenet"
    """What comes before the stages. imagenet: a convolution 7x7 and a max-pool 3x3, each of stride 2; cifar: a
    convolution 3x3 of stride 1, for 32x32; small: one of stride 2, which is a quarter of the work."""
    norm_momentum: float = 0.9
    """Share of the running statistics that a step leaves."""
    norm_epsilon: float = 1e-5
    """Added to the variance."""
    zero_init_residual: bool = True
    """The last scale of each block starts at 0, and the block as the identity (arXiv:1706.02677)."""
    remat: Literal["none", "full"] = "none"
    """What the backward pass computes again to save memory: none or full (all but the activations between blocks)."""
    dtype: str = "float32"
    """Of the computation, float32 or bfloat16; parameters and statistics are float32."""

    def __post_init__(self) -> None:
        if not self.blocks or min(self.blocks) < 1 or self.width < 1:
            raise UserError(
                f"a ResNet of blocks {self.blocks} and width {self.width} cannot be built; "
                "every stage needs a block or more, and the width must be at least 1."
            )

    @property
    def features(self) -> int:
        """Width of the output."""
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


class ConvNorm(nn.Module):
    """A convolution without bias and its BatchNorm, from `[batch, height, width, inputs]` to `channels`."""

    config: ResNetConfig
    channels: int
    size: int
    train: bool
    stride: int = 1
    zero_init: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        c = self.config
        initializer = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        shape = (self.size, self.size, x.shape[-1], self.channels)
        kernel = self.param("kernel", initializer, shape, jnp.float32)
        return nn.BatchNorm(
            use_running_average=not self.train,
            momentum=c.norm_momentum,
            epsilon=c.norm_epsilon,
            dtype=c.dtype,
            scale_init=nn.initializers.zeros if self.zero_init else nn.initializers.ones,
            name="norm",
        )(along_batch(convolve(x, kernel, self.stride)))


class Block(nn.Module):
    """Convolutions and a residual sum; a projected `shortcut` where the shapes of input and output differ.

    Returns the activations, and None: the signature `nn.scan` wants.
    """

    config: ResNetConfig
    channels: int
    train: bool
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, None]:
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
    """`blocks` blocks, the first with `stride`."""

    config: ResNetConfig
    blocks: int
    channels: int
    stride: int
    train: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        block = Block if self.config.remat == "none" else nn.remat(Block, prevent_cse=False)
        x, _ = block(self.config, self.channels, self.train, self.stride, name="first")(x)
        if self.blocks > 1:
            stack = nn.scan(
                block,
                variable_axes={"params": 0, "batch_stats": 0},
                split_rngs={"params": True},
                length=self.blocks - 1,
            )
            x, _ = stack(self.config, self.channels, self.train, name="layers")(x)
        return x


class ResNet(nn.Module):
    """The network up to the mean over the image.

    Args of a call:
        images: float32 `[batch, height, width, channels]`.
        train: normalises by the statistics of this batch and updates the running ones ("batch_stats" must be
            mutable); otherwise by the running ones.

    Returns:
        float32 `[batch, features]`.
    """

    config: ResNetConfig

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        c = self.config
        size, stride = {"imagenet": (7, 2), "cifar": (3, 1), "small": (3, 2)}[c.stem]
        x = nn.relu(ConvNorm(c, c.width, size, train, stride, name="stem")(images.astype(c.dtype)))
        if c.stem == "imagenet":
            x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        for i, blocks in enumerate(c.blocks):
            stride = 1 if i == 0 else 2
            x = Stage(c, blocks, c.width * 2**i, stride, train, name=f"stage{i + 1}")(x)
        return x.astype(jnp.float32).mean((1, 2))
