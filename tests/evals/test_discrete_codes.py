"""Bits and classes of discrete codes: their use, and the images that show them."""

import numpy as np
import pytest

from ssl_jax.evals.discrete_codes import bit_images, bit_use, code_bits, surest_images


@pytest.mark.parametrize(("kind", "size", "bits"), [("real", 3, 96), ("binary", 3, 3), ("one_hot", 8, 3)])
def test_bits_of_a_code(kind, size, bits):
    assert code_bits(kind, size) == bits


def test_bits_that_are_even_come_first_and_constant_ones_do_not_vary():
    logits = np.array(
        [[1.0, 1.0, -1.0, 2.0], [1.0, -1.0, -1.0, 3.0], [1.0, 1.0, -2.0, -1.0], [2.0, -1.0, -1.0, 1.0]]
    )
    use = bit_use(logits)
    assert use.shares.tolist() == [1.0, 0.5, 0.0, 0.75]
    assert use.order.tolist() == [1, 3, 0, 2]
    assert use.varying == 2


def test_images_of_a_bit():
    logits = np.array([3.0, -1.0, 1.0, -2.0])
    pixels = np.array([[1.0, 0.0], [0.0, 0.5], [0.5, 0.5], [0.0, 0.0]])
    shown = bit_images(logits, pixels, 1)
    np.testing.assert_allclose(shown.off, [0.0, 0.25])
    np.testing.assert_allclose(shown.on, [0.75, 0.25])
    np.testing.assert_allclose(shown.change, [1.0, 0.5])
    assert (shown.surely_off.tolist(), shown.surely_on.tolist()) == ([3], [0])
    np.testing.assert_allclose(bit_images(np.ones(4), pixels, 9).off, [0.5, 0.5])


def test_surest_images_have_the_largest_margin_and_are_of_the_class():
    logits = np.array([[5.0, 4.9, 0.0], [3.0, 0.0, 0.0], [0.0, 9.0, 0.0], [2.0, 0.0, 1.0]])
    assert surest_images(logits, 0, 3).tolist() == [1, 3, 0]
    assert surest_images(logits, 0, 2).tolist() == [1, 3]
    assert surest_images(logits, 2, 3).tolist() == []
    assert surest_images(np.zeros((2, 1)), 0, 3).tolist() == [0, 1]
