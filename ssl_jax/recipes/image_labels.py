"""Names of the classes of images in the run folder, and how a classifier is applied to new images."""

import functools
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np
from etils import epath

from ssl_jax.data.given_images import GivenImage, GivenImages
from ssl_jax.data.image_source import Canvas
from ssl_jax.data.images import ImageConfig
from ssl_jax.errors import UserError
from ssl_jax.evals.classification import label_probabilities
from ssl_jax.files import read_json, write_json
from ssl_jax.method import Represent
from ssl_jax.training.experiment import Predictor

FILE = "classes.json"
"""The names of the classes, in the folder of the run, where they are found without the data."""


def save_classes(names: Sequence[str], classes: int, folder: epath.Path) -> None:
    """Writes the names of the classes into a run folder, unless they are there, as in a folder that is only read.

    Args:
      names: of the classes of the data.
      classes: of the classifier; those that the data does not have are named by their number.
      folder: of the run.
    """
    if not (folder / FILE).exists():
        write_json(folder / FILE, [*names, *(f"class {i}" for i in range(len(names), classes))])


def read_classes(folder: epath.Path, classes: int) -> list[str]:
    """The names of the classes of a run.

    Raises:
      UserError: they are not there, or are not as many as the classes of the classifier.
    """
    absent = (
        f"{folder}: has no {FILE}, which has the names of its classes. Bring the whole run folder; the command that "
        "trained the run writes the file when it is given again."
    )
    names = read_json(folder / FILE, list[str], absent)
    if len(names) != classes:
        raise UserError(
            f"{folder / FILE}: has {len(names)} names, the classifier {classes} classes. Bring an undamaged copy of "
            "the run folder."
        )
    return names


def image_predictor(logits: Represent, data: ImageConfig, classes: int) -> Predictor:
    """What is predicted of each image: its class, and the probabilities of all classes.

    Args:
      logits: `(params, extras, batch) -> [batch, classes]`.
      data: the canvas and the channels to which images are fitted.
      classes: how many there are.
    """
    canvas = Canvas(data.canvas, data.channels)

    def prepare(images: Sequence[GivenImage], names: Sequence[str]) -> tuple[grain.MapDataset, Any]:
        return grain.MapDataset.source(GivenImages(images, canvas)), functools.partial(
            describe, images, names
        )

    def describe(
        images: Sequence[GivenImage], names: Sequence[str], found: np.ndarray
    ) -> list[dict[str, Any]]:
        files = [{} if isinstance(image, np.ndarray) else {"file": str(image)} for image in images]
        return [file | one for file, one in zip(files, label_probabilities(names, found), strict=True)]

    return Predictor(prepare, logits, lambda folder: read_classes(folder, classes), reads="images")
