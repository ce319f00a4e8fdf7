"""How codes are used, against counting."""

import numpy as np
import pytest
from etils import epath
from PIL import Image

from ssl_jax.evals.codes import code_use, draw_use


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
def test_a_picture_of_any_use(codes, tmp_path):
    draw_use(code_use(codes, 64), epath.Path(tmp_path / "plots" / "use.png"), title="codes")
    with Image.open(tmp_path / "plots" / "use.png") as picture:
        assert min(picture.size) > 200
