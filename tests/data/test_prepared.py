"""Prepared folders, made here without Apache Beam: one task after the other, in random order."""

import json
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from ssl_jax.data import pretraining_text
from ssl_jax.data.corpus import HELDOUT_SEED, original_text, split, tokenize_corpus
from ssl_jax.data.next_token import NextTokenRows, heldout_windows, training_rows
from ssl_jax.data.packing import PackedDocuments
from ssl_jax.data.passages import Passages
from ssl_jax.data.prepared import manifest, parts, preparation, shards
from ssl_jax.data.prepared.reading import Prepared
from ssl_jax.data.pretraining_text import (
    bert_rows,
    open_pretraining_text,
    passage_rows,
)
from ssl_jax.data.text_config import CorpusConfig, TextConfig
from ssl_jax.data.tokenizers import open_tokenizer
from ssl_jax.errors import UserError
from ssl_jax.files import draft_of
from tests.corpora import corpus_of

LENGTH = 32


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    """Three files of documents, among them the same one twice."""
    folder, draw = tmp_path_factory.mktemp("texts"), random.Random(0)
    for number in range(3):
        documents = [
            "\n".join(
                " ".join(
                    "".join(draw.choices("abcdefgh", k=draw.randint(1, 7))) for _ in range(draw.randint(1, 9))
                )
                for _ in range(draw.randint(1, 9))
            )
            for _ in range(40)
        ]
        (folder / f"{number}.txt").write_text("\n\n".join([*documents, "the same document\nin every file"]))
    return folder


class Stop(Exception):
    pass


class Tasks:
    """Tasks in random order, in this process; `left` is the number after which it stops."""

    left = None

    def run(self, what, function, tasks, done, options, log) -> None:
        for task in random.sample(list(tasks), len(tasks)):
            if self.left == 0:
                raise Stop
            self.left = self.left and self.left - 1
            function(task)


@pytest.fixture(autouse=True)
def tasks(monkeypatch) -> Tasks:
    made = Tasks()
    monkeypatch.setattr(preparation, "run_tasks", made.run)
    return made


def prepare(source: Path, output: Path, rows: str, *, megabytes: float = 256, length: int = LENGTH, **corpus):
    config = CorpusConfig(source=str(source), **{"tokenizer": "bytes", "heldout_share": 0.2, **corpus})
    what = preparation.Preparation(str(output), rows, length, config, 300, megabytes)
    return preparation.prepare_text(what, [], lambda text: None)


def opened(source: str, folder: Path, make_rows, *, lengths=(LENGTH,), joined: bool = False, **more):
    config = TextConfig(source=source, tokenizer="bytes", heldout_share=0.2, heldout_rows=7)
    shape = {"make_rows": make_rows, "vocab_size": 300, "lengths": lengths, "batch_size": 2, "seed": 0}
    return open_pretraining_text(config, epath.Path(folder), **shape, joined=joined, **more)


def assert_equal(rows, expected) -> None:
    assert len(rows) == len(expected)
    for row in range(len(rows)):
        made, wanted = (each(row) if callable(each) else each[row] for each in (rows, expected))
        assert made.keys() == wanted.keys()
        for name, values in wanted.items():
            assert made[name].dtype == values.dtype
            np.testing.assert_array_equal(made[name], values, err_msg=f"{name} of row {row}")


def in_prepared_order(file: Path, joined: bool):
    """The training documents of one file, in the order of a prepared shard."""
    opening = parts.Opening("lines", "text", "", joined)
    corpus = tokenize_corpus(opening.open(str(file)), open_tokenizer("bytes"))
    training, _ = split(corpus, 0.2, HELDOUT_SEED)
    return training.select(shards._scattered(training))


@pytest.mark.parametrize("kind", ["next_token", "packed", "passages"])
def test_rows_are_those_of_the_same_documents_in_memory(texts, tmp_path, kind):
    prepare(texts / "0.txt", tmp_path / "out", kind)
    read, tokenizer = Prepared(str(tmp_path / "out")), open_tokenizer("bytes")
    documents = in_prepared_order(texts / "0.txt", kind == "next_token")
    # Rows of a stream draw the order of documents; this is the one from which they draw that of the shard.
    drawn = documents.select(np.argsort(np.random.default_rng(0).permutation(len(documents.hashes))))
    words = (tokenizer.special, tokenizer.starts_word)
    if kind == "next_token":
        assert_equal(training_rows(read, LENGTH, tokenizer), NextTokenRows(drawn, LENGTH, words[0]))
    elif kind == "packed":
        assert_equal(bert_rows("none")(read, LENGTH, tokenizer), PackedDocuments(drawn, LENGTH, *words))
    else:
        assert_equal(passage_rows(read, LENGTH, tokenizer), Passages(documents, LENGTH, *words))


