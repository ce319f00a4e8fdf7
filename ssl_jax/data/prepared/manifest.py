"""The description of a prepared folder: manifest.json."""

import hashlib
import json
from typing import Literal, NotRequired, TypedDict

from etils import epath

from ssl_jax.data.prepared.records import RecordFile
from ssl_jax.errors import UserError
from ssl_jax.files import read_json

RowKind = Literal["next_token", "packed", "passages", "pairs"]
"""What is prepared. next_token: rows of gpt2; packed: those of bert without a task on pairs; passages: those of bart,
mass and t5; pairs: documents, of which bert and albert make pairs of segments of any length."""

GROUP = 8
"""Documents in a record of `pairs`, at most."""
FORMAT = 1
"""Version of the files; raised when their content changes."""
FILE = "manifest.json"
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
    """A file of rows.

    Attributes:
      buckets: of `pairs`, for each length bucket [bucket, documents, their tokens], in the order of the file.
    """

    buckets: NotRequired[list[list[int]]]


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


def read_manifest(folder: epath.Path) -> Manifest:
    """Reads the manifest of a prepared folder.

    Raises:
      UserError: there is none, it is of another version, or it is not one.
    """
    file = folder / FILE
    absent = (
        f"data source 'prepared:{folder}': there is no {FILE} in this folder; expected what python -m ssl_jax.prepare "
        "has finished. Run it, or run it again if it was stopped."
    )
    version = read_json(file, dict, absent).get("settings", {})
    found = version.get("format") if isinstance(version, dict) else None
    if found != FORMAT:
        raise UserError(
            f"{file}: has format version {found}; this version of ssl_jax reads {FORMAT}. Prepare the data again, in "
            "another folder, or use the version of ssl_jax that has prepared it."
        )
    return read_json(file, Manifest)


def fingerprint(manifest: Manifest) -> str:
    """SHA-256 of all that is read, in hexadecimal."""
    files = [file["sha256"] for file in (*manifest["shards"], manifest["heldout_file"])]
    return hashlib.sha256(json.dumps([manifest["settings"], files]).encode()).hexdigest()
