"""The nearest vector of a codebook, counts and sums against NumPy, and in bounded memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.losses.quantization import codebook_loss, commitment_loss
from ssl_jax.models.quantization import codebook as codebooks
from ssl_jax.models.quantization.codebook import (
    CodebookConfig,
    count_and_sum,
    look_up,
    nearest,
    random_vectors,
)
from ssl_jax.models.quantization.straight_through import straight_through
from tests.models.quantization.codebooks import CODES, WIDTH, counted, nearest_of_the_paper, vectors


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


def test_counts_and_sums_leave_out_padding():
    book, x = vectors((CODES,)), vectors((3, 5), seed=1)
    weights = np.arange(15).reshape(3, 5) % 3 > 0
    counts, sums = count_and_sum(jnp.asarray(x), nearest_of_the_paper(book, x), CODES, jnp.asarray(weights))
    wanted = counted(book, x[weights])
    np.testing.assert_array_equal(counts, wanted[0])
    np.testing.assert_allclose(sums, wanted[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"codes": 0}, "CodebookConfig.codes 0"),
        ({"codes": 1}, "CodebookConfig.codes 1"),
        ({"width": 0}, "CodebookConfig.width 0"),
        ({"decay": 1.0}, "CodebookConfig.decay 1.0"),
        ({"smoothing": 0.0}, "CodebookConfig.smoothing 0.0"),
        ({"kmeans": -1}, "CodebookConfig.kmeans -1"),
        ({"restart_below": 1.0}, "CodebookConfig.restart_below 1.0"),
    ],
)
def test_wrong_settings_are_refused(settings, named):
    with pytest.raises(UserError, match=named):
        CodebookConfig(**settings)


def test_vectors_of_another_width_are_refused():
    with pytest.raises(UserError, match=r"4 channels.*\(2, 3, 5\).*codebook.width"):
        nearest(jnp.zeros((CODES, WIDTH)), jnp.zeros((2, 3, 5)))


def test_random_vectors_are_within_their_bounds():
    found = random_vectors(jax.random.key(0), 50, 40)
    assert np.abs(found).max() <= 1 / 50
    assert np.std(found) == pytest.approx(1 / 50 / 3**0.5, rel=0.05)
