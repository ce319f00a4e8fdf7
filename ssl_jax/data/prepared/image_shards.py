"""Shards of images: each is a range of the images of a split, in the order of the source.

So a run reads the same images at the same steps as it reads from the source itself.
"""

import functools
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from etils import epath

from ssl_jax.data.encoded_images import EncodedImages, encode_fitted
from ssl_jax.data.image_source import Canvas
from ssl_jax.data.images import ImageSourceConfig, ImageSplits, open_images
from ssl_jax.data.prepared.image_reading import encode_image
from ssl_jax.data.prepared.records import write_records
from ssl_jax.data.prepared.work import describe, is_done
from ssl_jax.errors import UserError

MOST_IMAGES = 4096
"""Of a shard, so that all cores have work, and little is lost when one is stopped."""
_PIXELS_PER_BYTE = 2
"""Of a photograph as a JPEG of `encoded_images.QUALITY`, about."""


class ImageShard(NamedTuple):
    """A range of the images of a split.

    Attributes:
      split: "train", "heldout" or "probe".
      name: of the file.
      start, stop: numbers of the images, without the last one.
    """

    split: str
    name: str
    start: int
    stop: int


class ImageJob(NamedTuple):
    """What every task is told.

    Attributes:
      folder: of the files, local or gs://.
      config: of the images.
      identity: of the images, in the order of the names: pairs of a split and its fingerprint.
    """

    folder: str
    config: ImageSourceConfig
    identity: tuple[tuple[str, str], ...]


def splits_of(images: ImageSplits) -> dict[str, EncodedImages]:
    """The splits that are stored, by name.

    Raises:
      UserError: images are not encoded, but in memory.
    """
    splits = {"train": images.train, "heldout": images.heldout, "probe": images.probe}
    if images.probe is images.train:
        del splits["probe"]
    for source in splits.values():
        if not isinstance(source, EncodedImages):
            raise UserError(
                f"data source {source.name!r}: its images are pixels in memory, which are read faster than prepared "
                "images. Expected a folder of image files or tfds:NAME as --source; train on this one as it is."
            )
    return splits


def identity_of(images: ImageSplits) -> tuple[tuple[str, str], ...]:
    """What must not change while the images are prepared; see `ImageJob`."""
    return tuple(sorted(images.identity.items()))


def list_shards(splits: Mapping[str, EncodedImages], canvas: Canvas, shard_bytes: float) -> list[ImageShard]:
    """The shards of all splits; of photographs they have at most about so many bytes each."""
    image = canvas.size**2 / _PIXELS_PER_BYTE
    each = max(1, min(MOST_IMAGES, int(shard_bytes / image)))
    shards = []
    for split, source in splits.items():
        count = math.ceil(len(source) / each)
        bounds = [len(source) * number // count for number in range(count + 1)]
        shards += [
            ImageShard(
                split, f"{split}-{number:05d}-of-{count:05d}.array_record", *bounds[number : number + 2]
            )
            for number in range(count)
        ]
    return shards


def write_image_shard(job: ImageJob, shard: ImageShard) -> None:
    """Writes a shard and its description, unless there is one that is intact.

    Raises:
      UserError: an image cannot be read, unless such images are left out; or the images are others than those that the
        job is of.
    """
    folder = epath.Path(job.folder)
    if is_done(folder, shard.name):
        return
    source = _splits(job.config, job.identity)[shard.split]
    canvas = Canvas(job.config.canvas, job.config.channels)
    left_out: list[str] = []

    def records() -> Iterator[bytes]:
        for index in range(shard.start, shard.stop):
            data, label = source.read(index)
            try:
                fitted = encode_fitted(data, canvas)
            except Exception as error:  # Pillow's decoders raise errors of a dozen types on damaged data
                source.report(index, error)
                left_out.append(source.describe(index))
            else:
                yield encode_image(fitted, label)

    file = write_records(folder / shard.name, records())
    describe(folder, {**file, "left_out": left_out})


@functools.lru_cache(1)
def _splits(config: ImageSourceConfig, identity: tuple[tuple[str, str], ...]) -> dict[str, EncodedImages]:
    """The splits, opened once in each process, since a large folder takes long to list."""
    images = open_images(config)
    if identity_of(images) != identity:
        raise UserError(
            f"data source {config.source!r}: its images have changed since the preparation was started. Wait until "
            "they stay as they are, and prepare them in another --output."
        )
    return splits_of(images)
