"""Images without labels, or with: from a name to what is trained on, what is probed and what is held out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np

from ssl_jax.data.digits import Digits
from ssl_jax.data.idx import open_idx, training_images_in
from ssl_jax.data.image_files import open_folder
from ssl_jax.data.image_source import Canvas, ImageArrays, ImageSource, Splittable
from ssl_jax.data.tfds_images import open_tfds
from ssl_jax.errors import UserError

LARGEST_CANVAS = 4096


@dataclass(frozen=True)
class ImageConfig:
    """The images, and the canvas that they are brought to."""

    source: str = "digits"
    """digits (scikit-learn's, 8x8); tfds:name[/config][:split]; a folder of images, with or without subfolders
    train/ and val/, and in these one for each class; a folder of idx files (MNIST's), or one of its files of images."""
    heldout_source: str = ""
    """Another source to evaluate on; empty: the validation or test images of probe_source, or of source where there is
    none, or else a share of them."""
    probe_source: str = ""
    """Another source with labels to train the probes of an evaluation on; empty: the training images."""
    heldout_share: float = 0.1
    """Share of the images held out where a source has no validation or test images of its own."""
    canvas: int = 8
    """Side in pixels of the square that images are stored in; larger ones are shrunk to it, smaller ones are not."""
    channels: int = 1
    """1: gray; 3: colour. Images of the other kind are converted."""
    unreadable: Literal["stop", "skip"] = "stop"
    """What to do on an image that is damaged. skip: read the next one in its place, and tell."""

    def __post_init__(self) -> None:
        if not self.source:
            raise UserError(f"data.source is empty; {_EXPECTED}")
        if not 0 < self.heldout_share < 1:
            raise UserError(
                f"data.heldout_share {self.heldout_share} must be above 0 and below 1; 0.1 is a tenth."
            )
        if not 1 <= self.canvas <= LARGEST_CANVAS:
            raise UserError(
                f"data.canvas {self.canvas} must be from 1 to {LARGEST_CANVAS}; it is the side of an image in pixels."
            )
        if self.channels not in (1, 3):
            raise UserError(f"data.channels {self.channels} must be 1 (gray) or 3 (red, green, blue).")
        if self.unreadable not in ("stop", "skip"):
            raise UserError(f"data.unreadable {self.unreadable!r} must be 'stop' or 'skip'.")


_EXPECTED = (
    "expected 'digits', 'tfds:name[/config][:split]', or the path of a folder of images, of a folder of idx files, or "
    "of one idx file of images."
)


class ImageSplits(NamedTuple):
    """Opened images.

    train: what is learnt from. probe: with labels where there are any, for the probes of an evaluation; `train` itself
    unless another is asked for or `train` has no labels and another split does. heldout: what is never trained on.
    classes: names of the labels; empty if not both `probe` and `heldout` have labels. identity: what must not change
    when a run is continued.
    """

    train: ImageSource
    probe: ImageSource
    heldout: ImageSource
    classes: tuple[str, ...]
    identity: dict[str, str]


class _Named(NamedTuple):
    """What one name stands for.

    probe: the labelled images to train probes on. heldout: None where the name says of none that they are to be held
    out. exact: the name picks `train` and nothing else, as a file or `tfds:name:split` does.
    """

    train: Splittable
    probe: Splittable
    heldout: ImageSource | None
    exact: bool


def open_images(config: ImageConfig) -> ImageSplits:
    """Opens the images of a configuration. No picture is decoded before it is asked for.

    Raises:
      UserError: a source is missing, empty, damaged or unknown, or the labels of two sources do not mean the same.
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
    """Shape and dtype of every array of a training batch, known without reading data."""
    square = (config.canvas, config.canvas, config.channels)
    return {
        "image": jax.ShapeDtypeStruct((batch_size, *square), np.uint8),
        "extent": jax.ShapeDtypeStruct((batch_size, 2), np.int32),
        "label": jax.ShapeDtypeStruct((batch_size,), np.int32),
    }


def _open(spec: str, config: ImageConfig) -> _Named:
    canvas = Canvas(config.canvas, config.channels)
    if spec == "digits":
        train, heldout = (_digits(canvas, heldout=held) for held in (False, True))
        return _Named(train, train, heldout, exact=False)
    if spec.startswith("tfds:"):
        return _Named(*open_tfds(spec.removeprefix("tfds:"), canvas, config.unreadable))
    path = Path(spec).expanduser()
    if not path.exists():
        reason = _EXPECTED if ":" in spec else f"no such file or folder; {_EXPECTED}"
        raise UserError(f"data source {spec!r}: {reason}")
    idx = path if path.is_file() else training_images_in(path)
    if idx is None:
        train, heldout = open_folder(path, canvas, config.unreadable)
        return _Named(train, train, heldout, exact=False)
    train, heldout = open_idx(idx, canvas)
    return _Named(train, train, heldout, exact=path.is_file())


def _digits(canvas: Canvas, *, heldout: bool) -> ImageArrays:
    digits = Digits(heldout=heldout)
    examples = [digits[i] for i in range(len(digits))]
    pixels = np.stack([example["image"] for example in examples]).reshape(-1, 8, 8, 1)
    labels = np.stack([example["label"] for example in examples])
    classes = tuple(map(str, range(10)))
    return ImageArrays("digits", np.rint(pixels * 255).astype(np.uint8), labels, classes, canvas)


def _check_classes(one: str, first: ImageSource, other: str, second: ImageSource) -> None:
    """Labels may be compared if each number stands for the same name in both, or one of them has no labels."""
    for number, (a, b) in enumerate(zip(first.classes, second.classes, strict=False)):
        if a != b:
            raise UserError(
                f"{one} ({first.name}) and {other} ({second.name}) have different classes: label {number} is {a!r} in "
                f"the first and {b!r} in the second. Give sources with the same classes."
            )
