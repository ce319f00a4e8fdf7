import json

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from ssl_jax.data.pretraining_text import TextConfig
from ssl_jax.data.tokenizers import PIECES, SENTENCEPIECE, WORDPIECE, open_tokenizer, train_sentencepiece
from ssl_jax.errors import UserError

SENTENCES = [
    f"The {animal} {verb} over {number} lazy dogs, and nobody minded."
    for animal in ("fox", "horse", "kangaroo", "squirrel")
    for verb in ("jumps", "leaps", "hops", "vaulted")
    for number in range(12)
]


@pytest.fixture(scope="module")
def sentencepiece():
    return train_sentencepiece(SENTENCES, 200)


@pytest.fixture
def vocab(tmp_path):
    pieces = [f"[unused{i}]" for i in range(110)]
    pieces[0], pieces[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces += ["the", "fox", "jump", "##s", "##ed", ".", "[", "]", "mask", "Fox"]
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return path


GPT2_SPECIAL = ["<|endoftext|>"]
BART_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
TEXTS = [
    *SENTENCES[:40],
    "Café prices rose 3.5% in 1998,\n\tdidn't they?  Yes: 日本語 and naïve façades!",
]


def train_byte_level_bpe(folder, special):
    """Writes tokenizer.json, vocab.json and merges.txt as another library's training leaves them."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))


@pytest.fixture(params=[GPT2_SPECIAL, BART_SPECIAL], ids=["gpt2", "bart"])
def byte_level(request, tmp_path):
    train_byte_level_bpe(tmp_path, request.param)
    return tmp_path


def test_training_gives_the_same_model_twice_and_specials_where_they_belong(sentencepiece):
    again = train_sentencepiece(iter(SENTENCES), 200)
    assert again.fingerprint == sentencepiece.fingerprint
    assert tuple(sentencepiece.pieces(SENTENCEPIECE[:-1])) == PIECES
    assert train_sentencepiece(SENTENCES[:-9], 200).fingerprint != sentencepiece.fingerprint


def test_training_is_silent(capfd):
    train_sentencepiece(SENTENCES, 100, "bpe")
    assert capfd.readouterr() == ("", "")


@given(st.lists(st.sampled_from(" ".join(SENTENCES).split()), min_size=1).map(" ".join))
def test_sentencepiece_round_trip(sentencepiece, text):
    ids = sentencepiece.encode(text)
    assert sentencepiece.decode(ids) == text
    assert min(ids) >= SENTENCEPIECE.first_regular
    assert max(ids) < sentencepiece.vocab_size
    assert sentencepiece.encode_batch([text, text]) == [ids, ids]


def test_words_begin_after_spaces_and_at_punctuation(sentencepiece):
    ids = sentencepiece.encode("The kangaroo, nobody minded.")
    words, pieces = [], sentencepiece.pieces(ids)
    for piece, starts in zip(pieces, sentencepiece.starts_word[ids], strict=True):
        words = [*words, piece] if starts else [*words[:-1], words[-1] + piece]
    assert words == ["▁The", "▁kangaroo", ",", "▁nobody", "▁minded", "."]
    assert len(pieces) > len(words)


def test_text_cannot_write_a_special_token(sentencepiece, vocab):
    assert SENTENCEPIECE.mask not in sentencepiece.encode("the [MASK] jumps [SEP]")
    ids = open_tokenizer(vocab).encode("the [MASK]")
    assert open_tokenizer(vocab).pieces(ids) == ["the", "[", "mask", "]"]


def test_lowercase_folds_case():
    folded = train_sentencepiece(SENTENCES, 200, lowercase=True)
    assert folded.encode("THE Fox") == folded.encode("the fox")


def test_a_small_corpus_gives_a_smaller_unigram_vocabulary():
    assert 5 < train_sentencepiece(["one small sentence"], 1000).vocab_size < 100


@pytest.mark.parametrize(
    ("sentences", "size", "kind"),
    [
        ([], 100, "unigram"),
        ([""], 100, "unigram"),
        (["one small sentence"], 1000, "bpe"),
        (SENTENCES, 6, "unigram"),
    ],
)
def test_too_little_text_is_the_users_error(sentences, size, kind):
    with pytest.raises(UserError, match=f"a {kind} vocabulary of {size} pieces .* Give more text"):
        train_sentencepiece(sentences, size, kind)


def test_long_lines_and_a_budget_of_characters():
    long = " ".join(SENTENCES)
    assert train_sentencepiece([long * 2, "Ω"], 100, max_characters=1000).encode("Ω")[-1] == SENTENCEPIECE.unk


def test_wordpiece_splits_greedily_and_joins_again(vocab):
    tokenizer = open_tokenizer(vocab)
    ids = tokenizer.encode("The Fox jumps.")
    assert tokenizer.pieces(ids) == ["the", "fox", "jump", "##s", "."]
    assert tokenizer.starts_word[ids].tolist() == [True, True, True, False, True]
    assert tokenizer.decode([WORDPIECE.cls, *ids, WORDPIECE.sep]) == "the fox jumps."
    assert tokenizer.encode("zebra") == [WORDPIECE.unk]
    cased = open_tokenizer(vocab, lowercase=False)
    assert cased.pieces(cased.encode("Fox fox")) == ["Fox", "fox"]
    assert cased.fingerprint != tokenizer.fingerprint


@pytest.fixture(scope="module")
def bart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bart")
    train_byte_level_bpe(folder, BART_SPECIAL)
    return open_tokenizer(folder / "tokenizer.json")


@given(st.text())
def test_byte_level_round_trip_of_any_text(bart, text):
    ids = bart.encode(text)
    assert bart.decode([bart.special.cls, *ids, bart.special.sep]) == text
    assert not set(ids) & set(bart.special[:-1])
    assert bart.encode_batch([text, text]) == [ids, ids]


def test_byte_level_special_tokens_come_from_the_file(tmp_path):
    train_byte_level_bpe(tmp_path, GPT2_SPECIAL)
    assert open_tokenizer(tmp_path / "tokenizer.json").special == (0, 0, 0, 0, 0, 1)
    train_byte_level_bpe(tmp_path, BART_SPECIAL)
    assert open_tokenizer(tmp_path / "tokenizer.json").special == (1, 3, 0, 2, 4, 5)
    settings = json.loads((tmp_path / "tokenizer.json").read_text())
    vocabulary = settings["model"]["vocab"]
    assert TextConfig(tokenizer=str(tmp_path / "tokenizer.json")).special == (1, 3, 0, 2, 4, 5)
    assert vocabulary["<mask>"] == 4


def test_vocabulary_and_merges_are_the_tokenizer_that_they_come_from(byte_level):
    whole, parts = open_tokenizer(byte_level / "tokenizer.json"), open_tokenizer(byte_level / "vocab.json")
    assert parts.special == whole.special
    assert parts.encode_batch(TEXTS) == whole.encode_batch(TEXTS)
    assert max(map(len, whole.encode_batch(TEXTS))) > 3  # the truncation in the file is not ours
    np.testing.assert_array_equal(parts.starts_word, whole.starts_word)


def test_byte_level_words_and_pieces(byte_level):
    tokenizer = open_tokenizer(byte_level / "tokenizer.json")
    ids = tokenizer.encode("The kangaroo, nobody 日\n minded <s><mask><|endoftext|>")
    pieces = tokenizer.pieces(ids)
    words = []
    for piece, starts in zip(pieces, tokenizer.starts_word[ids], strict=True):
        words = [*words, piece] if starts else [*words[:-1], "".join(words[-1:]) + piece]
    assert words[:4] == ["The", "▁kangaroo", ",", "▁nobody"]
    assert words[5:7] == ["\n", "▁minded"]
    assert "".join(words[4]).startswith("▁")
    assert not set(ids) & set(tokenizer.special[:-1])


def test_saved_tokenizers_are_the_same_when_opened(tmp_path, sentencepiece, vocab, byte_level):
    (tmp_path / "run").mkdir()
    byte_levels = (open_tokenizer(byte_level / name) for name in ("tokenizer.json", "vocab.json"))
    for tokenizer in (sentencepiece, open_tokenizer(vocab), *byte_levels):
        again = open_tokenizer(tokenizer.save(tmp_path / "run"))
        assert again.fingerprint == tokenizer.fingerprint
        assert again.special == tokenizer.special
        np.testing.assert_array_equal(again.starts_word, tokenizer.starts_word)


def test_bad_tokenizer_files(tmp_path, vocab):
    def refused(name: str, data: bytes | None, message: str):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=message):
            open_tokenizer(tmp_path / name)

    refused("absent.model", None, "no such file")
    refused("broken.model", b"not a model", "not a SentencePiece model")
    refused("latin.txt", b"[UNK]\n\xe9\n", "byte 6 is not UTF-8")
    refused("words.txt", b"one\ntwo\n", "not a WordPiece vocabulary")
    refused("moved.txt", b"x\n" + vocab.read_bytes(), "special tokens are not where they are expected")
    refused("empty.json", b"{}", "no merges.txt beside")
    refused("list.json", b"[]", "not a byte-level BPE")
    (tmp_path / "merges.txt").write_text("#version: 0.2\nt h\n")
    refused("few.json", b'{"t": 0, "h": 1, "th": 2}', "it has no pieces for the bytes 0x21, 0x22")
    refused("half.json", b'{"t": 0}', "not a byte-level BPE")
    word_level = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, "[UNK]"))
    refused("words.json", word_level.to_str().encode(), "WordLevel and None, not BPE and ByteLevel")
    train_byte_level_bpe(tmp_path, ["<start>"])
    refused("vocab.json", None, "special tokens are unknown; expected <pad> <unk>")
    refused("short.txt", b"[PAD]\n[UNK]\n", "special tokens are not where they are expected")
