"""The codebook against NumPy from VQ-VAE's paper, in micro-batches, and on eight devices."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssl_jax.errors import UserError
from ssl_jax.losses.quantization import codebook_loss, commitment_loss, perplexity
from ssl_jax.method import Aux, Method
from ssl_jax.models import codebook as codebooks
from ssl_jax.models.codebook import (
    CodebookConfig,
    draw,
    ema_update,
    init_codebook,
    kmeans,
    look_up,
    nearest,
    observe,
    random_vectors,
    start,
    tally,
)
from ssl_jax.models.quantizers import straight_through
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh, replicated, shard
from ssl_jax.training.step import make_initial_state, make_train_step

CODES, WIDTH = 6, 4
PLAIN = CodebookConfig(CODES, WIDTH, kmeans=0, restart_below=0.0)


def vectors(shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, WIDTH)).astype(np.float32)


def nearest_of_the_paper(book, x):
    """arXiv:1711.00937, equations 1 and 2."""
    distances = np.square(np.float64(x)[..., None, :] - np.float64(book)).sum(-1)
    return distances.argmin(-1)


def counted(book, x):
    """Counts and sums of the vectors of each code."""
    x = np.float64(x).reshape(-1, x.shape[-1])
    hot = np.eye(len(book))[nearest_of_the_paper(book, x)]
    return hot.sum(0), hot.T @ x


@pytest.mark.parametrize(
    ("shape", "distances"),
    [((), 1), ((37,), 1), ((37,), 8 * CODES), ((5, 7), 8 * CODES), ((2, 3, 4), 2**21)],
)
def test_nearest_whatever_the_shape_and_the_chunk(shape, distances, monkeypatch):
    monkeypatch.setattr(codebooks, "DISTANCES", distances)
    book, x = vectors((CODES,)), vectors(shape, seed=1)
    codes, chosen = jax.jit(lambda *both: (codes := nearest(*both), look_up(both[0], codes)))(book, x)
    assert codes.dtype == jnp.int32
    np.testing.assert_array_equal(codes, nearest_of_the_paper(book, x))
    np.testing.assert_array_equal(chosen, book[np.asarray(codes)])


def test_of_equally_near_vectors_the_first_is_chosen_and_nan_stays_in_range():
    book = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [jnp.nan, 0.0]])
    codes = jax.jit(nearest)(book, x)
    np.testing.assert_array_equal(codes[:3], [0, 2, 0])
    assert 0 <= int(codes[3]) < 3


def test_the_matrix_of_all_distances_is_never_in_memory():
    """262,144 vectors and 8,192 codes: 8 GiB of distances."""
    shapes = (
        jax.ShapeDtypeStruct((8192, 64), jnp.float32),
        jax.ShapeDtypeStruct((64, 64, 64, 64), jnp.float32),
    )
    used = jax.jit(nearest).lower(*shapes).compile().memory_analysis().temp_size_in_bytes
    assert used < 256 * 2**20


def test_the_gradient_goes_straight_through_and_the_value_is_the_code():
    book, x = jnp.asarray(vectors((CODES,))), 1e3 * jnp.asarray(vectors((2, 3), seed=1))

    def quantize(x):
        return straight_through(look_up(book, nearest(book, x)), x)

    back = jnp.asarray(vectors((2, 3), seed=2))
    value, gradient = jax.jit(
        lambda x, back: [f(back)[0] if callable(f) else f for f in jax.vjp(quantize, x)]
    )(x, back)
    np.testing.assert_array_equal(value, np.asarray(book)[nearest_of_the_paper(book, x)])
    np.testing.assert_array_equal(gradient, back)


def test_codebook_and_commitment_move_one_side_each():
    book, x, weights = jnp.asarray(vectors((CODES,))), jnp.asarray(vectors((2, 3), seed=1)), jnp.ones((2, 3))

    def mean(loss, book, x):
        total, weight = loss(x, look_up(book, nearest(book, x)), weights)
        return total / weight

    codes = nearest_of_the_paper(book, x)
    pulled = 2 * (np.asarray(x) - np.asarray(book)[codes]) / (6 * WIDTH)
    by_code = np.zeros((CODES, WIDTH))
    np.add.at(by_code, codes, pulled)
    for loss, into_book, into_x in (
        (codebook_loss, -by_code, 0 * pulled),
        (commitment_loss, 0 * by_code, pulled),
    ):
        value, grads = jax.jit(jax.value_and_grad(functools.partial(mean, loss), argnums=(0, 1)))(book, x)
        assert float(value) == pytest.approx(
            np.square(np.asarray(x) - np.asarray(book)[codes]).mean(), rel=1e-5
        )
        np.testing.assert_allclose(grads[0], into_book, atol=1e-6)
        np.testing.assert_allclose(grads[1], into_x, atol=1e-6)


def test_tally_leaves_out_what_has_no_weight():
    book, x = vectors((CODES,)), vectors((3, 5), seed=1)
    weights = np.arange(15).reshape(3, 5) % 3 > 0
    counts, sums = tally(jnp.asarray(x), nearest_of_the_paper(book, x), CODES, jnp.asarray(weights))
    wanted = counted(book, x[weights])
    np.testing.assert_array_equal(counts, wanted[0])
    np.testing.assert_allclose(sums, wanted[1], rtol=1e-5, atol=1e-6)


@jax.jit
def moved(book, x):
    """The codebook after a step of PLAIN."""
    return ema_update(PLAIN, observe(PLAIN, book, jax.random.key(0), x, nearest(book.vectors, x)))


def test_moving_averages_are_the_papers():
    """arXiv:1711.00937, equations 6 to 8, with the Laplace smoothing of the authors' code."""
    book = init_codebook(jax.random.key(0), PLAIN)._replace(vectors=jnp.asarray(vectors((CODES,))))
    book = book._replace(sums=book.vectors)
    e, counts, sums = np.float64(book.vectors), np.ones(CODES), np.float64(book.vectors)
    for step in range(3):
        x = vectors((4, 5), seed=10 + step)
        book = moved(book, jnp.asarray(x))
        new = counted(e, x)
        counts = 0.99 * counts + 0.01 * new[0]
        sums = 0.99 * sums + 0.01 * new[1]
        total = counts.sum()
        e = sums / ((counts + 1e-5) / (total + CODES * 1e-5) * total)[:, None]
        np.testing.assert_allclose(book.vectors, e, rtol=1e-5)
        np.testing.assert_allclose(book.counts, counts, rtol=1e-6)
        np.testing.assert_allclose(book.sums, sums, rtol=1e-5)
        assert not any(np.asarray(leaf).any() for leaf in book.seen)


