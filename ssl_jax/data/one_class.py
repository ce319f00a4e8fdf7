"""One-class data sets for anomaly detection: some classes are normal, and only these are trained on."""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import grain
import jax
import numpy as np

from ssl_jax.data.image_source import ImageSource, Rows
from ssl_jax.data.images import ImageConfig, ImageSplits
from ssl_jax.data.images import batch_shapes as image_shapes
from ssl_jax.errors import UserError


class OneClassSplits(NamedTuple):
    """The data of several anomaly detectors that are trained side by side.

    Attributes:
      names: name of each detector: its normal classes.
      train: normal training images of each detector.
      validation: other normal images of each detector.
      heldout: labelled images of all classes, in neither of these parts.
      normal: bool `[detectors, classes]`, whether a class is normal for a detector.
      classes: names of the labels.
      identity: what must not change when a run is continued.
    """

    names: tuple[str, ...]
    train: tuple[ImageSource, ...]
    validation: tuple[ImageSource, ...]
    heldout: ImageSource
    normal: np.ndarray
    classes: tuple[str, ...]
    identity: dict[str, str]


def batch_shapes(config: ImageConfig, batch_size: int, detectors: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each array of a training batch; an example has one normal image per detector."""
    return {
        name: jax.ShapeDtypeStruct((batch_size, detectors, *array.shape[1:]), array.dtype)
        for name, array in image_shapes(config, batch_size).items()
    }


def heldout_shapes(config: ImageConfig, batch_size: int, detectors: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each array of a batch of `heldout_images`: single images."""
    normal = jax.ShapeDtypeStruct((batch_size, detectors), np.float32)
    return {**image_shapes(config, batch_size), "normal": normal}


def validation_needed(false_alarm_rate: float) -> int:
    """Smallest number of normal images for a threshold at this rate: n images allow no rate below 1 / (n + 1)."""
    return math.ceil(1 / false_alarm_rate - 1 - 1e-9)


def split_one_class(
    images: ImageSplits,
    normal: Sequence[str],
    *,
    detectors: int,
    validation_share: float,
    false_alarm_rate: float,
    seed: int,
) -> OneClassSplits:
    """Makes one detector for which all classes in `normal` are normal; if `normal` is empty, one detector per class.

    Args:
      images: opened images.
      normal: names of the normal classes.
      detectors: expected number of detectors.
      validation_share: share of the normal training images, selected at random, for choosing the threshold. If it
        gives fewer than the false alarm rate needs, up to half of the images are taken.
      false_alarm_rate: false alarm rate of the threshold.
      seed: of the random selection.

    Raises:
      UserError: there are no labels; a class does not exist; the number of classes is not that of the detectors; there
        are too few normal images, or none of a class; or the held-out images are all normal or all anomalies.
    """
    classes, labels, heldout_labels = images.classes, read_labels(images.train), read_labels(images.heldout)
    if not classes or (labels < 0).all() or (heldout_labels < 0).all():
        raise UserError(
            f"{images.train.name}: these images have no labels, so that no class can be normal. Give images in one "
            "folder per class, or another --data.source."
        )
    if unknown := [name for name in normal if name not in classes]:
        raise UserError(f"normal {' '.join(unknown)}: no such class; there are: {', '.join(classes)}.")
    if not normal and detectors != len(classes):
        raise UserError(
            f"classes {detectors}: {images.train.name} has {len(classes)}; give --classes {len(classes)} for one "
            "detector per class, or the normal classes with --normal."
        )
    sets = [tuple(normal)] if normal else [(name,) for name in classes]
    chosen = np.array([[name in names for name in classes] for names in sets])
    heldout = images.heldout
    if (heldout_labels < 0).any():
        heldout = Rows(heldout, np.flatnonzero(heldout_labels >= 0))
        heldout_labels = heldout_labels[heldout_labels >= 0]
    train, validation = [], []
    for names, mask in zip(sets, chosen, strict=True):
        name = " ".join(names)
        rows = np.flatnonzero((labels >= 0) & mask[labels])
        if len(rows) == 0:
            present = ", ".join(classes[label] for label in np.unique(labels[labels >= 0]))
            raise UserError(
                f"normal {name}: {images.train.name} has no training image of it; it has images of: {present}."
            )
        seen = mask[heldout_labels]
        if seen.all() or not seen.any():
            raise UserError(
                f"normal {name}: of the {len(seen)} held-out images, {'all' if seen.all() else 'none'} are normal; the "
                "evaluation needs normal images and anomalies. Hold out more with --data.heldout_share or "
                "--data.heldout_source."
            )
        held = round(validation_share * len(rows))
        needed = validation_needed(false_alarm_rate)
        if held < needed <= len(rows) / 2:
            held = needed
        if held < needed or held >= len(rows):
            raise UserError(
                f"normal {name}: of {len(rows)} normal images, {held} are for choosing the threshold, but a false "
                f"alarm rate of {false_alarm_rate} needs {needed}, and training needs others; give more images, or a "
                "larger --validation_share or --false_alarm_rate."
            )
        order = np.random.default_rng(seed).permutation(rows)
        train.append(Rows(images.train, np.sort(order[held:])))
        validation.append(Rows(images.train, np.sort(order[:held])))
    parts = hashlib.sha256("".join(part.fingerprint for part in (*train, *validation)).encode())
    return OneClassSplits(
        names=tuple(" ".join(names) for names in sets),
        train=tuple(train),
        validation=tuple(validation),
        heldout=heldout,
        normal=chosen,
        classes=classes,
        identity={**images.identity, "normal": parts.hexdigest()},
    )


def read_labels(source: ImageSource) -> np.ndarray:
    """int32 `[images]`, -1 for unlabelled images. Reads each image once."""
    return np.array([source[i]["label"] for i in range(len(source))], np.int32)


def heldout_images(splits: OneClassSplits) -> grain.MapDataset:
    """The held-out images, with float32 `normal [detectors]`, 1 for detectors for which the image is normal."""
    normal = splits.normal.astype(np.float32)
    return grain.MapDataset.source(splits.heldout).map(
        lambda row: {**row, "normal": normal[:, int(row["label"])]}
    )
