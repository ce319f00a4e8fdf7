"""Frequencies of drawn tokens against probabilities worked out in NumPy from the definitions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ssl_jax.decoding import sampling
from ssl_jax.decoding.sampling import GREEDY, SamplingConfig
from ssl_jax.errors import UserError

nucleus, sample = jax.jit(sampling.nucleus), jax.jit(sampling.sample, static_argnums=2)

LOGITS = np.log(np.array([0.05, 0.4, 0.02, 0.25, 0.08, 0.2], np.float32))
DRAWS = 20_000


@functools.partial(jax.jit, static_argnums=1)
def frequencies(key, config):
    drawn = sample(key, jnp.broadcast_to(jnp.asarray(LOGITS), (DRAWS, len(LOGITS))), config)
    return jnp.bincount(drawn, length=len(LOGITS))


def expected(temperature=1.0, top_k=0, top_p=1.0):
    """Probabilities by the definitions, a token at a time."""
    logits = LOGITS.astype(np.float64) / temperature
    order = sorted(range(len(logits)), key=lambda token: -logits[token])
    kept = order[: top_k or None]
    mass = np.exp(logits[kept]) / np.exp(logits[kept]).sum()
    nucleus, total = [], 0.0
    for token, probability in zip(kept, mass, strict=True):
        nucleus.append(token)
        total += probability
        if total >= top_p:
            break
    probabilities = np.zeros(len(logits))
    probabilities[nucleus] = np.exp(logits[nucleus])
    return probabilities / probabilities.sum()


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1.0},
        {"temperature": 0.5},
        {"temperature": 2.0},
        {"top_k": 3},
        {"top_k": 99},
        {"top_p": 0.5},
        {"top_p": 0.86},
        {"temperature": 1.7, "top_k": 5, "top_p": 0.8},
    ],
    ids=str,
)
def test_tokens_are_drawn_as_often_as_they_should(options):
    probabilities = expected(**options)
    counts = np.asarray(frequencies(jax.random.key(1), SamplingConfig(**options)))
    assert (counts[probabilities == 0] == 0).all()
    possible = probabilities > 0
    assert stats.chisquare(counts[possible], DRAWS * probabilities[possible]).pvalue > 1e-3
    uniform = np.full(possible.sum(), DRAWS / possible.sum())
    assert stats.chisquare(counts[possible], uniform).pvalue < 1e-6, "the test would not see a difference"


@pytest.mark.parametrize(("top_p", "size"), [(0.05, 1), (0.39, 1), (0.41, 2), (0.64, 2), (0.66, 3), (1.0, 6)])
def test_the_nucleus_keeps_the_token_that_crosses(top_p, size):
    """In descending order the sums are 0.40, 0.65, 0.85, 0.93, 0.98 and 1."""
    kept = nucleus(jnp.asarray(LOGITS), top_p)
    assert set(np.flatnonzero(kept)) == set(np.argsort(-LOGITS)[:size])


def test_the_nucleus_of_a_large_vocabulary_is_that_of_sorting():
    logits = 3 * np.random.default_rng(0).standard_normal((4, 5000)).astype(np.float32)
    logits[1] = np.round(logits[1])  # many equal ones
    logits[2, 1:] = -np.inf
    logits[3] -= 1e4 * (np.arange(5000) > 40)  # probabilities of zero
    for top_p in (0.01, 0.5, 0.9, 0.999):
        kept = np.asarray(nucleus(jnp.asarray(logits), top_p))
        for row, mask in zip(logits.astype(np.float64), kept, strict=True):
            order = np.argsort(-row, kind="stable")
            mass = np.exp(row[order] - row.max()) / np.exp(row - row.max()).sum()
            size = np.searchsorted(mass.cumsum(), top_p) + 1
            assert set(np.flatnonzero(mask)) == set(order[:size])


def test_of_equal_tokens_the_first_are_kept():
    equal = jnp.zeros((500, 4))
    for config in (SamplingConfig(top_k=2), SamplingConfig(top_p=0.5)):
        assert set(sample(jax.random.key(0), equal, config).tolist()) == {0, 1}
    assert set(sample(jax.random.key(0), equal, GREEDY).tolist()) == {0}


def test_greedy_and_one_candidate_are_the_largest_logit():
    logits = jax.random.normal(jax.random.key(2), (50, 11))
    best = logits.argmax(-1).tolist()
    for config in (GREEDY, SamplingConfig(top_k=1), SamplingConfig(top_p=1e-6)):
        assert sample(jax.random.key(0), logits, config).tolist() == best


def test_a_key_for_each_row_makes_rows_independent_of_each_other():
    keys = jax.random.split(jax.random.key(0), 5)
    logits = jnp.broadcast_to(jnp.asarray(LOGITS), (5, 6))
    together = sample(keys, logits, SamplingConfig())
    for row in (0, 3):
        assert together[row] == sample(keys[row : row + 1], logits[:1], SamplingConfig())[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_p": 0.0}, "top_p 0.0"),
        ({"top_p": 1.5}, "top_p 1.5"),
        ({"top_p": float("nan")}, "top_p nan"),
        ({"top_k": -1}, "top_k -1"),
        ({"temperature": -0.1}, "temperature -0.1"),
        ({"temperature": float("inf")}, "temperature inf"),
    ],
)
def test_settings_without_meaning_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        SamplingConfig(**options)


@pytest.mark.parametrize("config", [SamplingConfig(), SamplingConfig(top_k=5), SamplingConfig(top_p=0.7)])
def test_draws_do_not_depend_on_default_dtypes(config):
    logits = np.random.default_rng(0).normal(size=(64, 20)).astype(np.float32)
    expected = sample(jax.random.key(0), logits, config)
    with jax.enable_x64(True):
        found = sample(jax.random.key(0), logits, config)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
