"""Codebooks that are learnt, against NumPy from VQ-VAE's paper, in micro-batches, and on eight devices."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssl_jax.losses.quantization import codebook_loss, commitment_loss, perplexity
from ssl_jax.method import Aux, Mean, Method
from ssl_jax.models.quantization import codebook as codebooks
from ssl_jax.models.quantization.codebook import CodebookConfig, count_and_sum, look_up, nearest
from ssl_jax.models.quantization.kmeans import kmeans
from ssl_jax.models.quantization.state import (
    accumulate,
    ema_update,
    init_state,
    initialize_from_batch,
    restart_update,
)
from ssl_jax.models.quantization.straight_through import straight_through
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh, replicated, shard
from ssl_jax.training.step import make_initial_state, make_train_step
from tests.models.quantization.codebooks import CODES, WIDTH, counted, nearest_of_the_paper, vectors

PLAIN = CodebookConfig(CODES, WIDTH, kmeans=0, restart_below=0.0)


@jax.jit
def updated(book, x):
    """The codebook after a step of PLAIN."""
    return ema_update(PLAIN, accumulate(PLAIN, book, jax.random.key(0), x, nearest(book.vectors, x)))


def test_moving_averages_are_the_papers():
    """arXiv:1711.00937, equations 6 to 8, with the Laplace smoothing of the authors' code."""
    book = init_state(jax.random.key(0), PLAIN)._replace(vectors=jnp.asarray(vectors((CODES,))))
    book = book._replace(sums=book.vectors)
    e, counts, sums = np.float64(book.vectors), np.ones(CODES), np.float64(book.vectors)
    for step in range(3):
        x = vectors((4, 5), seed=10 + step)
        book = updated(book, jnp.asarray(x))
        new = counted(e, x)
        counts = 0.99 * counts + 0.01 * new[0]
        sums = 0.99 * sums + 0.01 * new[1]
        total = counts.sum()
        e = sums / ((counts + 1e-5) / (total + CODES * 1e-5) * total)[:, None]
        np.testing.assert_allclose(book.vectors, e, rtol=1e-5)
        np.testing.assert_allclose(book.counts, counts, rtol=1e-6)
        np.testing.assert_allclose(book.sums, sums, rtol=1e-5)
        assert not any(np.asarray(leaf).any() for leaf in book.statistics)


RESTARTING = CodebookConfig(CODES, WIDTH, kmeans=0, restart_below=0.05)


@jax.jit
def restarted(book, rng, x, weights=None):
    """The codebook after a step of RESTARTING."""
    return ema_update(RESTARTING, accumulate(RESTARTING, book, rng, x, nearest(book.vectors, x), weights))


def test_a_step_that_saw_nothing_changes_nothing():
    book = init_state(jax.random.key(0), CodebookConfig(CODES, WIDTH))

    @jax.jit
    def update(book, x, weights):
        config = CodebookConfig(CODES, WIDTH)
        codes = nearest(book.vectors, x)
        return ema_update(config, accumulate(config, book, jax.random.key(1), x, codes, weights))

    after = update(book, vectors((7,)), np.zeros(7, np.float32))
    jax.tree.map(np.testing.assert_array_equal, after, book)


def test_dead_codes_start_again_in_the_batch_and_stale_averages_do_not_pull_them_back():
    """Two codes lie far from all vectors, with large sums from earlier days and counts that have run out."""
    book = init_state(jax.random.key(0), RESTARTING)
    far = np.array([False, True, False, False, True, False])
    start_at = np.where(far[:, None], 100.0, vectors((CODES,))).astype(np.float32)
    counts = np.where(far, 1e-3, 5.0).astype(np.float32)
    book = book._replace(vectors=jnp.asarray(start_at), counts=jnp.asarray(counts))
    book = book._replace(sums=jnp.asarray(start_at * counts[:, None]))

    x = jnp.asarray(vectors((40,), seed=1))
    after = restarted(book, jax.random.key(1), x)
    fresh = np.asarray(after.vectors)[far]
    rows = np.asarray(x)
    taken = [np.flatnonzero((rows == vector).all(-1)) for vector in fresh]
    assert all(len(place) == 1 for place in taken)
    assert taken[0] != taken[1]
    np.testing.assert_allclose(
        after.counts[far], float(after.counts[~far].sum() + 2 * 2e-3) / CODES, rtol=0.5
    )
    np.testing.assert_allclose(
        np.asarray(after.vectors)[~far], np.asarray(updated(book, x).vectors)[~far], rtol=1e-6
    )

    used = nearest_of_the_paper(after.vectors, rows)
    assert np.isin(np.flatnonzero(far), used).all()
    for turn in range(50):
        after = restarted(after, jax.random.key(2 + turn), x)
    assert np.abs(np.asarray(after.vectors)[far]).max() < np.abs(rows).max()
    np.testing.assert_array_less(np.linalg.norm(np.asarray(after.vectors)[far] - fresh, axis=-1), 2.0)


