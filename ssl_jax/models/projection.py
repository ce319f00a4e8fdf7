"""The perceptrons that joint-embedding methods put on an encoder: projectors, expanders and predictors.

What differs between the papers is the number of layers, their widths, and the end: SimCLR (arXiv:2002.05709,
2006.10029) normalises it without a bias, SimSiam's projector (2011.10566) without scale and bias; those of BYOL
(2006.07733), Barlow Twins (2103.03230) and VICReg (2105.04906) end in a bare matrix, SimSiam's predictor in one with a
bias. Every hidden layer is normalised; its matrix has no bias, which the normalisation would take off again (some of
the released codes have one).

Kernels start with variance 1 / fan-in, a normal distribution cut off at twice its deviation, as in BYOL's code.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.errors import UserError
from ssl_jax.placement import along_batch

MOMENTUM, EPSILON = 0.9, 1e-5  # of the normalisations, the same in all of the papers' code


@dataclasses.dataclass(frozen=True)
class MlpConfig:
    """The shape of a head; the defaults are SimCLR's for ResNet-50."""

    hidden: tuple[int, ...] = (2048,)
    """Widths of the hidden layers, each followed by BatchNorm and ReLU."""
    features: int = 128
    """Width of the output."""
    last_norm: Literal["none", "plain", "scale"] = "scale"
    """BatchNorm of the output: none, plain (neither scale nor bias) or scale (without bias)."""
    last_bias: bool = False
    """The last layer has a bias; for an output that is not normalised."""
    dtype: str = "float32"
    """Of the computation, float32 or bfloat16; parameters and statistics are float32."""

    def __post_init__(self) -> None:
        if min(*self.hidden, self.features, 1) < 1:
            raise UserError(
                f"a head of hidden layers {self.hidden} and {self.features} features cannot be built; "
                "every width must be at least 1."
            )
        if self.last_bias and self.last_norm != "none":
            raise UserError(
                f"a head with last_bias and last_norm {self.last_norm!r} has a bias without effect, since the "
                "normalisation takes it off; turn one of the two off."
            )


class ProjectionMlp(nn.Module):
    """The head.

    Args of a call:
        x: `[batch, width]`, the output of an encoder or of another head.
        train: normalises by the statistics of this batch and updates the running ones ("batch_stats" must be
            mutable); otherwise by the running ones.

    Returns:
        float32 `[batch, features]`.
    """

    config: MlpConfig

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        c = self.config

        def dense(x: jax.Array, width: int, layer: int, bias: bool) -> jax.Array:
            return along_batch(nn.Dense(width, use_bias=bias, dtype=c.dtype, name=f"dense{layer}")(x))

        def norm(x: jax.Array, layer: int, scale: bool, bias: bool) -> jax.Array:
            # Of the deviations themselves: the shorter E[x^2] - E[x]^2 is wrong where the outputs of a batch are
            # nearly the same, which is where a collapse begins.
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
            x = nn.relu(norm(dense(x, width, layer, bias=False), layer, scale=True, bias=True))
        last = len(c.hidden) + 1
        x = dense(x, c.features, last, c.last_bias)
        if c.last_norm != "none":
            x = norm(x, last, scale=c.last_norm == "scale", bias=False)
        return x.astype(jnp.float32)
