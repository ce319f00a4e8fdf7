"""Convolutions of sequences, with even kernels, and transposed, against NumPy and JAX's own derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.ops import convolution_in_pieces
from ssl_jax.ops.convolution import convolve, convolve_transposed
from ssl_jax.ops.operation import plain_formulas


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


def mesh_of(devices):
    return jax.make_mesh(
        (devices, 1), ("data", "fsdp"), (jax.sharding.AxisType.Auto,) * 2, devices=jax.devices()[:devices]
    )


@pytest.mark.parametrize("operation", [convolve, convolve_transposed], ids=["down", "up"])
@pytest.mark.parametrize(
    ("sizes", "size", "stride", "dtype"),
    [
        ((9, 7), 3, 1, jnp.float32),
        ((9, 7), 3, 2, jnp.float32),
        ((12, 8), 4, 2, jnp.float32),
        ((8, 8), 7, 2, jnp.float32),
        ((6, 6), 1, 2, jnp.float32),
        ((8, 8), 3, 1, jnp.bfloat16),
    ],
)
def test_wide_ones_are_computed_in_pieces_on_one_cpu(monkeypatch, operation, sizes, size, stride, dtype):
    image = 4 * sizes[0] * sizes[1] // stride * (size * 64 + 5 // stride)  # as `_pieces` counts them
    monkeypatch.setattr(convolution_in_pieces, "PIECE", 2 * image)
    if operation is convolve_transposed:
        sizes = [-(-n // stride) for n in sizes]
    x, kernel = randoms((6, *sizes, 64 if operation is convolve else 5), (size, size, 64, 5))
    y = jax.eval_shape(lambda *a: operation(*a, stride), x, kernel)
    arrays = x.astype(dtype), kernel, jax.random.normal(jax.random.key(2), y.shape).astype(dtype)

    def both(x, kernel, cotangent):
        y, back = jax.vjp(lambda *a: operation(*a, stride), x, kernel)
        return y, *back(cotangent)

    with plain_formulas():
        expected = jax.jit(both)(*(a.astype(jnp.float32) for a in arrays))
    with jax.set_mesh(mesh_of(1)):
        program = jax.jit(both).lower(*arrays)
        found = program.compile()(*arrays)
    assert program.as_text().count("stablehlo.while") == 3
    assert [a.dtype for a in found] == [dtype, dtype, jnp.float32]
    for a, b in zip(found, expected, strict=True):
        b = np.asarray(b)
        tolerance = (2e-5 if dtype == jnp.float32 else 2e-2) * np.abs(b).max()
        np.testing.assert_allclose(np.float32(a), b, atol=tolerance)


@pytest.mark.parametrize(
    ("devices", "shape"), [(2, (3, 3, 64, 5)), (1, (3, 3, 16, 5)), (1, (3, 64, 5))], ids=str
)
def test_other_ones_are_xlas(devices, shape):
    x, kernel = randoms((6, *(8,) * (len(shape) - 2), shape[-2]), shape)
    with jax.set_mesh(mesh_of(devices)):
        assert "stablehlo.while" not in jax.jit(convolve).lower(x, kernel).as_text()


def test_pieces_are_the_largest_equal_ones_that_are_not_too_large():
    image = 4 * 8 * 8 * (3 * 64 + 64)
    found = [convolution_in_pieces._pieces((n, 8, 8, 64), (3, 3, 64, 64), 1) for n in (1, 6, 31, 32, 33, 128)]
    assert image * 32 == convolution_in_pieces.PIECE
    assert found == [1, 1, 1, 1, 3, 4]
