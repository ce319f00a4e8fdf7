"""Makes a prepared folder of text: both passes, and the manifest at the end."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from ssl_jax.data.corpus import token_dtype
from ssl_jax.data.prepared import shards, work
from ssl_jax.data.prepared.beam import options_of, run_tasks
from ssl_jax.data.prepared.manifest import FILE, FORMAT, Counts, Manifest, RowKind, Settings, read_manifest
from ssl_jax.data.prepared.parts import Job, Opening, Part, list_parts, tokenize_part, total
from ssl_jax.data.pretraining_text import open_pretraining_tokenizer
from ssl_jax.data.text_config import CorpusConfig
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.errors import UserError

_CALLED = {"text": "the files of the source or how they are read"}


class Preparation(NamedTuple):
    """What is prepared; the fields are those of the command line, see `ssl_jax.prepare`."""

    output: str
    rows: RowKind
    length: int
    corpus: CorpusConfig
    vocab_size: int
    shard_megabytes: float


def prepare_text(what: Preparation, arguments: Sequence[str], log: Callable[[str], None]) -> Manifest:
    """Prepares a corpus, or continues to. What is finished is verified and kept.

    Args:
      what: the corpus, its rows and the folder.
      arguments: options of Beam.
      log: is told what is done.

    Raises:
      UserError: the source cannot be read, or the folder was made for something else.
    """
    folder = epath.Path(what.output).expanduser()
    options = options_of(arguments)
    corpus = what.corpus
    opening = Opening(
        corpus.format,
        corpus.column,
        corpus.separator.replace("\\n", "\n"),
        what.rows == "next_token",
    )
    tokenizer = open_pretraining_tokenizer(corpus, what.vocab_size, folder)
    parts = list_parts(corpus.source, opening)
    if corpus.heldout_source:
        parts += list_parts(corpus.heldout_source, opening, first=len(parts), heldout=True)
    share = 0.0 if corpus.heldout_source else corpus.heldout_share
    settings: Settings = {
        "format": FORMAT,
        "rows": what.rows,
        "length": 0 if what.rows == "pairs" else what.length,
        "joined": opening.joined,
        "tokenizer": tokenizer.fingerprint,
        "heldout_share": share,
    }
    asked = _asked(what, parts, opening, settings)
    work.check_same(folder, asked, _CALLED)
    if (folder / FILE).exists():
        manifest = read_manifest(folder)
        if work.is_complete(
            folder, [*manifest["shards"], manifest["heldout_file"], manifest["sample_file"]], log
        ):
            return manifest
    job = Job(str(folder / work.WORK / "parts"), str(folder), opening, share)
    log(f"{len(parts):,} parts of {corpus.source} to tokenise, with {tokenizer.kind}")
    run_tasks("parts tokenised", partial(tokenize_part, job), parts, epath.Path(job.folder), options, log)
    summaries = shards.read_parts(epath.Path(job.folder), parts)
    training, heldout = (total([part[kind] for part in summaries]) for kind in ("training", "heldout"))
    _check_counts(corpus, training, heldout)
    plan = _plan(what, job, parts, settings, tokenizer, training, heldout)
    log(
        f"{training['tokens']:,} tokens of {training['documents']:,} documents go into {plan.shards:,} shards"
    )
    tasks = list(range(plan.shards + 2))
    done = work.descriptions(folder)
    run_tasks("shards written", partial(shards.write_file, plan), tasks, done, options, log)
    manifest = _manifest(what, plan, training, settings)
    work.finish(folder, manifest)
    log(_summary(folder, manifest))
    return manifest


def _asked(what: Preparation, parts: Sequence[Part], opening: Opening, settings: Settings) -> dict[str, Any]:
    """What is asked for. Of the source, the names and sizes of its files; for TFDS the number of documents."""
    described = json.dumps([[part.spec, part.size, part.share, part.shares] for part in parts])
    text = hashlib.sha256(f"{described} {opening}".encode()).hexdigest()
    corpus = what.corpus
    return {
        "source": corpus.source,
        "heldout_source": corpus.heldout_source,
        "text": text,
        "shard_megabytes": what.shard_megabytes,
        "settings": settings,
    }


def _check_counts(corpus: CorpusConfig, training: Counts, heldout: Counts) -> None:
    for name, counts in (("training", training), ("held-out", heldout)):
        if counts["documents"] < 2:
            raise UserError(
                f"data source {corpus.source!r}: {counts['documents']} {name} document(s); expected at least 2. Give "
                "more text, or another --heldout_share."
            )


def _plan(
    what: Preparation,
    job: Job,
    parts: Sequence[Part],
    settings: Settings,
    tokenizer: Tokenizer,
    training: Counts,
    heldout: Counts,
) -> shards.Plan:
    dtype = np.dtype(token_dtype(tokenizer))
    return shards.Plan(
        parts_folder=job.folder,
        parts=len(parts),
        folder=str(epath.Path(what.output).expanduser()),
        settings=settings,
        dtype=dtype.name,
        special=tokenizer.special,
        shards=shards.choose_shards(training, dtype.itemsize, what.shard_megabytes * 2**20),
        sample_cells=shards.choose_sample_cells(training),
        heldout_below=shards.choose_heldout(heldout, settings["heldout_share"] or 1.0),
    )


def _manifest(what: Preparation, plan: shards.Plan, training: Counts, settings: Settings) -> Manifest:
    folder = epath.Path(plan.folder)
    names = [shards.shard_name(shard, plan.shards) for shard in range(plan.shards)]
    return {
        "source": what.corpus.source,
        "heldout_source": what.corpus.heldout_source,
        "settings": settings,
        "training": training,
        "heldout": shards.count_heldout(plan),
        "shards": [work.read_description(folder, name) for name in names],
        "heldout_file": work.read_description(folder, shards.HELDOUT),
        "sample_file": work.read_description(folder, shards.SAMPLE),
    }


def _summary(folder: epath.Path, manifest: Manifest) -> str:
    rows = sum(shard["records"] for shard in manifest["shards"])
    size = sum(shard["size"] for shard in manifest["shards"])
    kind = "groups of documents" if manifest["settings"]["rows"] == "pairs" else "rows"
    return (
        f"{folder}: {rows:,} {kind} in {len(manifest['shards']):,} files of together {size / 2**20:,.1f} MiB; "
        f"{manifest['heldout']['documents']:,} documents held out. Train with --data.source prepared:{folder}"
    )