RESTARTING = CodebookConfig(CODES, WIDTH, kmeans=0, restart_below=0.05)


@jax.jit
def observed(book, rng, x, weights=None):
    """The codebook after a step of RESTARTING."""
    return ema_update(RESTARTING, observe(RESTARTING, book, rng, x, nearest(book.vectors, x), weights))


def test_a_step_that_saw_nothing_changes_nothing():
    book = init_codebook(jax.random.key(0), CodebookConfig(CODES, WIDTH))
    x = jnp.asarray(vectors((7,)))
    empty = observe(
        CodebookConfig(CODES, WIDTH), book, jax.random.key(1), x, nearest(book.vectors, x), jnp.zeros(7)
    )
    after = ema_update(CodebookConfig(CODES, WIDTH), empty)
    jax.tree.map(np.testing.assert_array_equal, after, book)


RESTARTING = CodebookConfig(CODES, WIDTH, kmeans=0, restart_below=0.05)


def test_dead_codes_start_again_in_the_batch_and_stale_averages_do_not_pull_them_back():
    """Two codes lie far from all vectors, with large sums from earlier days and counts that have run out."""
    book = init_codebook(jax.random.key(0), RESTARTING)
    far = np.array([False, True, False, False, True, False])
    start_at = np.where(far[:, None], 100.0, vectors((CODES,))).astype(np.float32)
    counts = np.where(far, 1e-3, 5.0).astype(np.float32)
    book = book._replace(vectors=jnp.asarray(start_at), counts=jnp.asarray(counts))
    book = book._replace(sums=jnp.asarray(start_at * counts[:, None]))

    x = jnp.asarray(vectors((40,), seed=1))
    after = observed(book, jax.random.key(1), x)
    fresh = np.asarray(after.vectors)[far]
    rows = np.asarray(x)
    taken = [np.flatnonzero((rows == vector).all(-1)) for vector in fresh]
    assert all(len(place) == 1 for place in taken)
    assert taken[0] != taken[1]
    np.testing.assert_allclose(
        after.counts[far], float(after.counts[~far].sum() + 2 * 2e-3) / CODES, rtol=0.5
    )
    np.testing.assert_allclose(
        np.asarray(after.vectors)[~far], np.asarray(moved(book, x).vectors)[~far], rtol=1e-6
    )

    used = nearest_of_the_paper(after.vectors, rows)
    assert np.isin(np.flatnonzero(far), used).all()
    for turn in range(50):
        after = observed(after, jax.random.key(2 + turn), x)
    assert np.abs(np.asarray(after.vectors)[far]).max() < np.abs(rows).max()
    np.testing.assert_array_less(np.linalg.norm(np.asarray(after.vectors)[far] - fresh, axis=-1), 2.0)


