"""PCA against NumPy's singular vectors, images that do not vary, and the table and plot by code size."""

import matplotlib.image
import numpy as np
import pytest

from ssl_jax.evals.first_layer import draw_first_layers, mosaic
from ssl_jax.evals.reconstruction import draw_by_size, fit_pca, pca_code, pca_rebuild, share, size_table


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
    np.testing.assert_allclose(pca_rebuild(pca, pixels, size), np.clip(expected, 0, 1), atol=1e-5)
    code = np.asarray(pca_code(pca, pixels, size))
    np.testing.assert_allclose(np.abs(code), np.abs(centred @ vectors.T), atol=1e-4)


def test_more_components_than_images_or_pixels_are_all_there_are(pixels):
    assert fit_pca(pixels[:5], 12).directions.shape == (5, 12)
    pca = fit_pca(pixels, 50)
    assert pca.directions.shape == (12, 12)
    assert np.asarray(pca_code(pca, pixels, 50)).shape == (200, 12)
    np.testing.assert_allclose(pca_rebuild(pca, pixels, 50), pixels, atol=1e-5)


@pytest.mark.parametrize("images", [np.full((40, 12), 0.3, np.float32), np.full((1, 12), 0.3, np.float32)])
def test_images_that_do_not_vary_and_a_single_image(images):
    pca = fit_pca(images, 4)
    for size in (0, 2):
        np.testing.assert_allclose(pca_rebuild(pca, images, size), images, atol=1e-6)
    assert share(0.0, 0.0) is None


def test_table_has_the_share_of_the_mean_images_error_where_there_is_one():
    errors = {"autoencoder": {2: 0.02, 16: 0.001}, "PCA": {2: 0.03, 16: 0.002}}
    head, small, large = (line.split() for line in size_table(errors, 0.04))
    assert head[-2:] == ["autoencoder", "PCA"]
    assert small == ["2", "0.02000", "(", "50.0%)", "0.03000", "(", "75.0%)"]
    assert large == ["16", "0.00100", "(", "2.5%)", "0.00200", "(", "5.0%)"]
    assert size_table({"PCA": {2: 0.0}}, 0.0)[1].split() == ["2", "0.00000"]


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
def test_curves_are_drawn_whatever_the_values(tmp_path, curves, options):
    file = tmp_path / "deep" / "curve.png"
    draw_by_size(curves, file, title="title", figure="error", **options)
    assert matplotlib.image.imread(file).std() > 0.05


def test_a_mosaic_holds_the_units_that_vary_most_scaled_around_grey(tmp_path):
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
    draw_first_layers({"gray": kernel, "colour": kernel}, (2, 1, 3), tmp_path / "weights.png")
    assert (tmp_path / "weights.png").stat().st_size > 1000
