"""The loss on answers alone and the metrics by shots, against NumPy on the predictions of the bare model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.data.functions import Dialects, FunctionSequences, Substitutions, batch_shapes
from ssl_jax.methods.in_context import by_shots, in_context
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config

SEQUENCES = FunctionSequences((Substitutions(2), Dialects(1, 2, 2)), 6, "train")
CONFIG = Gpt2Config(
    vocab_size=SEQUENCES.vocab_size,
    positions=16,
    layers=1,
    width=8,
    heads=1,
    mlp_width=8,
    dropout=0.0,
    attention_dropout=0.0,
    initializer_stddev=0.5,
)
ROWS = 8


@pytest.fixture(scope="module")
def setting():
    """(method and metrics, parameters, a batch for evaluation, whose last row does not count)"""
    rows = [SEQUENCES.with_ideal(i, np.random.default_rng(i)) for i in range(ROWS)]
    batch = {name: jnp.asarray(np.stack([row[name] for row in rows])) for name in rows[0]}
    batch["example_weight"] = jnp.array([1.0] * (ROWS - 1) + [0.0])
    learner = in_context(CONFIG, ["substitution", "dialect"])
    params = jax.jit(learner.method.init)(jax.random.key(0), batch_shapes(ROWS, SEQUENCES.length))["params"]
    return learner, params, batch


@pytest.fixture(scope="module")
def predicted(setting):
    """Log-probabilities `[batch, length, vocab]` of the token after each."""
    _, params, batch = setting
    model = Gpt2(CONFIG)
    pairs = np.tile([0, *np.repeat(np.arange(1, SEQUENCES.pairs + 1), 2)], (ROWS, 1))

    @jax.jit
    def predict(params, tokens, positions):
        hidden, _ = model.apply({"params": params}, tokens, positions=positions)
        return jax.nn.log_softmax(model.apply({"params": params}, hidden, method="logits"))

    return np.asarray(predict(params, batch["tokens"], pairs))


def test_the_loss_is_on_the_answers(setting, predicted):
    learner, params, batch = setting
    tokens = np.asarray(batch["tokens"])
    places = range(2, SEQUENCES.length, 2)
    nats = [[-predicted[row, place - 1, tokens[row, place]] for place in places] for row in range(ROWS)]
    training = {name: batch[name] for name in batch_shapes(ROWS, SEQUENCES.length)}
    training["example_weight"] = jnp.ones(ROWS)
    losses, _ = jax.jit(learner.method.loss)(params, {}, training, jax.random.key(0))
    np.testing.assert_allclose(losses["answer_loss"], [np.sum(nats), ROWS * SEQUENCES.pairs], rtol=1e-5)
    metrics = jax.jit(learner.method.evaluate)(params, {}, batch, jax.random.key(0))
    counted = np.sum(nats[:-1]), (ROWS - 1) * SEQUENCES.pairs
    np.testing.assert_allclose(metrics["answer_loss"], counted, rtol=1e-5)


def test_the_likeliest_token_is_the_answer_or_not(setting, predicted):
    learner, params, batch = setting
    guesses = predicted.argmax(-1)
    # An untrained model is right of nothing. The last answer is read by none, so it may be made what is predicted.
    tokens = batch["tokens"].at[::2, -1].set(guesses[::2, -2])
    found = np.asarray(jax.jit(learner.correct)(params, {}, batch | {"tokens": tokens}))
    np.testing.assert_array_equal(found, guesses[:, 1:-1:2] == np.asarray(tokens)[:, 2::2])
    assert found[:, -1].tolist() == [True, False] * (ROWS // 2)
    metrics = jax.jit(learner.method.evaluate)(params, {}, batch | {"tokens": tokens}, jax.random.key(0))
    right, weight = metrics["answer_accuracy"]
    assert float(right / weight) == pytest.approx(found[:-1].mean())


def test_metrics_by_shots():
    batch = {
        "example_weight": jnp.array([1.0, 1.0, 1.0, 0.0]),
        "label": jnp.array([0, 0, 1, 0]),
        "shown": jnp.array([[0, 1, 1], [0, 0, 1], [0, 0, 0], [0, 1, 0]]),
    }
    right = jnp.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    found = by_shots(right, batch, ["letters", "words"])
    assert {name: (float(total), float(weight)) for name, (total, weight) in found.items()} == {
        "letters_new_0_shot_accuracy": (1, 2),
        "letters_new_1_shot_accuracy": (0, 1),
        "letters_new_2_shot_accuracy": (0, 0),
        "letters_shown_1_shot_accuracy": (1, 1),
        "letters_shown_2_shot_accuracy": (1, 2),
        "words_new_0_shot_accuracy": (0, 1),
        "words_new_1_shot_accuracy": (1, 1),
        "words_new_2_shot_accuracy": (1, 1),
        "words_shown_1_shot_accuracy": (0, 0),
        "words_shown_2_shot_accuracy": (0, 0),
    }


def test_an_answer_is_not_seen_before_it_is_asked(setting):
    """Predictions depend on the pairs before and the query, not on the answer or what comes after it."""
    learner, params, batch = setting
    changed = batch | {"tokens": batch["tokens"].at[:, 8:].set(1)}  # the answer to the fourth query, and on
    one, other = (np.asarray(jax.jit(learner.correct)(params, {}, some)) for some in (batch, changed))
    np.testing.assert_array_equal(one[:, :3], other[:, :3])
