"""Classes of images by name: in the run folder, and in what is predicted of files and arrays."""

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from PIL import Image

from ssl_jax.data.images import ImageConfig
from ssl_jax.errors import UserError
from ssl_jax.recipes.image_labels import image_predictor, read_classes, save_classes
from ssl_jax.training.mapping import map_examples
from ssl_jax.training.sharding import MeshConfig, make_mesh


def brightness(params, extras, batch):
    """Logits of three classes: dark, bright, and one that is never the likeliest."""
    bright = batch["image"].astype(jnp.float32).mean((1, 2, 3)) / 255 - 0.5
    return jnp.stack([-bright, bright, jnp.full_like(bright, -9)], -1)


def test_predictions_have_names_probabilities_and_files(tmp_path):
    folder = epath.Path(tmp_path / "run")
    folder.mkdir()
    save_classes(("dark", "bright"), 3, folder)
    save_classes(("other", "names"), 3, folder)  # they stay, as those of a run that is continued
    predictor = image_predictor(brightness, ImageConfig(canvas=8), 3)
    file = tmp_path / "a.png"
    Image.fromarray(np.full((9, 12), 255, np.uint8)).save(file)
    images = [np.zeros((8, 8), np.uint8), file]
    rows, describe = predictor.prepare(images, predictor.encoder(folder))
    mesh = make_mesh(MeshConfig())
    found = describe(map_examples(predictor.function, {"params": {}}, rows, mesh=mesh, batch_size=8))
    assert [one["label"] for one in found] == ["dark", "bright"]
    assert ["file" in one for one in found] == [False, True]
    assert found[1]["file"] == str(file)
    for one in found:
        assert [*one["probabilities"]] == ["dark", "bright", "class 2"]
        assert sum(one["probabilities"].values()) == pytest.approx(1)
        assert one["probability"] == one["probabilities"][one["label"]] > 0.5


def test_names_that_are_absent_or_not_those_of_the_classifier(tmp_path):
    folder = epath.Path(tmp_path)
    with pytest.raises(UserError, match=r"has no classes\.json, which has the names of its classes"):
        read_classes(folder, 2)
    save_classes(("a", "b"), 2, folder)
    with pytest.raises(UserError, match=r"classes\.json: has 2 names, the classifier 3 classes"):
        read_classes(folder, 3)