def test_a_codebook_moved_by_the_gradient_restarts_in_the_batch():
    """Dead codes lie, whatever the gradient has made of them, on vectors of the batch; the others stay."""
    book = init_state(jax.random.key(0), RESTARTING)
    far = np.array([False, True, False, False, True, False])
    learnt = jnp.asarray(vectors((CODES,), seed=2))
    at = np.where(far[:, None], 100.0, vectors((CODES,))).astype(np.float32)
    counts = jnp.asarray(np.where(far, 1e-3, 5.0).astype(np.float32))
    book = book._replace(vectors=at - learnt, counts=counts)
    x = jnp.asarray(vectors((40,), seed=1))

    @jax.jit
    def step(book):
        seen = accumulate(RESTARTING, book, jax.random.key(1), x, nearest(book.vectors + learnt, x))
        return restart_update(RESTARTING, seen, learnt)

    after = step(book)
    found = np.asarray(after.vectors + learnt)
    for vector in found[far]:
        assert np.isclose(np.asarray(x), vector, atol=1e-5).all(-1).sum() == 1
    np.testing.assert_array_equal(np.asarray(after.vectors)[~far], np.asarray(book.vectors)[~far])
    wanted = 0.99 * np.asarray(counts) + 0.01 * counted(at, np.asarray(x))[0]
    np.testing.assert_allclose(np.asarray(after.counts)[~far], wanted[~far], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(after.counts)[far], wanted.sum() / CODES, rtol=1e-6)
    assert not any(np.asarray(leaf).any() for leaf in after.statistics)
    # Nothing more has been seen since.
    jax.tree.map(
        np.testing.assert_array_equal,
        jax.jit(restart_update, static_argnums=0)(RESTARTING, after, learnt),
        after,
    )


def test_an_untouched_restarted_code_has_time():
    """It counts as an average code: at 5 %, some 300 steps of decay 0.99 pass until it is dead again."""
    book = init_state(jax.random.key(0), RESTARTING)
    x = jnp.zeros((20, WIDTH))

    @jax.jit
    def run(book):
        def step(book, turn):
            moved = ema_update(
                RESTARTING,
                accumulate(RESTARTING, book, jax.random.key(0), x + turn, jnp.zeros(20, jnp.int32)),
            )
            return moved, moved.vectors[1, 0]

        return jax.lax.scan(step, book, jnp.arange(1.0, 801.0))[1]

    # Every restart shows as the value of the batch of that step.
    values = np.asarray(run(book))
    restarts = np.flatnonzero(np.isclose(values, np.arange(1, 801), rtol=1e-6))
    assert len(restarts) >= 2
    assert np.diff(restarts).min() > 200


def test_the_first_batch_starts_the_codebook_and_later_ones_do_not():
    config = CodebookConfig(CODES, WIDTH, kmeans=3)
    book, x = init_state(jax.random.key(0), config), jnp.asarray(vectors((40,)))
    begin = jax.jit(functools.partial(initialize_from_batch, config))
    first = begin(book, jax.random.key(1), x)
    centres, counts = jax.jit(kmeans, static_argnums=(2, 3))(jax.random.key(1), x, CODES, 3)
    np.testing.assert_allclose(first.vectors, centres, rtol=1e-6)
    np.testing.assert_allclose(first.sums / first.counts[:, None], centres, rtol=1e-5)
    np.testing.assert_array_equal(first.counts, np.maximum(counts, 1))
    jax.tree.map(np.testing.assert_array_equal, begin(first, jax.random.key(2), 5 * x), first)
    assert initialize_from_batch(PLAIN, book, jax.random.key(1), x) is book


IMAGES, PLACES = 16, 5


