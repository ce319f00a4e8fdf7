"""Opens images by name: training images, images for probes, and held-out images, with or without labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import jax
import numpy as np
from etils import epath

from ssl_jax.data.digits import Digits
from ssl_jax.data.idx import find_training_images, open_idx
from ssl_jax.data.image_files import open_folder
from ssl_jax.data.image_source import Canvas, ImageArrays, ImageSource, Splittable
from ssl_jax.data.prepared.image_reading import PreparedImages, open_prepared_images
from ssl_jax.data.prepared.manifest import PREPARED
from ssl_jax.data.prepared.work import is_prepared
from ssl_jax.data.tfds_images import open_tfds
from ssl_jax.domains import NonEmptyText, Pixels, ProperShare, Settings, Text, integers
from ssl_jax.errors import UserError

LARGEST_CANVAS = 4096


@dataclass(frozen=True)
class ImageSourceConfig(Settings):
    """The image sources, and the canvas to which their images are fitted."""

    source: NonEmptyText = "digits"
    """digits (scikit-learn's, 8x8); tfds:name[/config][:split]; a folder of images, with or without subfolders train/
    and val/, each with or without a subfolder per class; a folder of idx files (MNIST's), or one of its image files;
    prepared:FOLDER, made by python -m ssl_jax.prepare images."""
    heldout_source: Text = ""
    """Another source to evaluate on. If empty: the validation or test images of probe_source, or of source if there is
    no probe_source; if these have none, a share of their images."""
    probe_source: Text = ""
    """Another source with labels, to train the probes of an evaluation on. If empty: the training images."""
    heldout_share: ProperShare = 0.1
    """Share of the images to hold out if a source has no validation or test images."""
    canvas: Pixels = 8
    """Side of the stored square images in pixels. Larger images are shrunk to it, smaller ones are not enlarged."""
    channels: Literal[1, 3] = 1
    """1: grayscale; 3: RGB. Other images are converted."""
    unreadable: Literal["stop", "skip"] = "stop"
    """What to do with a damaged image. stop: end with an error; skip: use the next one instead and log a warning; leave
    it out of images that are prepared."""

    @property
    def preprocessing(self) -> dict[str, str]:
        """What decides the meaning of pixel values, by name: for `training.experiment.Data`."""
        return {"channels": str(self.channels), "pixels": "0 to 1"}


@dataclass(frozen=True)
class ImageConfig(ImageSourceConfig):
    """The images of a run, and how they are read."""

    processes: Annotated[int, integers(0, 16)] = 0
    """Processes that read and decode training images, for hosts with many cores: the threads of one process decode some
    2,500 a second together (docs/imagenet_on_a_pod.md). There are at most half as many as cores. 0: threads alone."""


_EXPECTED = (
    "expected 'digits', 'tfds:name[/config][:split]', 'prepared:FOLDER', or the path of a folder of images, of a "
    "folder of idx files, or of one idx file of images."
)


class ImageSplits(NamedTuple):
    """Opened images.

    Attributes:
      train: training images.
      probe: images to train probes on, labelled if possible. The same as `train` unless another source is configured,
        or `train` has no labels and another split has.
      heldout: images that are never trained on.
      classes: names of the labels; empty unless both `probe` and `heldout` have labels.
      identity: what must not change when a run is continued.
    """

    train: ImageSource
    probe: ImageSource
    heldout: ImageSource
    classes: tuple[str, ...]
    identity: dict[str, str]

    def on(self, canvas: Canvas) -> "ImageSplits":
        """The same images, fitted to another canvas."""
        return self._replace(
            train=self.train.on(canvas), probe=self.probe.on(canvas), heldout=self.heldout.on(canvas)
        )


class _OpenedImages(NamedTuple):
    """The images of one name.

    Attributes:
      train: training images.
      probe: labelled images to train probes on.
      heldout: held-out images; None if the name does not determine any, as that of a prepared folder always does.
      exact: whether the name selects exactly `train`, as a file or `tfds:name:split` does.
    """

    train: ImageSource
    probe: Splittable | PreparedImages
    heldout: ImageSource | None
    exact: bool


def open_images(config: ImageSourceConfig) -> ImageSplits:
    """Opens the images of a configuration. Images are decoded only when they are read.

    Raises:
      UserError: a source is missing, empty, damaged or unknown, or the labels of two sources have different meanings.
    """
    main = _open(config.source, config)
    same = config.probe_source in ("", config.source)
    probing = main if same else _open(config.probe_source, config)
    train, probe = main.train, probing.probe
    if config.heldout_source:
        other = _open(config.heldout_source, config)
        heldout = other.train if other.exact or other.heldout is None else other.heldout
    elif probing.heldout is not None:
        heldout = probing.heldout
    else:
        probe, heldout = probing.probe.split(config.heldout_share)
        if probing.probe is main.train:
            train = probe
    _check_classes("data.source", train, "data.probe_source", probe)
    _check_classes("the images for probes", probe, "those held out", heldout)
    return ImageSplits(
        train=train,
        probe=probe,
        heldout=heldout,
        classes=max(probe.classes, heldout.classes, key=len) if probe.classes and heldout.classes else (),
        identity={"train": train.fingerprint, "probe": probe.fingerprint, "heldout": heldout.fingerprint},
    )


def batch_shapes(config: ImageConfig, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each array of a training batch, without reading data."""
    square = (config.canvas, config.canvas, config.channels)
    return {
        "image": jax.ShapeDtypeStruct((batch_size, *square), np.uint8),
        "extent": jax.ShapeDtypeStruct((batch_size, 2), np.int32),
        "label": jax.ShapeDtypeStruct((batch_size,), np.int32),
    }


def _open(spec: str, config: ImageSourceConfig) -> _OpenedImages:
    canvas = Canvas(config.canvas, config.channels)
    if spec == "digits":
        train, heldout = (_digits(canvas, heldout=held) for held in (False, True))
        return _OpenedImages(train, train, heldout, exact=False)
    if spec.startswith("tfds:"):
        return _OpenedImages(*open_tfds(spec.removeprefix("tfds:"), canvas, config.unreadable))
    if spec.startswith(PREPARED):
        opened = open_prepared_images(spec.removeprefix(PREPARED), canvas, config.unreadable)
        return _OpenedImages(*opened, exact=False)
    path = Path(spec).expanduser()
    if not path.exists():
        reason = _EXPECTED if ":" in spec else f"no such file or folder; {_EXPECTED}"
        raise UserError(f"data source {spec!r}: {reason}")
    idx = path if path.is_file() else find_training_images(path)
    if idx is None:
        if is_prepared(epath.Path(path)):
            raise UserError(f"data source {spec!r}: is a prepared folder; name it {PREPARED}{spec}.")
        train, heldout = open_folder(path, canvas, config.unreadable)
        return _OpenedImages(train, train, heldout, exact=False)
    train, heldout = open_idx(idx, canvas)
    return _OpenedImages(train, train, heldout, exact=path.is_file())


def _digits(canvas: Canvas, *, heldout: bool) -> ImageArrays:
    digits = Digits(heldout=heldout)
    examples = [digits[i] for i in range(len(digits))]
    pixels = np.stack([example["image"] for example in examples]).reshape(-1, 8, 8, 1)
    labels = np.stack([example["label"] for example in examples])
    classes = tuple(map(str, range(10)))
    return ImageArrays("digits", np.rint(pixels * 255).astype(np.uint8), labels, classes, canvas)


def _check_classes(one: str, first: ImageSource, other: str, second: ImageSource) -> None:
    """Checks that labels have the same names in two sources; a source without labels is compatible with any."""
    for number, (a, b) in enumerate(zip(first.classes, second.classes, strict=False)):
        if a != b:
            raise UserError(
                f"{one} ({first.name}) and {other} ({second.name}) have different classes: label {number} is {a!r} in "
                f"the first and {b!r} in the second. Give sources with the same classes."
            )