def test_an_untouched_restarted_code_has_time():
    """It counts as an average code: at 5 %, some 300 steps of decay 0.99 pass until it is dead again."""
    book = init_codebook(jax.random.key(0), RESTARTING)
    x = jnp.zeros((20, WIDTH))

    @jax.jit
    def run(book):
        def step(book, turn):
            moved = ema_update(
                RESTARTING, observe(RESTARTING, book, jax.random.key(0), x + turn, jnp.zeros(20, jnp.int32))
            )
            return moved, moved.vectors[1, 0]

        return jax.lax.scan(step, book, jnp.arange(1.0, 801.0))[1]

    # Every restart shows as the value of the batch of that step.
    values = np.asarray(run(book))
    restarts = np.flatnonzero(np.isclose(values, np.arange(1, 801), rtol=1e-6))
    assert len(restarts) >= 2
    assert np.diff(restarts).min() > 200


def test_draws_are_of_the_batch_distinct_and_uniform():
    rng = jax.random.key(0)
    x = jnp.arange(13.0)[:, None] * jnp.ones((1, WIDTH))
    drawn = jax.jit(jax.vmap(lambda rng: draw(rng, x, 5)[:, 0]))(jax.random.split(rng, 2000))
    assert (np.asarray([len(set(row)) for row in drawn.tolist()]) == 5).all()
    for column in np.asarray(drawn).T:
        observed = np.bincount(column.astype(int), minlength=13)
        chi_square = (np.square(observed - 2000 / 13) / (2000 / 13)).sum()
        assert chi_square < 32.9  # 12 degrees of freedom, 1 in 1,000
    assert draw(rng, x[:2], 5).shape == (5, WIDTH)

    weights = jnp.array([0, 1, 1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0])
    drawn = jax.jit(jax.vmap(lambda rng: draw(rng, x, 5, weights)[:, 0]))(jax.random.split(rng, 500))
    assert set(np.asarray(drawn).astype(int).ravel()) == {1, 2, 6, 8, 9}


