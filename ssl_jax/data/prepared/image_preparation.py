"""Makes a prepared folder of images: the shards, and the manifest at the end."""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import PIL
from etils import epath
from PIL import features

from ssl_jax.data.encoded_images import QUALITY, EncodedImages
from ssl_jax.data.image_source import Canvas
from ssl_jax.data.images import ImageSourceConfig, open_images
from ssl_jax.data.prepared import work
from ssl_jax.data.prepared.beam import options_of, run_tasks
from ssl_jax.data.prepared.image_shards import (
    ImageJob,
    ImageShard,
    identity_of,
    list_shards,
    splits_of,
    write_image_shard,
)
from ssl_jax.data.prepared.manifest import (
    FILE,
    FORMAT,
    IMAGES,
    ImageManifest,
    ImageSettings,
    ImageSplit,
    read_image_manifest,
)
from ssl_jax.errors import UserError

_CALLED = {"images": "the images or how they are split"}


class ImagePreparation(NamedTuple):
    """What is prepared; the fields are those of the command line, see `ssl_jax.prepare`."""

    output: str
    images: ImageSourceConfig
    shard_megabytes: float


def prepare_images(
    what: ImagePreparation, arguments: Sequence[str], log: Callable[[str], None]
) -> ImageManifest:
    """Prepares images, or continues to. What is finished is verified and kept.

    Args:
      what: the images, their canvas and the folder.
      arguments: options of Beam.
      log: is told what is done.

    Raises:
      UserError: the images cannot be read, or the folder was made for something else.
    """
    folder, config = epath.Path(what.output).expanduser(), what.images
    options = options_of(arguments)
    images = open_images(config)
    splits, identity = splits_of(images), identity_of(images)
    settings: ImageSettings = {
        "format": FORMAT,
        "rows": IMAGES,
        "canvas": config.canvas,
        "channels": config.channels,
        "quality": QUALITY,
        "pillow": PIL.__version__,
        "libjpeg": str(features.version("jpg")),
    }
    asked = {
        "source": config.source,
        "heldout_source": config.heldout_source,
        "probe_source": config.probe_source,
        "images": hashlib.sha256(repr(identity).encode()).hexdigest(),
        "shard_megabytes": what.shard_megabytes,
        "settings": settings,
    }
    work.check_same(folder, asked, _CALLED)
    if (folder / FILE).exists():
        manifest = read_image_manifest(folder)
        files = [file for split in manifest["splits"].values() for file in split["shards"]]
        if work.is_complete(folder, files, log):
            return manifest
    canvas = Canvas(config.canvas, config.channels)
    shards = list_shards(splits, canvas, what.shard_megabytes * 2**20)
    log(f"{sum(map(len, splits.values())):,} images of {config.source} go into {len(shards):,} shards")
    job = ImageJob(str(folder), config, identity)
    run_tasks(
        "shards written", partial(write_image_shard, job), shards, work.descriptions(folder), options, log
    )
    manifest: ImageManifest = {
        "source": config.source,
        "heldout_source": config.heldout_source,
        "probe_source": config.probe_source,
        "settings": settings,
        "splits": {name: _described(folder, name, source, shards) for name, source in splits.items()},
    }
    work.finish(folder, manifest)
    log(_summary(folder, manifest))
    return manifest


def _described(
    folder: epath.Path, split: str, source: EncodedImages, shards: Sequence[ImageShard]
) -> ImageSplit:
    files = [work.read_description(folder, shard.name) for shard in shards if shard.split == split]
    images = sum(file["records"] for file in files)
    if not images:
        raise UserError(f"data source {source.name!r}: none of its {len(source):,} images can be read.")
    return {"images": images, "classes": list(source.classes), "shards": files}


def _summary(folder: epath.Path, manifest: ImageManifest) -> str:
    splits, settings = manifest["splits"], manifest["settings"]
    files = [file for split in splits.values() for file in split["shards"]]
    size = sum(file["size"] for file in files)
    left_out = sum(len(file.get("left_out", ())) for file in files)
    without = f" {left_out:,} cannot be read and are left out; {FILE} names them." if left_out else ""
    return (
        f"{folder}: {splits['train']['images']:,} training and {splits['heldout']['images']:,} held-out images in "
        f"{len(files):,} files of together {size / 2**20:,.1f} MiB.{without} Train with --data.source "
        f"prepared:{folder} --data.canvas {settings['canvas']} --data.channels {settings['channels']}"
    )
