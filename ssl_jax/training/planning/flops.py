"""Operations of the matrix products in a traced program: how many there are, and how many are done a second time."""

import math

from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params
from jax.interpreters.partial_eval import dce_jaxpr

RECOMPUTED = "rematted_computation"
"""What JAX adds to the name of everything that a backward pass computes again (`jax.checkpoint`, `nn.remat`)."""


def product_flops(jaxpr: Jaxpr) -> int:
    """Operations of all matrix products and convolutions whose results a traced program uses.

    The body of a loop counts once per iteration; the compiler's own count has it once. What is computed again to save
    memory counts again; see `recomputed_flops`. Products with the padding of an image count, products with the zeros
    between the pixels of a dilated image do not.
    """
    return _flops(_used(jaxpr), every=True)


def recomputed_flops(jaxpr: Jaxpr) -> int:
    """The part of `product_flops` that the backward pass computes again to save memory (rematerialisation)."""
    return _flops(_used(jaxpr), every=False)


def _used(jaxpr: Jaxpr) -> Jaxpr:
    """The program without what contributes to none of its results; the compiler drops that too."""
    return dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars), instantiate=True)[0]


def _flops(jaxpr: Jaxpr, every: bool) -> int:
    """Operations of all products, or of those alone that are computed again."""
    flops = 0
    for equation in jaxpr.eqns:
        counts = every or RECOMPUTED in str(equation.source_info.name_stack)
        if counts:
            flops += _product(equation)
        iterations = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        flops += iterations * sum(_flops(inner, counts) for inner in jaxprs_in_params(equation.params))
    return flops


def _product(equation: JaxprEqn) -> int:
    """Operations of one equation; 0 if it is no product."""
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
