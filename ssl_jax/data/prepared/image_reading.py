"""Opens a prepared folder of images. Nothing is copied; each image is read where it lies."""

import hashlib
import json
from typing import Self

import numpy as np
from etils import epath

from ssl_jax.data.encoded_images import EncodedImages, Unreadable
from ssl_jax.data.image_source import Canvas
from ssl_jax.data.prepared.manifest import CURE, ImageSettings, ImageSplit, read_image_manifest
from ssl_jax.data.prepared.records import Records, check_sizes, decode, encode
from ssl_jax.errors import UserError


class PreparedImages(EncodedImages):
    """The images of a split of a prepared folder, in the order of the source.

    Args:
      name: name in messages.
      folder: of the files, local or on gs://.
      settings: of all images of the folder.
      split: its description.
      canvas: size and channels of the examples.
      unreadable: what to do with damaged images.

    Raises:
      UserError: the canvas needs more than what was kept of the images.
    """

    def __init__(
        self,
        name: str,
        folder: epath.Path,
        settings: ImageSettings,
        split: ImageSplit,
        canvas: Canvas,
        unreadable: Unreadable,
    ) -> None:
        super().__init__(canvas, unreadable)
        self.name, self.classes = name, tuple(split["classes"])
        self._records, self._settings = Records(folder, split["shards"], CURE), settings
        described = [settings, split["classes"], [file["sha256"] for file in split["shards"]]]
        self.fingerprint = hashlib.sha256(json.dumps(described).encode()).hexdigest()
        self._check(canvas)

    def __len__(self) -> int:
        return len(self._records)

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image and its label.

        Raises:
          UserError: the file is missing or damaged.
        """
        return decode_image(self._records[index])

    def describe(self, index: int) -> str:
        """The folder and the number of the image."""
        return f"data source {self.name!r}, image {index}"

    def on(self, canvas: Canvas) -> Self:
        """The same images, fitted to another canvas.

        Raises:
          UserError: it needs more than what was kept of the images.
        """
        self._check(canvas)
        return super().on(canvas)

    def _check(self, canvas: Canvas) -> None:
        kept = self._settings
        if canvas.size > kept["canvas"]:
            raise UserError(
                f"data source {self.name!r}: its images were fitted to a canvas of {kept['canvas']} pixels, and this "
                f"run has one of {canvas.size}. Give --data.canvas {kept['canvas']} or less, or prepare the images in "
                f"another folder with --canvas {canvas.size}."
            )
        if canvas.channels > kept["channels"]:
            raise UserError(
                f"data source {self.name!r}: its images were prepared in grey, and this run has colour. Give "
                "--data.channels 1, or prepare the images in another folder with --channels 3."
            )


def encode_image(data: bytes, label: int) -> bytes:
    """A record of an encoded image and its label."""
    return encode(np.array([label], np.int32), np.frombuffer(data, np.uint8))


def decode_image(record: bytes) -> tuple[bytes, int]:
    """The encoded image and the label of a record of `encode_image`."""
    label, data = decode(record, np.int32, np.uint8)
    return data.tobytes(), int(label[0])


def open_prepared_images(
    folder: str, canvas: Canvas, unreadable: Unreadable
) -> tuple[PreparedImages, PreparedImages, PreparedImages]:
    """Opens a folder: (training images, images to train probes on, held-out images).

    Args:
      folder: local or gs://.
      canvas: size and channels of the examples.
      unreadable: what to do with damaged images.

    Raises:
      UserError: it is no prepared folder of images, of another version, a file is missing or has another size, or the
        canvas is larger than that of the folder.
    """
    path = epath.Path(folder).expanduser()
    manifest = read_image_manifest(path)
    splits = manifest["splits"]
    check_sizes(path, [file for split in splits.values() for file in split["shards"]], CURE)
    train, heldout, *others = (
        PreparedImages(
            f"prepared:{folder}" if name == "train" else f"prepared:{folder}:{name}",
            path,
            manifest["settings"],
            splits[name],
            canvas,
            unreadable,
        )
        for name in ("train", "heldout", "probe")
        if name in splits
    )
    return train, others[0] if others else train, heldout