def test_kmeans_is_lloyds_algorithm():
    x, rng = vectors((8, 9), seed=3), jax.random.key(4)
    weights = np.arange(72).reshape(8, 9) % 4 > 0
    wanted = np.float64(jax.jit(draw, static_argnums=2)(rng, x, 5, weights))
    rows = x[weights]
    for _ in range(4):
        counts, sums = counted(wanted, rows)
        wanted = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], wanted)
    centres, counts = jax.jit(kmeans, static_argnums=(2, 3))(rng, x, 5, 4, weights)
    np.testing.assert_allclose(centres, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(counts, counted(wanted, rows)[0])


def test_kmeans_of_one_point_is_finite():
    centres, counts = jax.jit(kmeans, static_argnums=(2, 3))(jax.random.key(0), jnp.ones((9, WIDTH)), 3, 5)
    np.testing.assert_array_equal(centres, np.ones((3, WIDTH)))
    assert counts.sum() == 9


def test_the_first_batch_starts_the_codebook_and_later_ones_do_not():
    config = CodebookConfig(CODES, WIDTH, kmeans=3)
    book, x = init_codebook(jax.random.key(0), config), jnp.asarray(vectors((40,)))
    begin = jax.jit(functools.partial(start, config))
    first = begin(book, jax.random.key(1), x)
    centres, counts = jax.jit(kmeans, static_argnums=(2, 3))(jax.random.key(1), x, CODES, 3)
    np.testing.assert_allclose(first.vectors, centres, rtol=1e-6)
    np.testing.assert_allclose(first.sums / first.counts[:, None], centres, rtol=1e-5)
    np.testing.assert_array_equal(first.counts, np.maximum(counts, 1))
    jax.tree.map(np.testing.assert_array_equal, begin(first, jax.random.key(2), 5 * x), first)
    assert start(PLAIN, book, jax.random.key(1), x) is book


IMAGES, PLACES = 16, 5


def quantising(config):
    """A linear encoder and decoder with a codebook between them."""

    def init(rng, batch):
        encoder, decoder, book = jax.random.split(rng, 3)
        return {
            "params": {
                "encoder": jax.random.normal(encoder, (3, WIDTH)),
                "decoder": jax.random.normal(decoder, (WIDTH, 3)),
            },
            "codebook": init_codebook(book, config),
        }

    def loss(params, extras, batch, rng):
        x = batch["image"] @ params["encoder"]
        weights = jnp.ones(x.shape[:-1])
        book = start(config, extras["codebook"], rng, x)
        codes = nearest(book.vectors, x)
        chosen = look_up(book.vectors, codes)
        book = observe(config, book, rng, x, codes)
        error = jnp.square(straight_through(chosen, x) @ params["decoder"] - batch["image"]).mean(-1)
        losses = {"error": (error.sum(), weights.sum()), "commitment": commitment_loss(x, chosen, weights)}
        counts, _ = tally(x, codes, config.codes)
        return losses, Aux({"perplexity": (perplexity(counts), jnp.ones(()))}, {"codebook": book})

    def after_update(params, extras, step):
        return {"codebook": ema_update(config, extras["codebook"])}

    return Method(init, loss, after_update)


def train(config, *, mesh=None, micro_batches=1, steps=3):
    """The state after some steps, and the program of a step."""
    method, optimizer = quantising(config), optax.sgd(1e-2)
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


def test_micro_batches_give_the_codebook_of_the_whole_batch():
    whole, _ = train(PLAIN)
    parts, _ = train(PLAIN, micro_batches=4)
    close(parts.extras, whole.extras)
    close(parts.params, whole.params)
    assert not np.allclose(whole.extras["codebook"].vectors, init_codebook(jax.random.key(0), PLAIN).vectors)


@pytest.fixture(scope="module")
def on_one_and_eight():
    """With k-means at the first step, and codes that die; the eight devices with few distances at a time."""
    config = CodebookConfig(CODES, WIDTH, kmeans=2, restart_below=0.6)
    with pytest.MonkeyPatch.context() as patch:
        one = train(config)
        patch.setattr(codebooks, "DISTANCES", CODES)
        return one, train(config, mesh=make_mesh(MeshConfig(fsdp=2)))


def test_eight_devices_give_the_codebook_perplexity_and_loss_of_one(on_one_and_eight):
    (one, _), (eight, _) = on_one_and_eight
    assert len(eight.extras["codebook"].vectors.sharding.device_set) == 8
    close(eight.extras, one.extras)
    close(eight.metrics, one.metrics)
    assert 1 < float(one.metrics["perplexity"][0] / 3) <= CODES


def test_vectors_stay_on_their_devices(on_one_and_eight):
    """Only sums over the devices travel, of what is as large as the codebook."""
    _, (_, program) = on_one_and_eight
    moved = set(re.findall(r" (all-\w+|reduce-scatter|collective-\w+)\(", program.as_text()))
    assert moved == {"all-reduce"}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"codes": 0}, "codebook.codes 0"),
        ({"codes": 1}, "codebook.codes 1"),
        ({"width": 0}, "codebook.width 0"),
        ({"decay": 1.0}, "codebook.decay 1.0"),
        ({"smoothing": 0.0}, "codebook.smoothing 0.0"),
        ({"kmeans": -1}, "codebook.kmeans -1"),
        ({"restart_below": 1.0}, "codebook.restart_below 1.0"),
    ],
)
def test_settings_that_cannot_be(settings, named):
    with pytest.raises(UserError, match=named):
        CodebookConfig(**settings)


def test_arrays_that_do_not_fit():
    with pytest.raises(UserError, match=r"4 channels.*\(2, 3, 5\).*codebook.width"):
        nearest(jnp.zeros((CODES, WIDTH)), jnp.zeros((2, 3, 5)))
    with pytest.raises(UserError, match=r"6 codes on the 5 vectors.*larger batch"):
        kmeans(jax.random.key(0), jnp.zeros((5, WIDTH)), CODES, 1)


def test_a_random_start_is_within_its_bounds():
    start_at = random_vectors(jax.random.key(0), 50, 40)
    assert np.abs(start_at).max() <= 1 / 50
    assert np.std(start_at) == pytest.approx(1 / 50 / 3**0.5, rel=0.05)
