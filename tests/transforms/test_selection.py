"""Subsets of an exact size, and indices after a removal, against NumPy."""

import functools

import jax
import numpy as np
import pytest
from scipy import stats

from ssl_jax.transforms.selection import choose, compaction_indices

SURPRISE = 1e-4  # keys are fixed; a right implementation fails a test with one key in ten thousand


@pytest.mark.parametrize("length", [1, 31, 32, 100])
def test_compaction_indices(length):
    kept = np.random.default_rng(length).random(length) < 0.5
    expected = np.full(length, length)
    expected[kept] = np.arange(kept.sum())
    np.testing.assert_array_equal(jax.jit(compaction_indices)(kept), expected)


@functools.cache
def chooser():
    return jax.jit(jax.vmap(choose))


@pytest.mark.parametrize("count", [0, 1, 3, 5, 6, 20])
def test_subsets_of_an_exact_size(count):
    """Of 6 candidates among 9; more than there are means all. Smallest and largest random numbers change nothing."""
    batch = 4096
    candidates = np.tile([False, True, True, False, True, True, True, False, True], (batch, 1))
    bits = np.array(jax.random.bits(jax.random.key(count), candidates.shape))
    bits[0], bits[1] = 0, 2**32 - 1
    chosen = np.asarray(chooser()(bits, candidates, np.full(batch, count)))
    assert not chosen[~candidates].any()
    assert (chosen.sum(1) == min(count, 6)).all()
    if 0 < count < 6:
        subsets, counts = np.unique(chosen[2:], axis=0, return_counts=True)
        assert len(subsets) == {1: 6, 3: 20, 5: 6}[count]
        assert stats.chisquare(counts).pvalue > SURPRISE
