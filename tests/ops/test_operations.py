"""Every operation has two forms; both give the same values and gradients, and the plain one has forward mode too."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ssl_jax.ops
from ssl_jax.ops.activations import gated, gelu, gelu_tanh
from ssl_jax.ops.affine import affine, affine_output_first, tied_logits
from ssl_jax.ops.attention import masked_softmax, weighted_sum
from ssl_jax.ops.convolution import convolve, convolve_transposed
from ssl_jax.ops.dropout import dropout
from ssl_jax.ops.normalization import batch_normalise, standardise
from ssl_jax.ops.operation import Operation, plain_formulas
from ssl_jax.ops.reductions import argmin, cumsum, is_argmax
from ssl_jax.ops.selection import argsort_keys, mass_threshold, smallest

RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


def call(operation, *rest, **options):
    """The operation of its first arguments alone."""
    return lambda *arrays: operation(*arrays, *rest, **options)


class Case(NamedTuple):
    """A use of an operation."""

    operation: Operation
    function: Callable
    """Of `arrays`; calls the operation."""
    arrays: tuple
    """With gradients, unless the operation has none."""
    gradient: bool = True
    name: str = ""


def ties(*shape):
    return jnp.asarray(RNG.integers(0, 4, shape), jnp.float32)


def keys(candidates):
    """Distinct numbers below 2^31, and the largest number for what is no candidate."""
    numbers = RNG.permutation(2**31 - 1 - np.arange(len(candidates)) * 1000)
    return jnp.asarray(np.where(candidates, numbers, 2**32 - 1), jnp.uint32)


MASK = jnp.asarray(RNG.random((2, 1, 5, 7)) < 0.6).at[0, 0, 2].set(False)
PROBABILITIES = jax.nn.softmax(3 * normal(6, 100), axis=-1)

CASES = [
    Case(affine, affine, (normal(3, 4, 6), normal(6, 3, 2, 5), normal(3, 2, 5)), name="heads"),
    Case(affine, affine, (normal(3, 4, 2, 5), normal(2, 5, 6), normal(6)), name="axes"),
    Case(affine, affine, (normal(6), normal(6, 5), normal(5)), name="one row"),
    Case(affine, call(affine, "gelu"), (normal(3, 4, 6), normal(6, 5), normal(5)), name="of gelu"),
    Case(affine, call(affine, "relu"), (normal(3, 4, 6), normal(6, 5), normal(5)), name="of relu"),
    Case(affine_output_first, affine_output_first, (normal(3, 4, 6), normal(3, 2, 6), normal(3, 2))),
    Case(
        affine_output_first,
        lambda x, kernel: affine_output_first(x, kernel, None, 2),
        (normal(3, 4, 6), normal(5, 4, 6)),
        name="axes without bias",
    ),
    Case(tied_logits, tied_logits, (normal(3, 4, 6), normal(9, 6), normal(9)), name="few rows"),
    Case(tied_logits, tied_logits, (normal(3, 4, 6), normal(9, 6)), name="few rows without bias"),
    Case(tied_logits, tied_logits, (normal(20, 4, 6), normal(9, 6), normal(9)), name="rows"),
    Case(tied_logits, tied_logits, (normal(20, 4, 6), normal(9, 6)), name="rows without bias"),
    Case(gelu, gelu, (3 * normal(40),)),
    Case(gelu_tanh, gelu_tanh, (3 * normal(40),)),
    Case(gated, call(gated, "gelu_tanh"), (normal(3, 8), normal(3, 8))),
    Case(standardise, call(standardise, 1e-5), (3 + 2 * normal(4, 5, 16),)),
    Case(standardise, call(standardise, 1e-2, False), (3 + 2 * normal(4, 16),), name="not centred"),
    Case(
        batch_normalise,
        lambda *arrays: jnp.concatenate([x.reshape(-1, 6) for x in batch_normalise(*arrays, 1e-2)]),
        (3 + 2 * normal(4, 5, 6), normal(6), normal(6)),
    ),
    Case(dropout, call(dropout, 0.3, jax.random.key(1)), (normal(8, 16),)),
    Case(dropout, call(dropout, 0.3, None), (normal(8, 16),), name="without a key"),
    Case(masked_softmax, call(masked_softmax, MASK), (3 * normal(2, 3, 5, 7),)),
    Case(masked_softmax, masked_softmax, (3 * normal(2, 3, 5, 7),), name="without a mask"),
    Case(weighted_sum, call(weighted_sum, 0.2, jax.random.key(2)), (normal(2, 3, 5, 7), normal(2, 7, 3, 4))),
    Case(convolve, call(convolve, 1), (normal(2, 12, 3), normal(3, 3, 5)), name="sequence"),
    Case(convolve, call(convolve, 3), (normal(2, 12, 3), normal(6, 3, 5)), name="sequence of stride 3"),
    Case(convolve, call(convolve, 2), (normal(2, 24, 12, 3), normal(4, 4, 3, 5)), name="even"),
    Case(convolve, call(convolve, 2), (normal(2, 9, 7, 3), normal(3, 3, 3, 5)), name="with a rest"),
    Case(
        convolve_transposed, call(convolve_transposed, 2), (normal(2, 6, 5), normal(4, 3, 5)), name="sequence"
    ),
    Case(convolve_transposed, call(convolve_transposed, 2), (normal(2, 5, 4, 3), normal(4, 4, 2, 3))),
    Case(argmin, argmin, (ties(6, 5, 9),), False),
    Case(is_argmax, is_argmax, (ties(50, 9), jnp.asarray(RNG.integers(0, 9, 50))), False),
    *(
        Case(cumsum, cumsum, (jnp.asarray(RNG.integers(-99, 99, n)),), False, str(n))
        for n in (1, 31, 32, 100)
    ),
    Case(cumsum, cumsum, (jnp.asarray(RNG.random(100) < 0.5),), False, "booleans"),
    *(
        Case(smallest, smallest, (keys(RNG.random(40) < 0.5), jnp.int32(count)), False, f"{count} of 40")
        for count in (0, 1, 7, 40)
    ),
    Case(
        argsort_keys,
        argsort_keys,
        (jnp.asarray(RNG.integers(0, 99, 50) * 64 + np.arange(50), jnp.uint32),),
        False,
    ),
    *(
        Case(mass_threshold, call(mass_threshold, p), (PROBABILITIES,), False, f"{p}")
        for p in (0.1, 0.9, 1.0)
    ),
]
"""At least one of every operation."""


def label(case):
    return f"{case.operation.__name__} {case.name}".strip()


def compiled(function):
    """Compiled as it is, and with plain formulas."""

    def plain(*arrays):
        with plain_formulas():
            return function(*arrays)

    return jax.jit(function), jax.jit(plain)


def close(found, wanted):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * max(1, np.abs(np.float64(b)).max()))


def with_gradients(case):
    if not case.gradient:
        return case.function

    def both(*arrays):
        value, pull = jax.vjp(case.function, *arrays)
        cotangent = jax.random.normal(jax.random.key(3), value.shape, value.dtype)
        return value, pull(cotangent)

    return both


def test_the_table_has_every_operation():
    names = [f"ssl_jax.ops.{found.name}" for found in pkgutil.iter_modules(ssl_jax.ops.__path__)]
    attributes = [value for name in names for value in vars(importlib.import_module(name)).values()]
    operations = {value for value in attributes if isinstance(value, Operation)}
    assert operations == {case.operation for case in CASES}
    assert all(found.fast is not found.plain for found in operations)


@pytest.mark.parametrize("case", CASES, ids=label)
def test_both_forms_give_the_same_value_and_gradient(case):
    fast, plain = compiled(with_gradients(case))
    assert (
        fast.lower(*case.arrays).as_text() != plain.lower(*case.arrays).as_text()
        or case.name == "without a key"
    )
    close(fast(*case.arrays), plain(*case.arrays))


@pytest.mark.parametrize("case", CASES, ids=label)
def test_both_forms_under_vmap_in_a_rematerialised_loop(case):
    """The sum over two iterations of a loop, each of a batch of two."""
    function = with_gradients(case)

    def looped(*arrays):
        batch = tuple(jnp.stack([x, x]) for x in arrays)

        @jax.checkpoint
        def iteration(carry, _):
            out = jax.vmap(function)(*batch)
            return jax.tree.map(lambda total, x: total + x, carry, out), None

        start = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(jax.vmap(function), *batch)
        )
        return jax.lax.scan(iteration, start, length=2)[0]

    fast, plain = compiled(looped)
    close(fast(*case.arrays), plain(*case.arrays))


@pytest.mark.parametrize("case", [case for case in CASES if case.gradient], ids=label)
def test_forward_mode_of_the_plain_formula_is_reverse_mode_of_the_fast_form(case):
    directions = tuple(jax.random.normal(jax.random.key(i), x.shape) for i, x in enumerate(case.arrays))

    @jax.jit
    def both(arrays, directions):
        with plain_formulas():
            value, slope = jax.jvp(case.function, arrays, directions)
        cotangent = jax.random.normal(jax.random.key(9), value.shape)
        gradients = jax.vjp(case.function, *arrays)[1](cotangent)
        return jnp.vdot(slope, cotangent), sum(map(jnp.vdot, gradients, directions))

    forward, backward = both(case.arrays, directions)
    assert float(forward) == pytest.approx(float(backward), rel=1e-4, abs=1e-4)


def test_compiled_functions_are_compiled_anew_for_plain_formulas():
    x, kernel, bias = normal(3, 4), normal(4, 5), normal(5)
    compiled = jax.jit(affine)
    compiled(x, kernel, bias)
    with plain_formulas():
        _, slope = jax.jvp(lambda x: compiled(x, kernel, bias), (x,), (x,))
    np.testing.assert_allclose(slope, x @ kernel, rtol=1e-5, atol=1e-5)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: compiled(x, kernel, bias), (x,), (x,))
