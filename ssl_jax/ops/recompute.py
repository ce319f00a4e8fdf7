"""Recomputation: less memory traffic in the backward pass for a little more arithmetic."""

import functools

import jax

recompute = functools.partial(jax.checkpoint, prevent_cse=False)
"""Of a function: the backward pass stores its arguments alone, and computes again what else it needs.

Small matrices spend more time on storing and reading activations than on computing cheap ones twice.
"""