@pytest.mark.parametrize("kind", ["next_token", "packed", "passages"])
def test_many_shards_hold_every_token_once(texts, tmp_path, kind):
    found = prepare(texts, tmp_path / "out", kind, megabytes=0.002)
    assert len(found["shards"]) > 5
    tokenizer = open_tokenizer("bytes")
    read = Prepared(str(tmp_path / "out"))
    rows = {"next_token": training_rows, "packed": bert_rows("none"), "passages": passage_rows}[kind]
    rows = rows(read, LENGTH, tokenizer)
    name = "targets" if kind == "next_token" else "tokens"
    read_tokens = np.concatenate([rows(row)[name] for row in range(len(rows))])
    opening = parts.Opening("lines", "text", "", kind == "next_token")
    corpus = tokenize_corpus(opening.open(str(texts)), tokenizer)
    training, _ = split(corpus, 0.2, HELDOUT_SEED)
    expected = np.concatenate([training.document(i) for i in range(len(training.hashes))])
    first = tokenizer.special.first_regular
    np.testing.assert_array_equal(np.sort(read_tokens[read_tokens >= first]), np.sort(expected))
    assert found["training"] == parts.count(training)


def test_evaluations_are_exactly_those_of_the_text_itself(texts, tmp_path):
    prepare(texts, tmp_path / "rows", "next_token", megabytes=0.002)
    prepare(texts, tmp_path / "pairs", "pairs", megabytes=0.002)
    windows = {"make_heldout_rows": heldout_windows(8, 100), "joined": True}
    for name, make, more in (("rows", training_rows, windows), ("pairs", bert_rows("nsp"), {})):
        plain = opened(str(texts), tmp_path / f"plain-{name}", make, **more)
        read = opened(f"prepared:{tmp_path / name}", tmp_path / f"run-{name}", make, **more)
        assert_equal(read.heldout[0], plain.heldout[0])
        assert read.identity["tokenizer"] == plain.identity["tokenizer"]
        assert read.preprocessing == plain.preprocessing
        assert original_text(read.heldout_source, read.heldout_corpus) == original_text(
            plain.heldout_source, plain.heldout_corpus
        )
        # All of so small a text is the sample in which baselines are counted.
        np.testing.assert_array_equal(
            np.sort(read.training_corpus.hashes), np.sort(plain.training_corpus.hashes)
        )


def test_heldout_documents_may_have_their_own_source(texts, tmp_path):
    made = prepare(texts / "0.txt", tmp_path / "out", "packed", heldout_source=str(texts / "1.txt"))
    assert made["training"]["documents"] == made["heldout"]["documents"] == 41
    _, source = Prepared(str(tmp_path / "out")).heldout()
    lines = (texts / "1.txt").read_text().split("\n\n")
    assert [source[i] for i in range(len(source))] == [[document.replace("\n", "")] for document in lines]


