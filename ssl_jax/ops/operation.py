"""Operations in two forms: the plain formula, and a fast form that computes the same.

XLA for CPUs is slow at a few things that every model does: sums for biases, convolutions in loops, argmax, cumulative
sums. The operations of this package are written so that it is fast at them, or so that the backward pass reads less
memory. Models, transforms, losses and decoding call an operation by its name; only this package knows of the fast
forms.

The first thing to read in a module of this package is the plain formula of each operation, the function below
`@Operation`. The function below `@NAME.fast_form` replaces it in every program, unless the caller asks for
`plain_formulas()`. Tests compare the two forms in value and gradient (tests/ops/test_operations.py).
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax

_plain = jax.make_user_context(False)


def plain_formulas() -> AbstractContextManager[None]:
    """A context in which every operation is its plain formula, with the derivatives that JAX finds for it.

    Some fast forms have a written-out reverse-mode derivative, which JAX cannot use in forward mode. Within this
    context `jax.jvp`, `jax.jacfwd`, `jax.linearize` and `jax.hessian` work on all models. Functions that were compiled
    outside of it are compiled anew.

    Example:
      >>> import jax.numpy as jnp
      >>> from ssl_jax.ops.affine import affine
      >>> with plain_formulas():
      ...     y, dy = jax.jvp(lambda x: affine(x, jnp.full((1, 1), 3.0), jnp.ones(1)), (jnp.ones(1),), (jnp.ones(1),))
      >>> print(y, dy)
      [4.] [3.]
    """
    return _plain(True)


class Operation:
    """A decorator of a plain formula, which makes it an operation that may have a fast form as well.

    Attributes:
      plain: the plain formula.
      fast: the fast form.
    """

    def __init__(self, plain: Callable[..., Any]) -> None:
        functools.update_wrapper(self, plain)
        self.plain = plain
        self.fast = plain

    def fast_form(self, fast: Callable[..., Any]) -> Callable[..., Any]:
        """Takes `fast` as the fast form. Usable as a decorator."""
        self.fast = fast
        return fast

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the fast form, or within `plain_formulas()` the plain formula."""
        return (self.plain if _plain.value else self.fast)(*args, **kwargs)
