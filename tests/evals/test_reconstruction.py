"""PCA against NumPy's singular vectors, images that do not vary, and plots by code size and of first layers."""

import numpy as np
import pytest

from ssl_jax.evals.first_layer import draw_first_layers, mosaic
from ssl_jax.evals.reconstruction import draw_by_size, fit_pca, pca_code, pca_errors, pca_reconstruction


@pytest.fixture(scope="module")
def pixels():
    """[200, 12] in [0, 1], of falling variance along directions that are not axes."""
    chance = np.random.default_rng(0)
    turned = np.linalg.qr(chance.normal(size=(12, 12)))[0]
    x = chance.normal(size=(200, 12)) * 0.8 ** np.arange(12) @ turned
    return ((x - x.min()) / (x.max() - x.min())).astype(np.float32)


@pytest.mark.parametrize("size", [0, 1, 5, 12])
def test_pca_is_the_projection_onto_the_first_singular_vectors(pixels, size):
    pca = fit_pca(pixels, 12)
    centred = pixels - pixels.mean(0).astype(np.float64)
    vectors = np.linalg.svd(centred, full_matrices=False)[2][:size]
    expected = centred @ vectors.T @ vectors + pixels.mean(0)
    np.testing.assert_allclose(pca_reconstruction(pca, pixels, size), np.clip(expected, 0, 1), atol=1e-5)
    code = np.asarray(pca_code(pca, pixels, size))
    np.testing.assert_allclose(np.abs(code), np.abs(centred @ vectors.T), atol=1e-4)


def test_more_components_than_images_or_pixels_are_all_there_are(pixels):
    assert fit_pca(pixels[:5], 12).directions.shape == (5, 12)
    pca = fit_pca(pixels, 50)
    assert pca.directions.shape == (12, 12)
    assert np.asarray(pca_code(pca, pixels, 50)).shape == (200, 12)
    np.testing.assert_allclose(pca_reconstruction(pca, pixels, 50), pixels, atol=1e-5)


@pytest.mark.parametrize("images", [np.full((40, 12), 0.3, np.float32), np.full((1, 12), 0.3, np.float32)])
def test_images_that_do_not_vary_and_a_single_image(images):
    pca = fit_pca(images, 4)
    for size in (0, 2):
        np.testing.assert_allclose(pca_reconstruction(pca, images, size), images, atol=1e-6)


def test_errors_are_those_of_the_reconstructions(pixels):
    pca = fit_pca(pixels, 12)
    errors = np.asarray(pca_errors(pca, pixels, [0, 3]))
    assert errors.shape == (200, 2)
    for place, size in enumerate((0, 3)):
        wanted = np.square(np.asarray(pca_reconstruction(pca, pixels, size)) - pixels).mean(1)
        np.testing.assert_allclose(errors[:, place], wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("curves", "options"),
    [
        ({"a": {2: 0.1, 8: 0.001}, "PCA": {2: 0.2, 8: 0.02}}, {}),
        ({"a": {4: 0.0}}, {}),
        (
            {"a": {2: 0.5, 8: 0.7}},
            {"share": True, "levels": {"raw": 0.9}, "deviations": {"a": {2: 0.1, 8: 0.0}}},
        ),
    ],
)
def test_curves_are_drawn_whatever_the_values(curves, options):
    (axes,) = draw_by_size(curves, title="title", metric="error", **options).axes
    assert [container.get_label() for container in axes.containers] == list(curves)
    for container, row in zip(axes.containers, curves.values(), strict=True):
        assert list(container[0].get_ydata()) == list(row.values())
    assert axes.get_yscale() == ("log" if "share" not in options and min(curves["a"].values()) else "linear")


def test_a_mosaic_holds_the_units_that_vary_most_scaled_around_grey():
    kernel = np.zeros((6, 6), np.float32)
    kernel[:, 2] = [0, 2, -4, 0, 0, 1]
    kernel[:, 4] = 1e-3 * np.arange(6)
    picture = mosaic(kernel, (2, 3, 1), side=2)
    assert picture.shape == (5, 7, 1)
    np.testing.assert_allclose(picture[:2, :3, 0].ravel(), 0.5 + np.array([0, 2, -4, 0, 0, 1]) / 8)
    np.testing.assert_allclose(picture[:2, 4:, 0].ravel(), 0.5 + np.arange(6) / 10, rtol=1e-5)
    assert (picture[2] == 1).all()
    assert (picture[3:, :3] == 0.5).all()
    assert (mosaic(kernel[:, :1], (2, 3, 1), side=2)[3:] == 1).all()
    figure = draw_first_layers({"gray": kernel, "colour": kernel}, (2, 1, 3))
    assert [axes.get_title() for axes in figure.axes] == ["gray", "colour"]
