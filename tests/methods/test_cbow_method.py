"""CBOW: a step on one word is that of word2vec.c; windows end at sentences; the softmax over all words."""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.methods.cbow import around, cbow

WORDS, WIDTH = 9, 4


def tables(seed=0):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, WORDS, WIDTH)).astype(np.float32)
    return {"input": {"embedding": first}, "output": {"embedding": second}}


def make_batch(tokens, segments, window, negatives=None):
    batch = {
        "tokens": jnp.array([tokens]),
        "segment_ids": jnp.array([segments]),
        "window": jnp.array([window]),
        "example_weight": jnp.ones(1),
    }
    return batch if negatives is None else {**batch, "negatives": jnp.array([negatives])}


def word2vec_step(first, second, context, word, negatives, rate):
    """The inner loop of word2vec.c's CBOW, on copies, without its table of the sigmoid."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    mean = first[context].mean(0)
    error = np.zeros(WIDTH)
    for target, label in [(word, 1), *((n, 0) for n in negatives if n != word)]:
        g = (label - 1 / (1 + np.exp(-mean @ second[target]))) * rate
        error += g * second[target]
        second[target] += g * mean
    for other in context:
        first[other] += error
    return first, second


def test_a_step_on_one_word_is_that_of_word2vec():
    params, rate = tables(), 0.05
    # Only the third word has a window, so the others do not count.
    batch = make_batch([1, 2, 3, 2, 5], [1] * 5, [0, 0, 2, 0, 0], [[7, 8]] * 2 + [[6, 3]] + [[7, 8]] * 2)
    method = cbow(WORDS, WIDTH, 2).method

    def loss(params):
        [mean] = method.loss(params, {}, batch, jax.random.key(0))[0].values()
        assert mean.weight.shape == ()
        return mean.sum, mean.weight

    (_, weight), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    assert float(weight) == 1
    stepped = jax.tree.map(lambda p, g: p - rate * g, params, gradient)
    first, second = word2vec_step(
        params["input"]["embedding"], params["output"]["embedding"], [1, 2, 2, 5], 3, [6, 3], rate
    )
    np.testing.assert_allclose(stepped["input"]["embedding"], first, atol=1e-6)
    np.testing.assert_allclose(stepped["output"]["embedding"], second, atol=1e-6)


def test_the_words_around_are_of_the_same_sentence_and_within_the_window():
    embedding = jnp.eye(WORDS)
    mean, count = around(embedding, make_batch([1, 2, 3, 4, 0], [1, 1, 2, 2, 0], [1, 3, 3, 1, 3]), 3)
    assert count.tolist() == [[1, 1, 1, 1, 0]]
    assert mean[0].argmax(-1).tolist()[:4] == [2, 1, 4, 3]
    mean, count = around(embedding, make_batch([1, 2, 3, 4, 5], [1] * 5, [1, 1, 2, 1, 9]), 2)
    assert count.tolist() == [[1, 2, 4, 2, 2]]
    np.testing.assert_allclose(mean[0, 2], [0, 0.25, 0.25, 0, 0.25, 0.25, 0, 0, 0])


def test_without_noise_words_it_is_the_softmax_over_all_words():
    params = tables()
    batch = make_batch([1, 2, 3], [1] * 3, [1, 1, 1])
    metrics = jax.jit(cbow(WORDS, WIDTH, 1).method.evaluate)(params, {}, batch, jax.random.key(0))
    first, second = params["input"]["embedding"], params["output"]["embedding"]
    logits = np.stack([first[2], first[[1, 3]].mean(0), first[2]]) @ second.T
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(
        metrics["word_loss"].sum, -np.log(chances[np.arange(3), [1, 2, 3]]).sum(), rtol=1e-5
    )
    assert float(metrics["word_accuracy"].sum) == (logits.argmax(-1) == [1, 2, 3]).sum()
