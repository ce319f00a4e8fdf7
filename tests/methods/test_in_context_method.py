"""The loss on answers alone and the figures by shots, against NumPy on logits of a model that is taken as given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.data.functions import FunctionSequences, Rearrangements, Substitutions
from ssl_jax.methods.in_context import batch_shapes, by_shots, in_context
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config

FAMILIES = (Substitutions(4), Rearrangements(4, 2))
LENGTH = 13
CONFIG = Gpt2Config(
    vocab_size=6,
    positions=16,
    layers=1,
    width=8,
    heads=1,
    mlp_width=8,
    dropout=0.0,
    attention_dropout=0.0,
    initializer_stddev=0.5,
)
SEQUENCES = FunctionSequences(FAMILIES, LENGTH, "train")
PAIRS = dict(zip(("substitution", "rearrangement"), SEQUENCES.pairs, strict=True))


@pytest.fixture(scope="module")
def setting():
    """(method and figures, parameters, a batch of eight for evaluation, whose last row does not count)"""
    rows = [SEQUENCES.with_ideal(SEQUENCES(i, np.random.default_rng(i))) for i in range(8)]
    batch = {name: jnp.stack([row[name] for row in rows]) for name in rows[0]}
    batch["example_weight"] = jnp.array([1.0] * 7 + [0.0])
    learner = in_context(CONFIG, PAIRS)
    params = learner.method.init(jax.random.key(0), batch_shapes(8, LENGTH))["params"]
    return learner, params, batch


@pytest.fixture(scope="module")
def predicted(setting):
    """log-probabilities `[batch, length - 1, vocab]` of the tokens after the first."""
    _, params, batch = setting
    model = Gpt2(CONFIG)
    hidden, _ = model.apply({"params": params}, batch["tokens"][:, :-1])
    return np.asarray(jax.nn.log_softmax(model.apply({"params": params}, hidden, method="logits")))


def answers(batch, row):
    """Places of the tokens of each answer of a row."""
    numbers = np.asarray(batch["answers"][row])
    return [np.flatnonzero(numbers == k) for k in range(1, numbers.max() + 1)]


def test_the_loss_is_on_the_answers(setting, predicted):
    learner, params, batch = setting
    tokens = np.asarray(batch["tokens"])
    nats = [
        -predicted[row, place - 1, tokens[row, place]]
        for row in range(8)
        for k in answers(batch, row)
        for place in k
    ]
    training = {name: batch[name] for name in batch_shapes(8, LENGTH)}
    losses, _ = learner.method.loss(params, {}, training, jax.random.key(0))
    np.testing.assert_allclose(losses["answer_loss"], [sum(nats), len(nats)], rtol=1e-5)
    counted = sum(len(k) for row in range(7) for k in answers(batch, row))
    figures = learner.evaluate(params, {}, batch, jax.random.key(0))
    assert float(figures["answer_loss"][1]) == counted < len(nats)


def test_answers_are_right_as_a_whole(setting, predicted):
    learner, params, batch = setting
    guesses, tokens = predicted.argmax(-1), np.asarray(batch["tokens"])
    found = np.asarray(learner.correct(params, {}, batch))
    assert found.shape == (8, max(PAIRS.values()))
    for row in range(8):
        wanted = [
            all(guesses[row, place - 1] == tokens[row, place] for place in k) for k in answers(batch, row)
        ]
        assert found[row, : len(wanted)].tolist() == wanted
    assert 0 < found[:, :3].mean() < 1


def test_figures_by_shots():
    batch = {
        "example_weight": jnp.array([1.0, 1.0, 1.0, 0.0]),
        "label": jnp.array([0, 0, 1, 0]),
        "shown": jnp.array([[0, 1, 1], [0, 0, 1], [0, 0, -1], [0, 1, 0]]),
    }
    right = jnp.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    found = {
        k: (float(a), float(b)) for k, (a, b) in by_shots(right, batch, {"letters": 3, "words": 2}).items()
    }
    assert found == {
        "letters_new_0_shot_accuracy": (1, 2),
        "letters_new_1_shot_accuracy": (0, 1),
        "letters_new_2_shot_accuracy": (0, 0),
        "letters_shown_1_shot_accuracy": (1, 1),
        "letters_shown_2_shot_accuracy": (1, 2),
        "words_new_0_shot_accuracy": (0, 1),
        "words_new_1_shot_accuracy": (1, 1),
        "words_shown_1_shot_accuracy": (0, 0),
    }


def test_no_answer_is_seen_before_it_is_asked(setting):
    """Whether an answer is right depends on nothing that comes after it."""
    learner, params, batch = setting
    changed = batch | {"tokens": batch["tokens"].at[:, 7:].set(2)}
    before = np.asarray(batch["answers"][:, :7]).max(1) - 1  # answers that are complete for sure
    for row, (one, other) in enumerate(
        zip(*(np.asarray(learner.correct(params, {}, b)) for b in (batch, changed)), strict=True)
    ):
        np.testing.assert_array_equal(one[: before[row]], other[: before[row]])
