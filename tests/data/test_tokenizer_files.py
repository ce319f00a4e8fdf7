"""A tokenizer in a folder: found, opened as it was trained on, and written whole or not at all."""

import json
import shutil
from pathlib import Path

import pytest
import tokenizers
from etils import epath

from ssl_jax.data.characters import train_characters
from ssl_jax.data.tokenizer_files import (
    TokenizerConfig,
    find_tokenizer,
    open_run_tokenizer,
    preprocessing,
)
from ssl_jax.data.tokenizers import open_tokenizer, train_sentencepiece
from ssl_jax.errors import UserError
from ssl_jax.files import write_whole

SENTENCES = ["The cat sat on a mat", "a Dog and the fox ran"] * 20


@pytest.fixture
def vocab(tmp_path: Path) -> Path:
    pieces = [f"[unused{i}]" for i in range(100)] + ["[UNK]", "[CLS]", "[SEP]", "[MASK]", "The", "the", "cat"]
    pieces[0] = "[PAD]"
    (tmp_path / "named").mkdir()
    file = tmp_path / "named" / "vocab.txt"
    file.write_text("\n".join(pieces) + "\n")
    return file


def never() -> None:
    raise AssertionError("a tokenizer is trained")


def run_folder(tmp_path: Path) -> epath.Path:
    folder = epath.Path(tmp_path / "run")
    folder.mkdir()
    return folder


@pytest.mark.parametrize("lowercase", [False, True])
def test_a_wordpiece_is_opened_with_the_case_it_was_saved_with(
    vocab: Path, tmp_path: Path, lowercase: bool
) -> None:
    folder = run_folder(tmp_path)
    config = TokenizerConfig(tokenizer=str(vocab), lowercase=lowercase)
    tokenizer = open_run_tokenizer(config, folder, never)
    assert json.loads((folder / "tokenizer_config.json").read_text()) == {"do_lower_case": lowercase}
    for otherwise in (False, True):
        found = find_tokenizer(folder, otherwise)
        assert found.lowercase == lowercase
        assert found.open().fingerprint == tokenizer.fingerprint
        again = found.configure(TokenizerConfig())
        assert open_run_tokenizer(again, folder, never).fingerprint == tokenizer.fingerprint


def test_a_run_folder_keeps_its_tokenizer(vocab: Path, tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    tokenizer = open_run_tokenizer(TokenizerConfig(), folder, lambda: train_sentencepiece(SENTENCES, 40))
    assert open_run_tokenizer(TokenizerConfig(), folder, never).fingerprint == tokenizer.fingerprint
    before = (folder / "tokenizer.model").read_bytes()
    with pytest.raises(UserError, match=r"vocab\.txt: is not the tokenizer that .* was started with"):
        open_run_tokenizer(TokenizerConfig(tokenizer=str(vocab)), folder, never)
    assert (folder / "tokenizer.model").read_bytes() == before
    assert not (folder / "vocab.txt").exists()


def test_the_files_of_other_libraries(vocab: Path, tmp_path: Path) -> None:
    """A BERT's vocab.txt comes before its tokenizer.json; what cannot be read is found all the same."""
    (vocab.parent / "tokenizer.json").write_text("{}")
    assert find_tokenizer(epath.Path(vocab.parent)).path.name == "vocab.txt"
    vocab.rename(vocab.parent / "spiece.model")
    found = find_tokenizer(epath.Path(vocab.parent))
    assert found.path.name == "spiece.model"
    with pytest.raises(UserError, match="its ids are not always those of the weights beside it"):
        found.open()
    assert find_tokenizer(epath.Path(tmp_path)) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "list is not a dict"),
        ("no JSON", "not JSON"),
        ('{"do_lower_case": "yes"}', "do_lower_case is 'yes'; expected true or false"),
        ('{"do_lower_case": null}', "do_lower_case is None; expected true or false"),
    ],
)
def test_settings_that_are_not_settings(vocab: Path, text: str, message: str) -> None:
    (vocab.parent / "tokenizer_config.json").write_text(text)
    with pytest.raises(UserError, match=rf"tokenizer_config\.json: {message}"):
        find_tokenizer(epath.Path(vocab.parent))


