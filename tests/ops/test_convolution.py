"""Convolutions of sequences, with even kernels, and transposed, against NumPy and JAX's own derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.ops.convolution import convolve, convolve_transposed


def randoms(*shapes):
    return [jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize(
    ("image", "size", "stride", "padding"),
    [((12,), 4, 2, (1, 1)), ((12,), 6, 3, (1, 2)), ((12,), 3, 1, (1, 1)), ((24, 12), 4, 2, (1, 1))],
)
def test_both_and_their_derivatives_are_those_of_jax(image, size, stride, padding):
    axes = len(image)
    x, kernel = randoms((2, *image, 3), (*(size,) * axes, 3, 5))
    numbers = ("NWC", "WIO", "NWC") if axes == 1 else ("NHWC", "HWIO", "NHWC")

    def plain(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (stride,) * axes, [padding] * axes, dimension_numbers=numbers
        )

    def transposed(y, kernel):
        return jax.vjp(lambda x: plain(x, kernel), x)[1](y)[0]

    @jax.jit
    def both(x, kernel):
        y = plain(x, kernel)
        pairs = [(x, lambda *a: convolve(*a, stride), plain)]
        pairs += [(y, lambda *a: convolve_transposed(*a, stride), transposed)]
        found = []
        for argument, ours, theirs in pairs:
            (a, a_back), (b, b_back) = jax.vjp(ours, argument, kernel), jax.vjp(theirs, argument, kernel)
            cotangent = jax.random.normal(jax.random.key(2), b.shape)
            found.append(((a, *a_back(cotangent)), (b, *b_back(cotangent))))
        return found

    down, up = both(x, kernel)
    assert down[0][0].shape == (2, *(n // stride for n in image), 5)
    assert up[0][0].shape == x.shape
    for ours, theirs in (down, up):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_strided_convolution_of_a_sequence_is_the_sum_that_it_stands_for():
    x, kernel = map(np.asarray, randoms((2, 8, 3), (4, 3, 5)))
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    expected = np.stack(
        [np.einsum("bkc,kcf->bf", padded[:, 2 * i : 2 * i + 4], kernel) for i in range(4)], axis=1
    )
    np.testing.assert_allclose(convolve(x, kernel, 2), expected, rtol=1e-5, atol=1e-5)


def test_every_pixel_of_an_enlarged_image_is_a_sum_of_as_many_products():
    enlarged = np.asarray(convolve_transposed(jnp.ones((1, 6, 6, 1)), jnp.ones((4, 4, 1, 1)), 2))[0, ..., 0]
    assert (enlarged[1:-1, 1:-1] == 4).all()


def test_gradients_of_a_bfloat16_kernel_are_summed_in_float32():
    # 4096 ones: a sum in bfloat16 stops at 256.
    ones = jnp.ones((4096, 1, 1), jnp.bfloat16)
    _, back = jax.vjp(lambda *a: convolve_transposed(*a, 1), ones, jnp.ones((1, 1, 1)))
    dx, dkernel = back(ones)
    assert (dkernel.dtype, dkernel.item(), dx.dtype) == (jnp.float32, 4096, jnp.bfloat16)
