"""REINFORCE against an enumerated expectation, and rewards that length, [EOS] and what follows it cannot raise."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.losses.policy_gradient import (
    copied_ngrams,
    discounted_returns,
    prefix_rewards,
    reinforce,
    repeated_ngrams,
)

WORDS, LENGTH = 3, 3
END = 0


def texts():
    """All texts of up to three tokens over [EOS] and two words: tokens and presence, `[texts, length]`."""
    found = {}
    for tokens in itertools.product(range(WORDS), repeat=LENGTH):
        end = tokens.index(END) + 1 if END in tokens else LENGTH
        found[tokens[:end]] = [*tokens[:end], *[END] * (LENGTH - end)]
    present = np.array([[place < len(text) for place in range(LENGTH)] for text in found], np.float32)
    return np.array(list(found.values())), present


TOKENS, PRESENT = texts()


def rewards_of_prefixes():
    """A number for every prefix, as of a causal critic; also where there is no token, which must not count."""
    chance, known = np.random.default_rng(0), {}
    prefixes = [[tuple(text[: place + 1]) for place in range(LENGTH)] for text in TOKENS.tolist()]
    return np.array([[known.setdefault(one, chance.normal()) for one in row] for row in prefixes], np.float32)


REWARDS = rewards_of_prefixes()
OF_TEXT = np.random.default_rng(1).normal(size=len(TOKENS)).astype(np.float32)
"""A reward of each whole text, such as its reconstruction's, which all of its tokens get."""


def log_probs(params):
    """Of the tokens of all texts, under a policy that looks at the token before: `[texts, length]`."""
    before = np.concatenate([np.zeros((len(TOKENS), 1), int), TOKENS[:, :-1]], axis=1)
    scores = jax.nn.log_softmax(params[jnp.arange(LENGTH)[None], before], axis=-1)
    return jnp.take_along_axis(scores, TOKENS[..., None], axis=-1)[..., 0]


def probabilities(params):
    return jnp.exp((log_probs(params) * PRESENT).sum(-1))


PARAMS = jax.random.normal(jax.random.key(1), (LENGTH, WORDS, WORDS))


def expected_reinforce(params, advantages):
    """The loss with every text in its expected share."""
    shares = jax.lax.stop_gradient(probabilities(params))
    return reinforce(log_probs(params), advantages, PRESENT, shares).sum


def returns_of(rewards):
    """Sums of the rewards at and after each token."""
    return np.cumsum((rewards * PRESENT)[:, ::-1], axis=1)[:, ::-1]


def test_its_gradient_is_that_of_the_expected_reward():
    np.testing.assert_allclose(probabilities(PARAMS).sum(), 1, rtol=1e-5)

    def expectation(params):
        return (probabilities(params) * ((REWARDS * PRESENT).sum(-1) + OF_TEXT)).sum()

    ours = jax.grad(expected_reinforce)(PARAMS, returns_of(REWARDS) + OF_TEXT[:, None])
    np.testing.assert_allclose(ours, -jax.grad(expectation)(PARAMS), atol=1e-6)


def test_a_baseline_changes_no_gradient_in_expectation_and_has_none_itself():
    places = np.array([0.7, -2.0, 0.4], np.float32)
    ours = jax.grad(expected_reinforce)(PARAMS, returns_of(REWARDS) - places[None])
    np.testing.assert_allclose(ours, jax.grad(expected_reinforce)(PARAMS, returns_of(REWARDS)), atol=1e-6)
    assert not np.any(jax.grad(expected_reinforce, 1)(PARAMS, returns_of(REWARDS)))


def test_nothing_after_the_end_counts():
    after = np.where(PRESENT > 0, 0, 100).astype(np.float32)
    rewards = discounted_returns(REWARDS + after, PRESENT, 0.9)
    np.testing.assert_array_equal(rewards, discounted_returns(REWARDS, PRESENT, 0.9))
    ones = np.ones(len(TOKENS), np.float32)
    np.testing.assert_array_equal(
        prefix_rewards(REWARDS + after, PRESENT, ones), prefix_rewards(REWARDS, PRESENT, ones)
    )
    slope = jax.grad(lambda x: reinforce(x, REWARDS + 1, PRESENT, ones).sum)(jnp.zeros(TOKENS.shape))
    assert not np.any(np.asarray(slope)[PRESENT == 0])
    assert np.all(np.asarray(slope)[PRESENT > 0])
    repeated = repeated_ngrams(np.array([[5, 6, 9, 5, 6]]), np.array([[1, 1, 1, 0, 0]]), 2)
    assert not np.any(repeated)


def test_length_alone_has_no_return():
    """A critic that likes all prefixes equally gives a text of one token what it gives one of eight."""
    present = np.tril(np.ones((8, 8), np.float32))
    returns = discounted_returns(0.6 * np.ones((8, 8), np.float32), present, 0.9)
    np.testing.assert_allclose(returns, 0.6 * present, rtol=1e-5)


def test_returns_are_means_weighted_by_the_discount():
    rewards, present = np.array([[1.0, -2.0, 4.0]], np.float32), np.ones((1, 3), np.float32)
    expected = [(1 - 0.5 * 2 + 0.25 * 4) / 1.75, (-2 + 0.5 * 4) / 1.5, 4]
    np.testing.assert_allclose(discounted_returns(rewards, present, 0.5)[0], expected, rtol=1e-6)


def test_rewards_of_prefixes_are_centred_over_the_examples_that_count():
    logits = np.array([[2.0, -1.0], [0.5, 9.0], [7.0, 7.0]], np.float32)
    present, weights = np.array([[1, 1], [1, 0], [1, 1]], np.float32), np.array([1, 1, 0], np.float32)
    rewards = np.asarray(prefix_rewards(logits, present, weights))
    raw = 2 / (1 + np.exp(-np.float64(logits))) - 1
    np.testing.assert_allclose(rewards[0], raw[0] - (raw[0].sum() + raw[1, 0]) / 3, rtol=1e-5)
    assert rewards[1, 1] == 0


def test_n_grams_that_are_repeated_or_copied():
    tokens, present = np.array([[5, 6, 5, 6, 5, 6]]), np.array([[1, 1, 1, 1, 1, 0]])
    np.testing.assert_array_equal(repeated_ngrams(tokens, present, 2), [[0, 0, 0, 1, 1, 0]])
    source, there = np.array([[2, 9, 6, 5, 6, 5]]), np.array([[1, 1, 1, 1, 1, 0]])
    np.testing.assert_array_equal(copied_ngrams(tokens, present, source, there, 3), [[0, 0, 0, 1, 0, 0]])