KINDS = ["train", "characters", "bytes", "vocab.txt", "cased vocab.txt", "tokenizer.json", "vocab.json"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_folder_is_complete(vocab: Path, tmp_path: Path, kind: str) -> None:
    """It may be moved, and the files that its tokenizer came from may be gone."""
    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train_from_iterator(SENTENCES, 280, special_tokens=["<|endoftext|>"], show_progress=False)
    bpe.save(str(vocab.parent / "tokenizer.json"))
    bpe.save_model(str(vocab.parent))
    built_in = kind in ("train", "characters", "bytes")
    named = kind if built_in else str(vocab.parent / kind.removeprefix("cased "))
    config = TokenizerConfig(tokenizer=named, lowercase=not kind.startswith("cased"))
    folder = run_folder(tmp_path)
    train = train_characters if kind == "characters" else train_sentencepiece
    tokenizer = open_run_tokenizer(config, folder, lambda: train(SENTENCES, 40))
    special = config.special
    shutil.rmtree(vocab.parent)
    folder = epath.Path(folder).rename(tmp_path / "moved")
    own = find_tokenizer(folder).configure(config)
    assert own.special == special
    again = open_run_tokenizer(own, folder, never)
    assert again.fingerprint == tokenizer.fingerprint
    text = "The cat sat. the Cat"
    assert again.encode(text) == find_tokenizer(folder).open().encode(text) == tokenizer.encode(text)


def test_what_decides_the_meaning_of_ids_has_a_name_each(vocab: Path, tmp_path: Path) -> None:
    def of(tokenizer) -> list[str]:
        found = preprocessing(tokenizer)
        assert found.pop("tokenizer") == tokenizer.fingerprint
        return list(found.values())

    sentencepiece = "pad 0, unk 1, cls 2, sep 3, mask 4"
    folded = train_sentencepiece(SENTENCES, 40, lowercase=True)
    assert of(folded) == [f"SentencePiece of {folded.vocab_size} pieces", "folded", "False", sentencepiece]
    bytes_too = train_sentencepiece(SENTENCES, 300, byte_fallback=True)
    assert of(bytes_too) == [f"SentencePiece of {bytes_too.vocab_size} pieces", "kept", "True", sentencepiece]
    wordpiece = "pad 0, unk 100, cls 101, sep 102, mask 103"
    assert of(open_tokenizer(vocab)) == ["WordPiece of 107 pieces", "folded", "False", wordpiece]
    assert of(open_tokenizer(vocab, lowercase=False))[1] == "kept"

    bpe = tokenizers.ByteLevelBPETokenizer(lowercase=True)
    bpe.train_from_iterator(SENTENCES, 280, special_tokens=["<|endoftext|>"], show_progress=False)
    for name, case in (
        ("tokenizer.json", "folded"),
        ("vocab.json", "kept"),
    ):  # merges.txt says nothing of case
        bpe.save(str(tmp_path / name)) if name == "tokenizer.json" else bpe.save_model(str(tmp_path))
        found = of(open_tokenizer(tmp_path / name))
        assert found[1:] == [case, "True", "pad 0, unk 0, cls 0, sep 0, mask 0"]


def test_a_full_disk_leaves_no_half_of_a_tokenizer(
    vocab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, tokenizer = run_folder(tmp_path), open_tokenizer(vocab)
    write = type(folder).write_bytes

    def full(self: epath.Path, content: bytes) -> None:
        write(self, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(folder), "write_bytes", full)
        with pytest.raises(
            UserError, match=r"tokenizer_config\.json cannot be written \(No space left on device\)"
        ):
            tokenizer.save(folder)
    assert list(folder.iterdir()) == []
    tokenizer.save(folder)
    assert sorted(file.name for file in folder.iterdir()) == ["tokenizer_config.json", "vocab.txt"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = epath.Path(tmp_path / "file")
    for content in (b"first", b"second"):
        write_whole(file, content)
        assert file.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
