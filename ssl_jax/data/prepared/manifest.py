"""The description of a prepared folder, of text or of images: manifest.json."""

import hashlib
import json
from typing import Literal, NotRequired, TypedDict, TypeVar

from etils import epath

from ssl_jax.data.prepared.records import RecordFile
from ssl_jax.errors import UserError
from ssl_jax.files import read_json

RowKind = Literal["next_token", "packed", "passages", "pairs"]
"""What is prepared. next_token: rows of gpt2; packed: those of bert without a task on pairs; passages: those of bart,
mass and t5; pairs: documents, of which bert and albert make pairs of segments of any length."""

PREPARED = "prepared:"
"""What the name of a prepared folder begins with, as a source."""
IMAGES = "images"
"""What is in place of a `RowKind` in the description of images."""
GROUP = 8
"""Documents in a record of `pairs`, at most."""
FORMAT = 1
"""Version of the files; raised when their content changes."""
FILE = "manifest.json"
CURE = "Run the command python -m ssl_jax.prepare that made this folder again: it makes what is missing or damaged."
"""What to do about a damaged file of a finished folder."""
HELDOUT, SAMPLE = "heldout.array_record", "sample.array_record"


class Counts(TypedDict):
    """What was counted of a set of documents.

    Attributes:
      documents: those with at least one token.
      tokens: of them.
      text_bytes: of them in UTF-8.
    """

    documents: int
    tokens: int
    text_bytes: int


class Shard(RecordFile):
    """A file of rows or of images.

    Attributes:
      buckets: of `pairs`, for each length bucket [bucket, documents, their tokens], in the order of the file.
      left_out: of images, the names of those that could not be read.
    """

    buckets: NotRequired[list[list[int]]]
    left_out: NotRequired[list[str]]


class Settings(TypedDict):
    """What determines the rows, beside the source.

    Attributes:
      format: version of the files.
      rows: a `RowKind`.
      length: tokens a row; 0 for pairs.
      joined: whether documents were tokenised as one text instead of sentence by sentence.
      tokenizer: its fingerprint.
      heldout_share: share of the documents that is held out; 0 if they have a source of their own.
    """

    format: int
    rows: str
    length: int
    joined: bool
    tokenizer: str
    heldout_share: float


class Manifest(TypedDict):
    """The contents of manifest.json.

    Attributes:
      source, heldout_source: as they were named when they were prepared.
      settings: of the rows.
      training, heldout: what was counted; `heldout` of the documents that were kept.
      shards: the files of the rows.
      heldout_file, sample_file: held-out documents with their text; a sample of the training documents, in which
        baselines are counted.
    """

    source: str
    heldout_source: str
    settings: Settings
    training: Counts
    heldout: Counts
    shards: list[Shard]
    heldout_file: RecordFile
    sample_file: RecordFile


class ImageSettings(TypedDict):
    """What determines the stored images, beside the source.

    Attributes:
      format: version of the files.
      rows: `IMAGES`.
      canvas, channels: what the images were fitted to.
      quality: of the JPEGs of those that were shrunk.
      pillow, libjpeg: versions of the libraries that made them.
    """

    format: int
    rows: str
    canvas: int
    channels: int
    quality: int
    pillow: str
    libjpeg: str


class ImageSplit(TypedDict):
    """The images of a split, in the order of the source.

    Attributes:
      images: their number.
      classes: names of the labels; empty if they have none.
      shards: their files.
    """

    images: int
    classes: list[str]
    shards: list[Shard]


class ImageManifest(TypedDict):
    """The contents of manifest.json of images.

    Attributes:
      source, heldout_source, probe_source: as they were named when they were prepared.
      settings: of the stored images.
      splits: "train", "heldout" and, if probes are not trained on the training images, "probe".
    """

    source: str
    heldout_source: str
    probe_source: str
    settings: ImageSettings
    splits: dict[str, ImageSplit]


Kind = TypeVar("Kind", Manifest, ImageManifest)


def read_manifest(folder: epath.Path) -> Manifest:
    """Reads the manifest of a prepared folder of text.

    Raises:
      UserError: there is none, it is of another version or of images, or it is not one.
    """
    return _read(folder, Manifest)


def read_image_manifest(folder: epath.Path) -> ImageManifest:
    """Reads the manifest of a prepared folder of images.

    Raises:
      UserError: there is none, it is of another version or of text, or it is not one.
    """
    return _read(folder, ImageManifest)


def _read(folder: epath.Path, kind: type[Kind]) -> Kind:
    file = folder / FILE
    absent = (
        f"data source 'prepared:{folder}': there is no {FILE} in this folder; expected what python -m ssl_jax.prepare "
        "has finished. Run it, or run it again if it was stopped."
    )
    settings = read_json(file, dict, absent).get("settings", {})
    settings = settings if isinstance(settings, dict) else {}
    found = settings.get("format")
    if found != FORMAT:
        raise UserError(
            f"{file}: has format version {found}; this version of ssl_jax reads {FORMAT}. Prepare the data again, in "
            "another folder, or use the version of ssl_jax that has prepared it."
        )
    holds, needs = (
        "images" if images else "text" for images in (settings.get("rows") == IMAGES, kind is ImageManifest)
    )
    if holds != needs:
        raise UserError(
            f"data source 'prepared:{folder}': holds {holds}; expected {needs}. Name a folder that python -m "
            f"ssl_jax.prepare{' images' if needs == 'images' else ''} has made, or run an experiment on {holds}."
        )
    return read_json(file, kind)


def fingerprint(manifest: Manifest) -> str:
    """SHA-256 of all that is read, in hexadecimal."""
    files = [file["sha256"] for file in (*manifest["shards"], manifest["heldout_file"])]
    return hashlib.sha256(json.dumps([manifest["settings"], files]).encode()).hexdigest()
