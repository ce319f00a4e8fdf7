"""Operations of the matrix products in a traced program: how many there are, and how many are done a second time."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params
from jax.interpreters.partial_eval import dce_jaxpr

from ssl_jax.ops.flash_attention import CAUSAL, block_length

RECOMPUTED = "rematted_computation"
"""What JAX adds to the name of everything that a backward pass computes again (`jax.checkpoint`, `nn.remat`)."""
KERNEL_SHARE = 0.5
"""Share of a chip's peak at which a kernel of attention is assumed to multiply if heads are as wide as the matrix unit.
No measurement: the compiler estimates no cycles for kernels."""
MATRIX_UNIT = 128
"""Width of the matrix unit; narrower heads leave the rest of it idle."""


class Kernel(NamedTuple):
    """A call of a kernel of attention (`ssl_jax.ops.flash_attention`).

    Attributes:
      flops: of its products, those of masked blocks too, which it leaves out.
      recomputed: the part of them that the forward pass has done before: the backward pass computes the logits again.
      done: share of the blocks that are not masked as a whole.
      share: of the chip's peak at which it is assumed to multiply.
    """

    flops: int
    recomputed: int
    done: float
    share: float


def product_flops(jaxpr: Jaxpr) -> int:
    """Operations of all matrix products and convolutions whose results a traced program uses.

    The body of a loop counts once per iteration; the compiler's own count has it once. What is computed again to save
    memory counts again; see `recomputed_flops`. Products with the padding of an image count, products with the zeros
    between the pixels of a dilated image do not. Masked logits count, also if a kernel leaves them out.
    """
    return sum(times * _product(equation, scope) for equation, times, scope in _used(jaxpr))


def recomputed_flops(jaxpr: Jaxpr) -> int:
    """The part of `product_flops` that the backward pass computes again to save memory (rematerialisation)."""
    flops = 0
    for equation, times, scope in _used(jaxpr):
        if RECOMPUTED in scope:
            flops += times * _product(equation, scope)
        elif kernel := _kernel(equation, scope):
            flops += times * kernel.recomputed
    return flops


def kernel_seconds(jaxpr: Jaxpr, peak: float) -> float:
    """Seconds that the kernels of attention of a traced program are assumed to take.

    Args:
      jaxpr: the program, of all chips.
      peak: operations per second of all chips together, at most.
    """
    seconds = 0.0
    for equation, times, scope in _used(jaxpr):
        if kernel := _kernel(equation, scope):
            seconds += times * kernel.flops * kernel.done / (peak * kernel.share)
    return seconds


def _used(jaxpr: Jaxpr) -> Iterator[tuple[JaxprEqn, int, str]]:
    """The equations of a program without those that contribute to none of its results; the compiler drops these too.

    Yields:
      (equation, how often it runs on all devices together, names of the scopes that it is in).
    """
    yield from _equations(dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars), instantiate=True)[0], 1, "")


def _equations(jaxpr: Jaxpr, times: int, scope: str) -> Iterator[tuple[JaxprEqn, int, str]]:
    for equation in jaxpr.eqns:
        own = f"{scope}/{equation.source_info.name_stack}"
        yield equation, times, own
        if _kernel(equation, own):
            continue  # its body is one block
        inner = times
        if equation.primitive.name == "scan":
            inner *= equation.params["length"]
        elif equation.primitive.name == "shard_map":  # its body is the program of one device
            inner *= equation.params["mesh"].size
        for body in jaxprs_in_params(equation.params):
            yield from _equations(body, inner, own)


def _kernel(equation: JaxprEqn, scope: str) -> Kernel | None:
    """What one equation does if it is a kernel of attention; otherwise None."""
    if equation.primitive.name != "pallas_call" or not equation.params["name"].startswith("splash_mha"):
        return None
    queries, keys = [x.aval for x in equation.invars if x.aval.ndim == 4][:2]
    length, head_dim = keys.shape[2:]
    product = 2 * queries.size * length
    # Forward: logits and values. Backward: the logits again, then gradients of weights, values, queries and keys.
    products = 2 if "_fwd" in equation.params["name"] else 5
    blocks = length // block_length(length)
    return Kernel(
        flops=products * product,
        recomputed=product if products == 5 else 0,
        done=(blocks + 1) / (2 * blocks) if CAUSAL in scope else 1,
        share=KERNEL_SHARE * min(1, head_dim / MATRIX_UNIT),
    )


def _product(equation: JaxprEqn, scope: str) -> int:
    """Operations of one equation; 0 if it is no product."""
    if kernel := _kernel(equation, scope):
        return kernel.flops
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        depth = math.prod(equation.invars[0].aval.shape[i] for i in contracted)
        return 2 * equation.outvars[0].aval.size * depth
    if equation.primitive.name == "conv_general_dilated":
        kernel = equation.invars[1].aval
        features = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
        dilation = math.prod(equation.params["lhs_dilation"])
        return 2 * equation.outvars[0].aval.size * (kernel.size // features) // dilation
    return 0
