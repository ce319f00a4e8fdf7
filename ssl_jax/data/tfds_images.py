"""TFDS data sets as images: the fields `image` and, where there is one, `label`."""

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
    """Records of a data set, read as the PNG or JPEG that they are and decoded here, like files.

    Args:
      records: with the field `image` undecoded. rows: which of them. fingerprint: of all of them.

    Raises:
      UserError: (when an image is read) it is damaged, or, where damaged ones are skipped, all are.
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
        """The record's image as it is stored, and its label."""
        record = self._records[self._rows[index]]
        return record["image"], int(record["label"]) if self.classes else UNLABELLED

    def called(self, index: int) -> str:
        """Its place."""
        return f"data source {self.name!r}, record {self._rows[index]}"

    def split(self, share: float) -> tuple["TfdsImages", "TfdsImages"]:
        """Holds out the last records: TFDS shuffles them when it prepares a data set."""
        first = len(self) - heldout_count(self.name, len(self), share)
        return self._select(self._rows[:first]), self._select(self._rows[first:])

    def _select(self, rows: range) -> "TfdsImages":
        return TfdsImages(
            self.name, self._records, rows, self._of_all, self.classes, self._canvas, self._unreadable
        )


def open_tfds(
    spec: str, canvas: Canvas, unreadable: Unreadable
) -> tuple[TfdsImages, TfdsImages, TfdsImages | None, bool]:
    """(training images, labelled training images, held-out images, whether `spec` names a split).

    Without a split in `spec`, the training images are those of "unlabelled" where there is such a split (STL-10), else
    of "train". Held out is "test", or "validation", unless `spec` names it; None if there is neither.

    Raises:
      UserError: the data set is unknown or not prepared, it has no such split, or no field `image` of 8-bit images.
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
    """Keeps TFDS from decoding: it would decode at full size, and other images that a record may have."""
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
