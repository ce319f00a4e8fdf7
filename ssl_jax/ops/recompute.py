"""Recomputation: less memory traffic in the backward pass for a little more arithmetic; and loops over what is kept."""

import functools

import jax
from jax.ad_checkpoint import checkpoint_name

from ssl_jax.placement import platform

recompute = functools.partial(jax.checkpoint, prevent_cse=False)
"""Of a function: the backward pass stores its arguments alone, and computes again what else it needs.

Small matrices spend more time on storing and reading activations than on computing cheap ones twice.
"""

KEPT = "kept"
"""Name of what a layer that is computed again keeps: the outputs of its dense layers and of its attention.

A policy on products would find none of them: they are inside operations with a derivative of their own.
"""
keep = functools.partial(checkpoint_name, name=KEPT)
"""Of an array: it is kept by layers with `keep_policy`."""
keep_policy = jax.checkpoint_policies.save_only_these_names(KEPT)
"""Policy of `jax.checkpoint` that keeps `keep(x)` alone."""


def unrolled(layers: int, remat: str) -> int:
    """How many layers of a loop are compiled one after the other: all of them on TPUs, unless they are computed again.

    The loop would stack all that the backward pass needs, a layer at a time, and take it from there again. What is
    computed again stays in its loop, where the compiler cannot merge it with the first time.

    Args:
      layers: in the loop.
      remat: what the backward pass computes again; "none" if it computes nothing again.
    """
    return layers if platform() == "tpu" and remat == "none" else 1
