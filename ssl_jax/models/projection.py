"""The MLPs on top of the encoder in joint-embedding methods: projectors, expanders and predictors.

The papers differ in the number of layers, their widths, and the last layer. SimCLR (arXiv:2002.05709, 2006.10029)
normalises the output without a bias; SimSiam's projector (2011.10566) without scale and bias. The last layer of BYOL
(2006.07733), Barlow Twins (2103.03230) and VICReg (2105.04906) is a matrix without normalisation; that of SimSiam's
predictor has a bias as well. All of these normalise the hidden layers, whose matrices have no bias, because the
normalisation would remove it (some of the released codes have one). The hidden layers of MoCo v2 (2003.04297) are not
normalised and have a bias.

Kernels are initialised with variance 1 / fan-in, from a normal distribution truncated at twice its standard deviation,
as in BYOL's code.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.domains import Dtype, Settings, Width
from ssl_jax.errors import UserError
from ssl_jax.placement import along_batch

MOMENTUM, EPSILON = 0.9, 1e-5  # of the normalisations, the same in all of the papers' code


@dataclasses.dataclass(frozen=True)
class MlpConfig(Settings):
    """The shape of a head. The defaults are SimCLR's for ResNet-50."""

    hidden: tuple[Width, ...] = (2048,)
    """Widths of the hidden layers, each followed by BatchNorm and ReLU."""
    features: Width = 128
    """Width of the output."""
    last_norm: Literal["none", "plain", "scale"] = "scale"
    """BatchNorm of the output: none, plain (neither scale nor bias) or scale (without bias)."""
    last_bias: bool = False
    """Whether the last layer has a bias; only without a normalisation of the output."""
    hidden_norm: bool = True
    """Whether BatchNorm follows the hidden layers; otherwise they have a bias and ReLU alone."""
    dtype: Dtype = "float32"
    """Dtype of the computation, float32 or bfloat16; parameters and statistics are float32."""

    def check_relations(self) -> None:
        if self.last_bias and self.last_norm != "none":
            raise UserError(
                f"a head with last_bias and last_norm {self.last_norm!r} has a bias without effect, because the "
                "normalisation removes it; turn one of the two off."
            )


class ProjectionMlp(nn.Module):
    """An MLP with BatchNorm."""

    config: MlpConfig

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Applies the head.

        Args:
          x: `[batch, width]`, the output of an encoder or of another head.
          train: normalises by the statistics of this batch and updates the running statistics ("batch_stats" must be
            mutable); otherwise normalises by the running statistics.

        Returns:
          float32 `[batch, features]`.
        """
        c = self.config

        def dense(x: jax.Array, width: int, layer: int, bias: bool) -> jax.Array:
            return along_batch(nn.Dense(width, use_bias=bias, dtype=c.dtype, name=f"dense{layer}")(x))

        def norm(x: jax.Array, layer: int, scale: bool, bias: bool) -> jax.Array:
            # Not by the fast variance E[x^2] - E[x]^2, which is inexact where the outputs of a batch are nearly the
            # same, as they are when a collapse begins.
            return nn.BatchNorm(
                use_running_average=not train,
                momentum=MOMENTUM,
                epsilon=EPSILON,
                dtype=c.dtype,
                use_scale=scale,
                use_bias=bias,
                use_fast_variance=False,
                name=f"norm{layer}",
            )(x)

        x = x.astype(c.dtype)
        for layer, width in enumerate(c.hidden, 1):
            x = dense(x, width, layer, bias=not c.hidden_norm)
            x = nn.relu(norm(x, layer, scale=True, bias=True) if c.hidden_norm else x)
        last = len(c.hidden) + 1
        x = dense(x, c.features, last, c.last_bias)
        if c.last_norm != "none":
            x = norm(x, last, scale=c.last_norm == "scale", bias=False)
        return x.astype(jnp.float32)
