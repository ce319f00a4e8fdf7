"""The use of codes and their frequencies at each place, against counting."""

import numpy as np
import pytest

from ssl_jax.evals.codes import code_use, draw_code_use, place_frequencies, place_nats, sample_places


def test_use_is_counted():
    codes = np.array([[0, 3], [3, 5], [3, 0]])
    use = code_use(codes, 8)
    assert use.counts.tolist() == [2, 0, 0, 3, 0, 1, 0, 0]
    assert use.used == 3
    shares = np.array([2, 3, 1]) / 6
    assert use.perplexity == pytest.approx(np.prod(shares**-shares))


@pytest.mark.parametrize("size", [2, 64, 1000])
def test_perplexity_is_from_one_to_the_number_of_codes(size):
    assert code_use(np.arange(size), size).perplexity == pytest.approx(size)
    assert code_use(np.full(9, size - 1), size).perplexity == 1


@pytest.mark.parametrize(
    "codes", [np.arange(64), np.zeros(5, int), np.random.default_rng(0).geometric(0.1, 999) % 64]
)
def test_a_plot_of_any_use(codes):
    use = code_use(codes, 64)
    (axes,) = draw_code_use(use, title="codes").axes
    shares = axes.lines[0].get_ydata()
    assert len(shares) == use.used
    assert shares.sum() == pytest.approx(1)
    assert (np.diff(shares) <= 0).all()
    assert set(axes.lines[1].get_ydata()) == {1 / 64}


def test_frequencies_at_each_place():
    codes = np.array([[0, 2], [0, 1], [1, 2]])
    frequencies = place_frequencies(codes, 3)
    np.testing.assert_allclose(frequencies, np.array([[3, 2, 1], [1, 2, 3]]) / 6)
    shares = np.array([3 / 6, 3 / 6, 3 / 6, 2 / 6, 2 / 6, 3 / 6])
    assert place_nats(frequencies, codes) == pytest.approx(-np.log(shares).mean())


def test_samples_have_the_frequencies_of_their_place():
    frequencies = np.array([[0.2, 0.8, 0.0], [0.5, 0.0, 0.5]])
    samples = sample_places(frequencies, 4000, seed=0)
    assert (samples.shape, samples.dtype) == ((4000, 2), np.int32)
    for place in (0, 1):
        shares = np.bincount(samples[:, place], minlength=3) / 4000
        np.testing.assert_allclose(shares, frequencies[place], atol=0.03)
        assert shares[frequencies[place] == 0].sum() == 0
