import io

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ssl_jax.evals import pictures
from ssl_jax.evals.pictures import draw_bars, draw_grid, draw_map, draw_neighbours


def pixels_of(figure):
    """Pixels [height, width, 3] in [0, 1] of a figure as it is saved."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, bbox_inches="tight")
    file.seek(0)
    return matplotlib.image.imread(file)[..., :3]


def share(pixels, colour, tolerance=0.02):
    return (np.abs(pixels - np.array(to_rgb(colour))[None, None]) < tolerance).all(-1).mean()


def test_grid_shows_every_image_in_its_place():
    red, green, gray = np.zeros((8, 8, 3), np.uint8), np.zeros((6, 12, 3)), np.full((5, 5, 1), 0.5)
    red[..., 0], green[..., 1] = 255, 1.0
    pixels = pixels_of(draw_grid([[red, green, gray], [gray[..., 0], red, green]]))
    height, width = pixels.shape[:2]
    assert width / height == pytest.approx(1.5, rel=0.05)  # the margin is the same on all sides
    centres = pixels[[height // 4, 3 * height // 4]][:, [width // 6, width // 2, 5 * width // 6]]
    expected = [[(1, 0, 0), (0, 1, 0), (0.5,) * 3], [(0.5,) * 3, (1, 0, 0), (0, 1, 0)]]
    np.testing.assert_allclose(centres, expected, atol=0.01)
    assert share(pixels, "red") == pytest.approx(
        2 * share(pixels, "lime"), rel=0.1
    )  # the wide one keeps its shape


def test_values_beyond_the_range_are_clipped():
    rows = [[np.full((4, 4, 3), value) for value in (-3.0, 0.5, 7.0, np.nan)]]
    pixels = pixels_of(draw_grid(rows))
    values = pixels[pixels.shape[0] // 2, [pixels.shape[1] * i // 8 for i in (1, 3, 5, 7)], 0]
    np.testing.assert_allclose(values, [0, 0.5, 1, 0], atol=0.01)


def test_headings_make_room_for_themselves():
    images = [[np.zeros((4, 4))] * 3] * 2
    named = draw_grid(images, columns=["original", "view 1", "view 2"], title="views", note="a note")
    assert pixels_of(named).shape[0] > pixels_of(draw_grid(images)).shape[0] + 40


def test_neighbours_are_framed_by_label():
    images = [np.full((8, 8), 0.5)] * 2
    labels = np.array([[3, 3, 3], [4, 3, -1]])

    def draw(query_labels):
        pixels = pixels_of(draw_neighbours(images, query_labels, [[images[0]] * 3] * 2, labels))
        return [share(pixels, colour) for colour in (pictures.SAME, pictures.OTHER)]

    same, other = draw(np.array([3, 3]))
    assert same == pytest.approx(4 * other, rel=0.15)
    assert other > 0
    assert draw(np.array([-1, -1])) == [0, 0]


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_map_keeps_clouds_apart_and_is_the_same_again(method):
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    features = (6 * np.eye(3, 10)[labels] + rng.normal(size=(120, 10))).astype(np.float32)
    places, _ = pictures._project(features, method, 0)
    means = np.array([places[labels == label].mean(0) for label in range(3)])
    nearest = np.linalg.norm(places[:, None] - means[None], axis=-1).argmin(1)
    assert (nearest == labels).mean() > 0.95
    arguments = (features, np.where(labels == 2, -1, labels), ["one"])
    pixels, again = (pixels_of(draw_map(*arguments, method=method, points=90)) for _ in range(2))
    assert min(pixels.shape[:2]) > 400
    assert min(share(pixels, colour) for colour in (*pictures.COLOURS[:2], pictures.UNLABELLED)) > 1e-4
    np.testing.assert_array_equal(pixels, again)


def test_map_is_the_plane_of_most_variance():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 5)).astype(np.float32) * np.array([1, 9, 1, 4, 1], np.float32)
    places, names = pictures._project(features, "pca", 0)
    axes = np.linalg.svd(features - features.mean(0))[2][:2]
    np.testing.assert_allclose(np.abs(places), np.abs((features - features.mean(0)) @ axes.T), atol=1e-3)
    assert "principal component 1" in names[0]


@pytest.mark.parametrize(("examples", "width", "classes"), [(5, 1, 2), (2, 3, 2), (70, 4, 35)])
def test_map_of_anything(examples, width, classes):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(examples, width)).astype(np.float32)
    assert pixels_of(draw_map(features, np.arange(examples) % classes, [])).std() > 0.01


def test_bars_are_as_high_as_their_metrics():
    metrics = {"trained": {"probe": 0.8, "k-NN": 0.4}, "random": {"probe": 0.4}}
    pixels = pixels_of(draw_bars(metrics, deviations={"trained": {"probe": 0.05}}, title="accuracy"))
    tall, short = (share(pixels, colour) for colour in pictures.COLOURS[:2])
    assert tall == pytest.approx(3 * short, rel=0.1)
    assert share(pixels, "#333333") > 1e-5


@pytest.mark.parametrize("features", [np.ones((1, 4)), np.ones((5, 4)), np.arange(5.0)[:, None], np.eye(2)])
@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_map_of_features_that_are_few_or_all_the_same(features, method):
    figure = draw_map(features, np.zeros(len(features), int), ["one"], method=method)
    assert pixels_of(figure).std() > 0.01
