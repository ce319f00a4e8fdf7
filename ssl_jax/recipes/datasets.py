"""The image data sets of the presets: where each comes from, and what is known of it before it is opened."""

import os
from dataclasses import dataclass

import grain

from ssl_jax.data.endless_images import EndlessImages
from ssl_jax.data.image_source import Canvas
from ssl_jax.data.image_summary import describe_images
from ssl_jax.data.images import ImageConfig, ImageSplits, open_images
from ssl_jax.errors import UserError
from ssl_jax.training.distributed import announce
from ssl_jax.training.experiment import Data


@dataclass(frozen=True)
class ImageDataset:
    """An image data set.

    Attributes:
      data: its source and the canvas that its images are stored in.
      size: height and width of an image as a network receives it whole, in pixels.
      classes: number of labels; 0 for none.
      centre: share of the shorter side that is kept, in the middle.
    """

    data: ImageConfig
    size: int
    classes: int
    centre: float = 1.0


DIGITS = ImageDataset(ImageConfig(), size=8, classes=10)
"""scikit-learn's 1,797 digits of 8x8 pixels, embedded: offline, minutes."""

MNIST = ImageDataset(ImageConfig(source="mnist", canvas=28), size=28, classes=10)
"""A folder of idx files of 28x28 gray images, named by `--data.source`: MNIST, Fashion-MNIST, KMNIST, EMNIST."""

TFDS_MNIST = ImageDataset(ImageConfig(source="tfds:mnist", canvas=28), size=28, classes=10)
"""MNIST's 60,000 training images, prepared by TFDS."""

CIFAR10 = ImageDataset(ImageConfig(source="tfds:cifar10", canvas=32, channels=3), size=32, classes=10)
"""50,000 colour images of 32x32 pixels."""

STL10 = ImageDataset(ImageConfig(source="tfds:stl10", canvas=96, channels=3), size=96, classes=10)
"""100,000 unlabelled images of 96x96 pixels; probes are fitted to the 5,000 labelled ones."""

CELEB_A = ImageDataset(
    ImageConfig(source="tfds:celeb_a", canvas=218, channels=3), size=64, classes=0, centre=0.8
)
"""162,770 aligned faces of 218x178 pixels, of which the middle 142x142 are used; they have no labels."""

IMAGENET = ImageDataset(
    ImageConfig(source="tfds:imagenet2012", canvas=320, channels=3, processes=16),
    size=224,
    classes=1000,
    centre=0.875,
)
"""1,281,167 images of 1,000 classes.

Most are of some 500x375 pixels; those longer than the canvas of 320 are shrunk to it. The smallest crop, 8 % of the
area, then has some 78 pixels a side instead of 122, and is blurred more when it is enlarged to 224. What that costs in
accuracy has not been measured; the papers crop the whole picture. `--data.canvas 512` does nearly the same, and sends
786 instead of 307 kB per image to the devices.
"""


_handed_over: dict[ImageConfig, ImageSplits] = {}
"""At most one."""


def hand_over(config: ImageConfig, images: ImageSplits) -> None:
    """Keeps images that have been opened to choose settings by them, for the run that opens them next.

    A large folder takes long to list.

    Args:
      config: of the images as the run has them.
      images: what `open_images` has opened, of a configuration with another canvas or other channels.
    """
    _handed_over.clear()
    _handed_over[config] = images.on(Canvas(config.canvas, config.channels))


def opened_images(config: ImageConfig) -> ImageSplits:
    """Opens the images of a run, unless they have been handed over, and says what was found."""
    images = _handed_over.pop(config, None) or open_images(config)
    for line in describe_images(config, images):
        announce(line)
    return images


def reading_processes(most: int) -> int:
    """How many processes read images here: at most so many, and at most half of the cores; 0 in place of a single one.

    Args:
      most: by the configuration.
    """
    count = min(most, (os.cpu_count() or 1) // 2)
    return count if count > 1 else 0


def open_image_data(config: ImageConfig, *, classes: int, seed: int) -> Data:
    """The images of a run, in the order of its seed.

    Args:
      config: of the images.
      classes: of an online probe or a classifier; 0 for none.
      seed: of the order.

    Raises:
      UserError: the images have more labels than `classes`, unless it is 0.
    """
    images = opened_images(config)
    if 0 < classes < len(images.classes):
        raise UserError(
            f"classes {classes}: {images.probe.name} has {len(images.classes)} labels; give "
            f"--classes {len(images.classes)}, or 0 for no online probe."
        )
    heldout = grain.MapDataset.source(images.heldout)
    # Images of a single class (train/good of a one-class data set) have labels, but no probe can be fitted to them.
    probed = images.classes and len(images.probe.classes) > 1
    labelled = {"train": grain.MapDataset.source(images.probe), "heldout": heldout} if probed else {}
    return Data(
        train=(EndlessImages(images.train, seed, reading_processes(config.processes)),),
        heldout=({"heldout": heldout},),
        identity=images.identity,
        details=images,
        labelled=labelled,
        preprocessing=config.preprocessing,
    )
