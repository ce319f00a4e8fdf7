"""Cached folders: where they are, who may read them, and that a damaged one is made again, never used."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from ssl_jax.data import cache as module
from ssl_jax.data import pydocs
from ssl_jax.data.cache import CHECKSUMS, cached, default_cache
from ssl_jax.data.corpus import tokenize_corpus
from ssl_jax.data.text_files import TextFiles
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.errors import UserError

SENTENCES = [
    f"the {animal} sat on a {place}" for animal in ("cat", "dog") for place in ("mat", "sofa", "bed")
]
FILES = (
    "tokens.npy",
    "sentence_offsets.npy",
    "document_offsets.npy",
    "hashes.npy",
    "corpus.json",
    CHECKSUMS,
)


def zero_half(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    file.write_bytes(data)


def replace_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGE = {
    "missing": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-3]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"more"),
    "zeroed": zero_half,
    "flipped": flip_a_bit,
    "other JSON": lambda file: file.write_text('{"fingerprint": 1}'),
    "not UTF-8": lambda file: file.write_bytes(b"\xff\xfe"),
    "a folder": replace_by_a_folder,
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_sentencepiece(SENTENCES, 40)


@pytest.fixture
def open_corpus(tmp_path, tokenizer):
    (tmp_path / "corpus.txt").write_text("\n\n".join(SENTENCES))
    return lambda: tokenize_corpus(TextFiles(tmp_path / "corpus.txt"), tokenizer)


@pytest.fixture
def entry(open_corpus, cache):
    """The folder of the cached corpus."""
    open_corpus()
    [folder] = (cache / "corpora").iterdir()
    return folder


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_corpus_is_made_again(open_corpus, entry, capfd, name, kind):
    before = open_corpus()
    expected = [np.array(array) for array in before[2:]]
    assert "damaged" not in capfd.readouterr().out
    shutil.copytree(
        entry, entry.with_name("copy")
    )  # damaged, so that the arrays of `before` stay as they are
    DAMAGE[kind](entry.with_name("copy") / name)
    shutil.move(entry, entry.with_name("other"))
    shutil.move(entry.with_name("copy"), entry)
    for again in (open_corpus(), open_corpus()):
        assert again.fingerprint == before.fingerprint
        for array, content in zip(again[2:], expected, strict=True):
            np.testing.assert_array_equal(array, content)
    assert capfd.readouterr().out.count("is damaged") == 1
    assert sorted(file.name for file in entry.parent.iterdir()) == sorted([entry.name, "other"])


@pytest.mark.parametrize(
    ("name", "array"),
    {
        "tokens.npy": np.zeros(3, np.float32),
        "sentence_offsets.npy": np.array([0, 5, 3, 7]),
        "document_offsets.npy": np.array([0, 2**40]),
        "hashes.npy": np.zeros((2, 2), np.uint64),
    }.items(),
)
def test_arrays_that_no_corpus_has_are_not_used_whatever_their_checksums(
    open_corpus, entry, capfd, name, array
):
    fingerprint = open_corpus().fingerprint
    np.save(entry / name, array)
    sums = json.loads((entry / CHECKSUMS).read_text())
    sums[name] = module._checksum(entry / name)
    (entry / CHECKSUMS).write_text(json.dumps(sums))
    assert open_corpus().fingerprint == fingerprint
    assert "is damaged" in capfd.readouterr().out
    assert open_corpus().fingerprint == fingerprint


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("tokens.npy", -1, 9999),
        ("sentence_offsets.npy", 1, 10**6),
        ("document_offsets.npy", 2, 1),
        ("hashes.npy", 0, None),
    ],
)
def test_values_that_no_corpus_has_are_not_used(open_corpus, entry, capfd, name, place, value):
    """Ids that the tokenizer does not have, offsets that are not in order, and one hash too few."""
    expected = np.array(open_corpus().tokens)
    array = np.load(entry / name)
    if value is None:
        array = array[1:]
    else:
        array[place] = value
    np.save(entry / name, array)
    sums = json.loads((entry / CHECKSUMS).read_text())
    sums[name] = module._checksum(entry / name)
    (entry / CHECKSUMS).write_text(json.dumps(sums))
    np.testing.assert_array_equal(open_corpus().tokens, expected)
    assert "its arrays do not belong together" in capfd.readouterr().out


@pytest.mark.parametrize("kind", ["a file", "a link to nothing", "an empty folder"])
def test_what_is_not_a_cached_folder_is_replaced(open_corpus, entry, kind):
    fingerprint = open_corpus().fingerprint
    shutil.rmtree(entry)
    {
        "a file": entry.touch,
        "a link to nothing": lambda: entry.symlink_to("nothing"),
        "an empty folder": entry.mkdir,
    }[kind]()
    assert open_corpus().fingerprint == fingerprint
    assert [file.name for file in entry.parent.iterdir()] == [entry.name]


def test_an_opened_corpus_outlives_its_replacement(open_corpus, entry):
    opened = open_corpus()
    expected = np.array(opened.tokens)
    (entry / "hashes.npy").unlink()
    open_corpus()
    np.testing.assert_array_equal(opened.tokens, expected)


def test_damaged_documentation_is_read_again(monkeypatch, cache, capfd):
    documents = [["One.", "Two."], ["Three."]]
    read = [pydocs.Document([pydocs.Sentence(text, "notes") for text in each], [], []) for each in documents]
    monkeypatch.setattr(pydocs, "read_packages", lambda: read)
    fingerprint = pydocs.PyDocs().fingerprint
    [file] = (cache / "pydocs").glob("*/documents.json")
    for damage in (zero_half, flip_a_bit, Path.unlink):
        damage(file)
        again = pydocs.PyDocs()
        assert (again.fingerprint, again[0]) == (fingerprint, documents[0])
    assert capfd.readouterr().out.count("is damaged") == 3


def test_a_folder_that_cannot_be_read_is_named_and_kept(open_corpus, entry, monkeypatch):
    content = {file.name: file.read_bytes() for file in entry.iterdir()}

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(module, "_checksum", refuse)
    with pytest.raises(
        UserError, match=rf"{entry.name}.* cannot be read \(Permission denied\).*SSL_JAX_CACHE"
    ):
        open_corpus()
    assert {file.name: file.read_bytes() for file in entry.iterdir()} == content


@pytest.mark.parametrize(
    ("umask", "folder_mode", "file_mode"), [(0o022, 0o755, 0o644), (0o077, 0o700, 0o600)]
)
def test_other_users_may_read_what_the_umask_lets_them(open_corpus, cache, umask, folder_mode, file_mode):
    before = os.umask(umask)
    try:
        open_corpus()
    finally:
        os.umask(before)
    for path in (cache / "corpora").rglob("*"):
        assert path.stat().st_mode & 0o777 == (folder_mode if path.is_dir() else file_mode), path


def test_what_a_crash_has_left_is_not_used(open_corpus, entry):
    shutil.rmtree(entry)
    left = entry.with_name(f".{entry.name}.0123")
    left.mkdir()
    (left / "tokens.npy").write_bytes(b"half")
    assert len(open_corpus().hashes) == len(SENTENCES)


def test_a_failure_leaves_nothing(tmp_path):
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\).*SSL_JAX_CACHE"):
        cached(tmp_path / "entry", fail, lambda folder: folder)
    assert list(tmp_path.iterdir()) == []


class TestPlace:
    """Where the cache is."""

    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch, tmp_path):
        for name in ("SSL_JAX_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))

    def test_a_variable_names_it(self, monkeypatch, tmp_path):
        assert default_cache() == tmp_path / ".cache" / "ssl_jax"
        monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
        assert default_cache() == Path("/xdg/ssl_jax")
        monkeypatch.setenv("SSL_JAX_CACHE", "~/mine")
        assert default_cache() == tmp_path / "mine"

    @pytest.mark.parametrize("value", ["", "relative/folder", "."])
    def test_an_empty_or_relative_xdg_folder_counts_as_not_set(self, monkeypatch, tmp_path, value):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert default_cache() == tmp_path / ".cache" / "ssl_jax"

    def test_an_empty_variable_is_not_the_current_folder(self, monkeypatch, tmp_path):
        monkeypatch.setenv("SSL_JAX_CACHE", "")
        assert default_cache() == tmp_path / ".cache" / "ssl_jax"

    @pytest.mark.parametrize("home", [None, "", "relative"])
    def test_a_user_without_a_home_folder_is_told_what_to_set(self, monkeypatch, home):
        def unknown(uid: int) -> None:
            raise KeyError(uid)

        monkeypatch.setattr("pwd.getpwuid", unknown)
        monkeypatch.delenv("HOME") if home is None else monkeypatch.setenv("HOME", home)
        with pytest.raises(UserError, match=r"no home folder.* set SSL_JAX_CACHE"):
            default_cache()
        monkeypatch.setenv("SSL_JAX_CACHE", "/tmp/cache")
        assert default_cache() == Path("/tmp/cache")
