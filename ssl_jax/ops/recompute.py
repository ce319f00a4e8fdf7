"""Recomputation: less memory traffic in the backward pass for a little more arithmetic."""

import functools

import jax
from jax.ad_checkpoint import checkpoint_name

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
