"""A linear probe for banks of features as large as ImageNet's, where full-batch L-BFGS takes hours."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssl_jax.evals.probes import Probe, check_features, heldout_fifth, moments

PENALTIES = (0.0, 1e-4, 1e-3, 1e-2)
LEARNING_RATES = (0.3, 3.0, 30.0)
"""For features of unit length: they are divided by the width, the squared length of a standardised feature."""
MOMENTUM = 0.9
CHUNK = 1024
"""Examples classified at once."""


def sgd_probe(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    *,
    penalties: Sequence[float] = PENALTIES,
    learning_rates: Sequence[float] = LEARNING_RATES,
    epochs: int = 20,
    batch_size: int = 1024,
    seed: int = 0,
) -> Probe:
    """Logistic regression on frozen features, by minibatch SGD with Nesterov momentum and a cosine schedule.

    One compiled program trains a classifier for every pair of a penalty and a learning rate, all on the same batches.
    The best pair on a fifth of the training examples, stratified by class, is trained again on all of them.

    Args:
      train, train_labels, test, test_labels, penalties, seed: see `linear_probe`.
      learning_rates: to choose from.
      epochs: passes over the training examples.
      batch_size: examples of a step.

    Raises:
      UserError: as `linear_probe` does.
    """
    check_features(train, train_labels, test, test_labels)
    classes, targets = np.unique(train_labels, return_inverse=True)
    bank, scaling = jnp.asarray(train), moments(train)
    targets = jnp.asarray(targets, jnp.int32)

    def trained(examples: np.ndarray, settings: list[tuple[float, float]]) -> tuple[jax.Array, jax.Array]:
        size = min(batch_size, len(examples))
        rows = jnp.array([(penalty, rate / train.shape[1]) for penalty, rate in settings], jnp.float32)
        return _train(
            bank, targets, scaling, examples, rows, jax.random.key(seed), len(classes), epochs, size
        )

    settings = [(penalty, rate) for penalty in penalties for rate in learning_rates]
    heldout = heldout_fifth(train_labels, seed)
    best = 0
    if len(settings) > 1 and heldout.any():
        candidates = trained(np.flatnonzero(~heldout), settings)
        guesses = _predict(bank[np.flatnonzero(heldout)], scaling, candidates)
        best = int((guesses == targets[heldout, None]).sum(0).argmax())
    fitted = trained(np.arange(len(train)), [settings[best]])
    predictions = classes[_predict(jnp.asarray(test), scaling, fitted)[:, 0]]
    return Probe(float((predictions == test_labels).mean()), settings[best][0], predictions)


@partial(jax.jit, static_argnums=(6, 7, 8))
def _train(
    bank: jax.Array,
    targets: jax.Array,
    scaling: tuple[jax.Array, jax.Array],
    examples: jax.Array,
    settings: jax.Array,
    rng: jax.Array,
    classes: int,
    epochs: int,
    batch_size: int,
) -> tuple[jax.Array, jax.Array]:
    """Weights [settings, width, classes] and biases [settings, classes], trained on some examples of the bank.

    settings: [settings, 2], penalty and learning rate of each classifier.
    """
    mean, scale = scaling
    steps = len(examples) // batch_size
    schedule = optax.cosine_decay_schedule(1.0, epochs * steps)

    def objective(classifier: tuple, features: jax.Array, labels: jax.Array, penalty: jax.Array) -> jax.Array:
        weights, bias = classifier
        logits = jnp.dot(features, weights, precision="highest") + bias[None]
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss + penalty / 2 * jnp.square(weights).sum()

    def step(carry: tuple, chosen: jax.Array) -> tuple:
        classifiers, velocities, count = carry
        features = (bank[chosen] - mean[None]) / scale[None]

        def update(classifier: tuple, velocity: tuple, setting: jax.Array) -> tuple:
            gradient = jax.grad(objective)(classifier, features, targets[chosen], setting[0])
            velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, gradient)
            rate = setting[1] * schedule(count)
            ahead = jax.tree.map(
                lambda c, v, g: c - rate * (MOMENTUM * v + g), classifier, velocity, gradient
            )
            return ahead, velocity

        return (*jax.vmap(update)(classifiers, velocities, settings), count + 1), None

    def epoch(carry: tuple, rng: jax.Array) -> tuple:
        order = jax.random.permutation(rng, examples)[: steps * batch_size]
        return jax.lax.scan(step, carry, order.reshape(steps, batch_size))

    zeros = (
        jnp.zeros((len(settings), bank.shape[1], classes), jnp.float32),
        jnp.zeros((len(settings), classes), jnp.float32),
    )
    start = zeros, jax.tree.map(jnp.zeros_like, zeros), 0
    return jax.lax.scan(epoch, start, jax.random.split(rng, epochs))[0][0]


@jax.jit
def _predict(
    features: jax.Array, scaling: tuple[jax.Array, jax.Array], classifiers: tuple[jax.Array, jax.Array]
) -> jax.Array:
    """The class [examples, settings] that each classifier gives; -1 where it has diverged."""
    mean, scale = scaling
    weights, biases = classifiers

    def predict(row: jax.Array) -> jax.Array:
        logits = jnp.einsum("d,sdc->sc", (row - mean) / scale, weights, precision="highest") + biases
        return jnp.where(jnp.isfinite(logits).all(-1), logits.argmax(-1), -1)

    return jax.lax.map(predict, features, batch_size=min(CHUNK, len(features)))
