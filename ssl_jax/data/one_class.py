"""Images of some classes for normal, and all others for anomalies, which no training example is ever one of."""

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
    """What each of several detectors of anomalies learns from, and what all of them are shown.

    names: of the detectors, the classes that are normal to them. train, validation: their normal images, two parts
    without an image in common. heldout: labelled images of all classes, which are in neither. normal: bool
    `[detectors, classes]`. classes: names by label. identity: what must not change when a run is continued.
    """

    names: tuple[str, ...]
    train: tuple[ImageSource, ...]
    validation: tuple[ImageSource, ...]
    heldout: ImageSource
    normal: np.ndarray
    classes: tuple[str, ...]
    identity: dict[str, str]


def batch_shapes(config: ImageConfig, batch_size: int, detectors: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of every array of a training batch: an example is one normal image for each detector."""
    return {
        name: jax.ShapeDtypeStruct((batch_size, detectors, *array.shape[1:]), array.dtype)
        for name, array in image_shapes(config, batch_size).items()
    }


def validation_needed(false_alarm_rate: float) -> int:
    """How many normal images a threshold for this rate needs: with n of them there is none below 1 / (n + 1)."""
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
    """One detector to which all classes in `normal` are normal; or, if it is empty, one for each class by itself.

    Args:
      detectors: how many are expected.
      validation_share: of the normal training images, a seeded choice, to set a threshold with.
      false_alarm_rate: that the threshold is to be set for.

    Raises:
      UserError: labels are missing; a class that there is not; another number of classes than of detectors; too few
        normal images, or a class with none; held-out images that are all normal, or all anomalies.
    """
    classes, labels, heldout_labels = images.classes, labels_of(images.train), labels_of(images.heldout)
    if not classes or (labels < 0).all() or (heldout_labels < 0).all():
        raise UserError(
            f"{images.train.name}: these images have no labels, which say what is normal. Give images in a folder for "
            "each class, or another --data.source."
        )
    if unknown := [name for name in normal if name not in classes]:
        raise UserError(f"normal {' '.join(unknown)}: no such class; there are: {', '.join(classes)}.")
    if not normal and detectors != len(classes):
        raise UserError(
            f"classes {detectors}: {images.train.name} has {len(classes)}; give --classes {len(classes)} for each in "
            "turn, or name what is normal with --normal."
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
                f"normal {name}: {images.train.name} has no such image to train on; it has images of: {present}."
            )
        seen = mask[heldout_labels]
        if seen.all() or not seen.any():
            raise UserError(
                f"normal {name}: the {len(seen)} held-out images are {'all' if seen.all() else 'none of them'} normal; "
                "to tell how well anomalies are found, both kinds are needed. Hold out more with --data.heldout_share "
                "or --data.heldout_source."
            )
        held = round(validation_share * len(rows))
        needed = validation_needed(false_alarm_rate)
        if held < needed or held >= len(rows):
            raise UserError(
                f"normal {name}: of {len(rows)} normal images {held} are left to set the threshold with, but a false "
                f"alarm rate of {false_alarm_rate} needs {needed}, and others to train on; give more images, or a "
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


def labels_of(source: ImageSource) -> np.ndarray:
    """int32 `[images]`, -1 for none. Every image is read once."""
    return np.array([source[i]["label"] for i in range(len(source))], np.int32)


def training_images(splits: OneClassSplits, seed: int) -> grain.MapDataset:
    """Endless examples of one normal image for each detector, of its own: every array has an axis for detectors."""
    each = [grain.MapDataset.source(part).seed(seed).shuffle().repeat() for part in splits.train]
    return grain.experimental.ZipMapDataset(each).map(
        lambda rows: {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    )


def heldout_images(splits: OneClassSplits) -> grain.MapDataset:
    """The held-out images, with `normal`: float32 `[detectors]`, 1 where a detector is to raise no alarm."""
    normal = splits.normal.astype(np.float32)
    return grain.MapDataset.source(splits.heldout).map(
        lambda row: {**row, "normal": normal[:, int(row["label"])]}
    )