def quantizing_method(config, *, by_gradient):
    """A linear encoder and decoder with a codebook between them."""

    def init(rng, batch):
        encoder, decoder, book = jax.random.split(rng, 3)
        params = {
            "encoder": jax.random.normal(encoder, (3, WIDTH)),
            "decoder": jax.random.normal(decoder, (WIDTH, 3)),
        }
        learnt = {"learnt": jnp.zeros((config.codes, WIDTH))} if by_gradient else {}
        return {"params": params | learnt, "codebook": init_state(book, config)}

    def loss(params, extras, batch, rng):
        x = batch["image"] @ params["encoder"]
        weights = jnp.ones(x.shape[:-1])
        book = initialize_from_batch(config, extras["codebook"], rng, x)
        vectors = book.vectors + params.get("learnt", 0)
        codes = nearest(vectors, x)
        chosen = look_up(vectors, codes)
        book = accumulate(config, book, rng, x, codes)
        error = jnp.square(straight_through(chosen, x) @ params["decoder"] - batch["image"]).mean(-1)
        losses = {"error": Mean.of(error, weights), "commitment": commitment_loss(x, chosen, weights)}
        if by_gradient:
            losses["codebook"] = codebook_loss(x, chosen, weights)
        counts, _ = count_and_sum(x, codes, config.codes)
        return losses, Aux({"perplexity": Mean(perplexity(counts), jnp.ones(()))}, {"codebook": book})

    def after_update(params, extras, step):
        book = extras["codebook"]
        if by_gradient:
            return {"codebook": restart_update(config, book, params["learnt"])}
        return {"codebook": ema_update(config, book)}

    return Method(init, loss, after_update=after_update)


def train(config, *, by_gradient=False, mesh=None, micro_batches=1, steps=3):
    """The state after some steps, and the program of a step."""
    method, optimizer = quantizing_method(config, by_gradient=by_gradient), optax.sgd(1e-2)
    images = np.random.default_rng(0).normal(size=(steps, IMAGES, PLACES, 3)).astype(np.float32)
    mesh = mesh or make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        batches = [jax.device_put({"image": x}, batch_sharding(mesh)) for x in images]
        make = make_initial_state(method, optimizer, batch=batches[0], seed=0)
        places = shard(mesh, (), jax.eval_shape(make))
        state = jax.jit(make, out_shardings=places)()
        step = make_train_step(method, optimizer, seed=0, micro_batches=micro_batches)
        step = jax.jit(step, out_shardings=(places, replicated(mesh)))
        program = step.lower(state, batches[0]).compile()
        for batch in batches:
            state, bad = program(state, batch)
            assert not int(bad)
    return state, program


def close(ours, wanted):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), ours, wanted)


@pytest.mark.parametrize("by_gradient", [False, True])
def test_micro_batches_give_the_codebook_of_the_whole_batch(by_gradient):
    whole, _ = train(PLAIN, by_gradient=by_gradient)
    parts, _ = train(PLAIN, by_gradient=by_gradient, micro_batches=4)
    close(parts.extras, whole.extras)
    close(parts.params, whole.params)
    assert not np.allclose(whole.extras["codebook"].counts, 1)
    if by_gradient:
        assert np.abs(whole.params["learnt"]).max() > 0
    else:
        first = init_state(jax.random.key(0), PLAIN).vectors
        assert not np.allclose(whole.extras["codebook"].vectors, first)


@pytest.fixture(scope="module", params=["averages", "gradient"])
def on_one_and_eight(request):
    """With k-means at the first step, and codes that die; the eight devices with few distances at a time."""
    config = CodebookConfig(CODES, WIDTH, kmeans=2, restart_below=0.6)
    with pytest.MonkeyPatch.context() as patch:
        train_one = functools.partial(train, config, by_gradient=request.param == "gradient")
        one = train_one()
        patch.setattr(codebooks, "DISTANCES", CODES)
        return one, train_one(mesh=make_mesh(MeshConfig(fsdp=2)))


def test_eight_devices_give_the_codebook_perplexity_and_loss_of_one(on_one_and_eight):
    (one, _), (eight, _) = on_one_and_eight
    assert len(eight.extras["codebook"].vectors.sharding.device_set) == 8
    close(eight.extras, one.extras)
    close(eight.params, one.params)
    close(eight.metrics, one.metrics)
    assert 1 < float(one.metrics["perplexity"][0] / 3) <= CODES


def test_vectors_stay_on_their_devices(on_one_and_eight):
    """Only sums over the devices travel, of what is as large as the codebook."""
    _, (_, program) = on_one_and_eight
    moved = set(re.findall(r" (all-\w+|reduce-scatter|collective-\w+)\(", program.as_text()))
    assert moved == {"all-reduce"}
