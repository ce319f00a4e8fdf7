"""TFDS data sets as images: the field `image` and, if it exists, the field `label`."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ssl_jax.data.encoded_images import EncodedImages, Unreadable
from ssl_jax.data.image_source import UNLABELLED, Canvas, heldout_count
from ssl_jax.data.tfds_source import TfdsSource
from ssl_jax.errors import UserError

_HELDOUT = ("test", "validation")
_TEST_WITHOUT_LABELS = ("imagenet2012",)


class TfdsImages(EncodedImages):
    """Records of a data set, read as encoded PNG or JPEG and decoded here, like files.

    Args:
      name: name in messages.
      records: records whose field `image` is not decoded.
      rows: selects the records.
      fingerprint: of all records.
      classes: names of the labels.
      canvas: size and channels of the examples.
      unreadable: what to do with damaged images.

    Raises:
      UserError: (when an image is read) it is damaged, or, if damaged images are skipped, all are.
    """

    def __init__(
        self,
        name: str,
        records: Sequence[dict[str, Any]],
        rows: range,
        fingerprint: str,
        classes: tuple[str, ...],
        canvas: Canvas,
        unreadable: Unreadable,
    ) -> None:
        super().__init__(canvas, unreadable)
        self.name, self.classes = name, classes
        self._records, self._rows, self._of_all = records, rows, fingerprint
        self.fingerprint = hashlib.sha256(f"{fingerprint} {rows} {classes}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image of a record, and its label."""
        record = self._records[self._rows[index]]
        return record["image"], int(record["label"]) if self.classes else UNLABELLED

    def describe(self, index: int) -> str:
        """The data set and the index of the record."""
        return f"data source {self.name!r}, record {self._rows[index]}"

    def split(self, share: float) -> tuple["TfdsImages", "TfdsImages"]:
        """Splits into (training, held-out).

        The last records are held out, because TFDS shuffles records in preparation.
        """
        first = len(self) - heldout_count(self.name, len(self), share)
        return self._select(self._rows[:first]), self._select(self._rows[first:])

    def _select(self, rows: range) -> "TfdsImages":
        return TfdsImages(
            self.name, self._records, rows, self._of_all, self.classes, self._canvas, self._unreadable
        )


def open_tfds(
    spec: str, canvas: Canvas, unreadable: Unreadable
) -> tuple[TfdsImages, TfdsImages, TfdsImages | None, bool]:
    """Opens a data set: (training images, labelled training images, held-out images, whether `spec` names a split).

    Without a split in `spec`, the training images are those of the split "unlabelled" if it exists (STL-10), otherwise
    of "train". The held-out images are those of "test" or else "validation", whichever `spec` does not name; None if
    there is neither.

    Raises:
      UserError: the data set is unknown or not prepared, the split does not exist, or there is no field `image` of
        8-bit images.
    """
    source = TfdsSource(spec)

    def images(split: str) -> TfdsImages:
        records = source.records(split, decoders=_undecoded(source))
        source.require("image")
        name = source.name if source.split == split else f"{source.name}:{split}"
        everything, fingerprint = range(len(records)), source.fingerprint(split, records)
        return TfdsImages(name, records, everything, fingerprint, _classes(source), canvas, unreadable)

    labelled = images(source.split or "train")
    splits = source.builder.info.splits
    unlabelled = not source.split and "unlabelled" in splits
    no_labels = source.builder.name.startswith(_TEST_WITHOUT_LABELS)
    order = reversed(_HELDOUT) if no_labels else _HELDOUT
    taken = re.findall(r"[A-Za-z_]\w*", source.split)
    held = next((split for split in order if split in splits and split not in taken), None)
    return (
        images("unlabelled") if unlabelled else labelled,
        labelled,
        images(held) if held else None,
        bool(source.split),
    )


def _undecoded(source: TfdsSource) -> dict[str, Any]:
    """Decoders that skip decoding of images: TFDS would decode them at full size, and also other images of a record."""
    from tensorflow_datasets import decode, features

    found = {}
    for name, feature in source.builder.info.features.items():
        if isinstance(feature, features.Image):
            found[name] = decode.SkipDecoding()
        if name == "image" and (name not in found or feature.np_dtype != np.uint8):
            raise UserError(
                f"data source {source.name!r}: its field 'image' is {feature!r}; expected 8-bit images."
            )
    return found


def _classes(source: TfdsSource) -> tuple[str, ...]:
    from tensorflow_datasets import features

    label = dict(source.builder.info.features).get("label")
    return tuple(label.names) if isinstance(label, features.ClassLabel) and label.num_classes else ()
