import numpy as np
import pytest
from sklearn.datasets import load_digits

from ssl_jax.errors import UserError
from ssl_jax.evals import sgd_probe as module
from ssl_jax.evals.probes import linear_probe
from ssl_jax.evals.sgd_probe import sgd_probe


@pytest.fixture(scope="module")
def digits():
    """(train, labels, test, labels), the pixels on very different scales."""
    images, labels = load_digits(return_X_y=True)
    images = (images * np.logspace(-3, 2, 64) + 10).astype(np.float32)
    test = np.arange(len(labels)) % 6 == 0
    return images[~test], labels[~test], images[test], labels[test]


def test_as_good_as_full_batches(digits):
    assert sgd_probe(*digits, batch_size=128).accuracy > linear_probe(*digits).accuracy - 0.015


def test_solution_is_logistic_regressions(digits):
    train, train_labels, test, test_labels = digits
    data = train[:300], train_labels[:300], test, test_labels
    exact = linear_probe(*data, penalties=(0.1,))
    found = sgd_probe(*data, penalties=(0.1,), learning_rates=(10.0,), epochs=150, batch_size=150)
    assert (found.predictions == exact.predictions).mean() > 0.99


def test_the_sweep_is_chosen_on_training_examples(digits):
    # the weak rate hardly trains, the strong penalty blurs: only one of the four is good
    sweep = {"penalties": (100.0, 1e-4), "learning_rates": (1e-4, 10.0), "batch_size": 128, "epochs": 10}
    chosen = sgd_probe(*digits, **sweep)
    assert chosen.penalty == 1e-4
    assert chosen.accuracy > 0.95
    *features, test_labels = digits
    permuted = np.random.default_rng(0).permutation(test_labels)
    again = sgd_probe(*features, permuted, **sweep)
    assert again.penalty == chosen.penalty
    np.testing.assert_array_equal(again.predictions, chosen.predictions)
    assert again.accuracy == (again.predictions == permuted).mean() < 0.3


def test_what_diverges_is_not_chosen(digits):
    rates = {"learning_rates": (1e30, 10.0), "penalties": (1e-3,), "batch_size": 128, "epochs": 10}
    assert sgd_probe(*digits, **rates).accuracy > 0.95


def test_all_candidates_train_in_one_program(digits):
    module._train.clear_cache()
    sgd_probe(*digits, penalties=(0.0, 1e-3), learning_rates=(1.0, 3.0, 10.0), epochs=1)
    assert module._train._cache_size() == 2  # the sweep, and the winner on all examples


def test_labels_are_given_back_as_they_came(digits):
    train, train_labels, test, test_labels = digits
    found = sgd_probe(train, 100 + 7 * train_labels, test, 100 + 7 * test_labels, batch_size=128, epochs=5)
    assert set(found.predictions) == {100 + 7 * label for label in range(10)}
    assert found.accuracy > 0.9


def test_user_errors(digits):
    train, train_labels, test, test_labels = digits
    with pytest.raises(UserError, match="labels are missing for a probe"):
        sgd_probe(train, np.full_like(train_labels, -1), test, test_labels)