def test_more_held_out_text_than_hosts_can_read_is_thinned_out(texts, tmp_path, monkeypatch):
    everything = prepare(texts, tmp_path / "all", "packed")["heldout"]
    monkeypatch.setattr(shards, "HELDOUT_BYTES", everything["text_bytes"] // 2)
    fewer = prepare(texts, tmp_path / "half", "packed")["heldout"]
    assert 0.2 < fewer["text_bytes"] / everything["text_bytes"] < 0.8
    both = [Prepared(str(tmp_path / name)).heldout()[1] for name in ("half", "all")]
    half, whole = ({source[i][0] for i in range(len(source))} for source in both)
    assert half < whole


def test_pairs_are_of_one_document_or_of_two(texts, tmp_path):
    prepare(texts, tmp_path / "out", "pairs", megabytes=0.002)
    read, tokenizer = Prepared(str(tmp_path / "out")), open_tokenizer("bytes")
    opening = parts.Opening("lines", "text", "", False)
    training, _ = split(tokenize_corpus(opening.open(str(texts)), tokenizer), 0.2, HELDOUT_SEED)
    documents = [bytes(training.document(i).astype(np.uint8)) for i in range(len(training.hashes))]
    for objective in ("nsp", "sop"):
        pairs = bert_rows(objective)(read, LENGTH, tokenizer)
        expected = bert_rows(objective)(training, LENGTH, tokenizer)
        assert abs(len(pairs) / len(expected) - 1) < 0.05
        labels = []
        rows = np.arange(len(pairs))
        together = pairs.stack(rows, [np.random.default_rng(row) for row in rows])
        for row in range(len(pairs)):
            made = pairs(row, np.random.default_rng(row))
            np.testing.assert_array_equal(made["tokens"], together["tokens"][row])
            first, second = (
                bytes(
                    made["tokens"][(made["token_type_ids"] == side) & (made["words"] >= 0)].astype(np.uint8)
                )
                for side in (0, 1)
            )
            homes = [
                {i for i, text in enumerate(documents) if segment in text} for segment in (first, second)
            ]
            assert all(homes)
            labels.append(int(made["label"]))
            if objective == "nsp" and labels[-1]:
                assert len(homes[0] | homes[1]) > 1
            else:
                assert homes[0] & homes[1]
        assert 0.35 < np.mean(labels) < 0.65


def test_copies_of_a_text_are_apart_in_a_shard(texts, tmp_path):
    prepare(texts, tmp_path / "out", "packed")
    places = Prepared(str(tmp_path / "out")).sample().source_index
    assert len(np.unique(places)) == len(places)  # though each file has a document of this number
    corpus = corpus_of(*([10 + number] for number in range(100)))
    corpus = corpus._replace(hashes=np.where(np.arange(100) < 50, 7, corpus.hashes).astype(np.uint64))
    copies = np.flatnonzero(shards._scattered(corpus) < 50)
    assert (np.diff(copies) > 1).sum() > 10


def test_rows_of_a_document_follow_from_its_bucket():
    lengths = np.array([1, 2, 3, 8, 9, 1000, 1001, 1100])
    buckets = shards.length_buckets(lengths)
    assert (np.diff(buckets) >= 0).all()
    assert buckets[5] == buckets[6] < buckets[7]
    for bucket in range(100):
        inside = np.arange(1, 5000)[shards.length_buckets(np.arange(1, 5000)) == bucket]
        assert len(inside) == 0 or inside.max() <= 1.091 * inside.min()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def times(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*.array_record")}


def test_an_interrupted_preparation_goes_on_and_keeps_what_is_finished(texts, tmp_path, tasks):
    prepare(texts, tmp_path / "whole", "packed", megabytes=0.002)
    out = tmp_path / "out"
    for tasks.left in (2, 3, 4):  # in the first pass, and twice in the second
        before = times(out)
        with pytest.raises(Stop):
            prepare(texts, out, "packed", megabytes=0.002)
        after = times(out)
        assert len(after) > len(before)
        assert before.items() <= after.items()
    part = out / "work" / "parts" / "part-00001.array_record"
    part.write_bytes(part.read_bytes()[:9999])
    draft_of(out / "rows-00001-of-00002.array_record").write_bytes(b"of a killed process")
    tasks.left = None
    prepare(texts, out, "packed", megabytes=0.002)
    assert contents(out) == contents(tmp_path / "whole")
    kept = times(out)
    prepare(texts, out, "packed", megabytes=0.002)
    assert times(out) == kept


def test_what_is_damaged_afterwards_is_made_again_and_the_rest_is_kept(texts, tmp_path):
    prepare(texts, tmp_path / "out", "packed", megabytes=0.002)
    whole, before = contents(tmp_path / "out"), times(tmp_path / "out")
    broken, gone, *_ = sorted((tmp_path / "out").glob("rows-*"))
    content = bytearray(broken.read_bytes())
    content[100] ^= 1
    broken.write_bytes(content)
    gone.unlink()
    prepare(texts, tmp_path / "out", "packed", megabytes=0.002)
    assert contents(tmp_path / "out") == whole
    after = times(tmp_path / "out")
    assert {file for file in before if before[file] != after[file]} == {broken, gone}


def test_a_folder_is_for_one_preparation(texts, tmp_path, tasks):
    out = tmp_path / "out"
    tasks.left = 2
    with pytest.raises(Stop):
        prepare(texts, out, "packed")
    for message, source, rows, more in (
        (
            r"out: was begun with other settings: length \(32 there, 16 here\)",
            texts,
            "packed",
            {"length": 16},
        ),
        (r"rows \(packed there, passages here\)", texts, "passages", {}),
        (r"the files of the source", texts / "0.txt", "packed", {}),
        (r"heldout_share \(0.2 there, 0.3 here\).*another --output", texts, "packed", {"heldout_share": 0.3}),
    ):
        with pytest.raises(UserError, match=message):
            prepare(source, out, rows, **more)


def test_too_little_text(tmp_path):
    (tmp_path / "a.txt").write_text("One document.")
    with pytest.raises(UserError, match=r"1 training document\(s\); expected at least 2"):
        prepare(tmp_path / "a.txt", tmp_path / "out", "packed")
    with pytest.raises(UserError, match="no such file or folder"):
        prepare(tmp_path / "none", tmp_path / "other", "packed")


@pytest.fixture
def packed(texts, tmp_path) -> Path:
    prepare(texts, tmp_path / "out", "packed", megabytes=0.002)
    return tmp_path / "out"


def test_what_cannot_be_read_says_why(packed, tmp_path):
    source = f"prepared:{packed}"

    def refused(message: str, make=None, **more) -> None:
        with pytest.raises(UserError, match=message):
            opened(source, tmp_path / "run", make or bert_rows("none"), **more)

    refused("holds packed of 32 tokens; this run needs others.*--rows packed --length 16", lengths=[16])
    refused("another folder with --rows pairs.", bert_rows("nsp"))
    refused("--rows passages --length 32", passage_rows)
    shard = sorted(packed.glob("rows-*"))[1]
    content = shard.read_bytes()
    shard.write_bytes(content + b"more")
    refused(rf"{shard.name}: has [\d,]+ bytes, not {len(content):,}. Run the command")
    shard.unlink()
    refused(f"{shard.name}: is missing")
    shard.write_bytes(content)
    described = json.loads((packed / manifest.FILE).read_text())
    described["settings"]["format"] = 99
    (packed / manifest.FILE).write_text(json.dumps(described))
    refused("has format version 99; this version of ssl_jax reads 1")
    (packed / manifest.FILE).unlink()
    refused(r"there is no manifest.json in this folder.*if it was stopped")


def test_a_damaged_record_is_named_when_it_is_read(packed):
    shard = sorted(packed.glob("rows-*"))[0]
    content = bytearray(shard.read_bytes())
    content[100:4000] = bytes(3900)
    shard.write_bytes(content)
    rows = bert_rows("none")(Prepared(str(packed)), LENGTH, open_tokenizer("bytes"))
    with pytest.raises(UserError, match=rf"{shard.name}: missing or damaged.*makes what is missing"):
        rows(0)


def test_the_tokenizer_is_that_of_the_folder(texts, tmp_path, packed):
    spec, run = f"prepared:{packed}", epath.Path(tmp_path)
    shape = {
        "make_rows": bert_rows("none"),
        "vocab_size": 300,
        "lengths": [LENGTH],
        "batch_size": 2,
        "seed": 0,
    }
    trained = open_pretraining_text(TextConfig(source=spec), run / "a", **shape)
    assert trained.tokenizer.kind == open_tokenizer("bytes").kind
    other = opened(str(texts), tmp_path / "b", bert_rows("none"))
    file = Path(tmp_path / "characters.json")
    pretraining_text.train_characters(["abc"], 8).save(epath.Path(tmp_path))
    with pytest.raises(UserError, match="tokenised with another tokenizer than this run has"):
        open_pretraining_text(TextConfig(source=spec, tokenizer=str(file)), run / "c", **shape)
    with pytest.raises(UserError, match="a prepared folder has its own held-out documents"):
        open_pretraining_text(TextConfig(source=spec, heldout_source=str(texts)), run / "d", **shape)
    assert other.tokenizer.fingerprint == trained.tokenizer.fingerprint
    shutil.copy(tmp_path / "characters.json", packed / "characters.json")
    with pytest.raises(UserError, match=r"the tokenizer in this folder is missing or not the one"):
        Prepared(str(packed))


def test_other_experiments_say_that_they_need_the_text(packed):
    with pytest.raises(UserError, match="here the text itself is needed"):
        TextConfig(source=f"prepared:{packed}").open(f"prepared:{packed}")


def test_parts_are_files_or_shares_of_them(texts, tmp_path, monkeypatch):
    opening = parts.Opening("lines", "text", "", False)
    listed = parts.list_parts(str(texts), opening, first=5, heldout=True)
    assert [(part.number, Path(part.spec).name, part.share, part.shares) for part in listed] == [
        (5, "0.txt", 0, 1),
        (6, "1.txt", 0, 1),
        (7, "2.txt", 0, 1),
    ]
    assert all(part.heldout for part in listed)
    monkeypatch.setattr(parts, "_PART_BYTES", 1000)
    shares = parts.list_parts(str(texts / "0.txt"), opening)
    assert len(shares) > 2
    documents = [document for part in shares for document in iter_share(parts._Share(part, opening))]
    source = opening.open(str(texts / "0.txt"))
    assert documents == [source[i] for i in range(len(source))]


def iter_share(share) -> list[list[str]]:
    return [share[i] for i in range(len(share))]


def test_the_requirements_of_preparation_are_those_of_training_but_for_what_beam_needs():
    root = Path(__file__).parents[2]
    training, preparing = (
        dict(re.findall(r"^([\w\-\[\]]+)==(\S+)", (root / name).read_text(), re.MULTILINE))
        for name in ("requirements.txt", "requirements-prepare.txt")
    )
    own = {"apache-beam", "pillow", "protobuf", "pyarrow"}
    assert preparing.keys() - training.keys() <= own
    assert all(training[name] == version for name, version in preparing.items() if name not in own)
