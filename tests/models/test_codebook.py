"""The nearest of a codebook, draws and k-means against NumPy, and in bounded memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.losses.quantization import codebook_loss, commitment_loss
from ssl_jax.models import codebook as codebooks
from ssl_jax.models.codebook import CodebookConfig, draw, kmeans, look_up, nearest, random_vectors, tally
from ssl_jax.models.quantizers import straight_through
from tests.models.codebooks import CODES, WIDTH, counted, nearest_of_the_paper, vectors


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
