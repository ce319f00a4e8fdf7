import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_saved_tokenizers_are_the_same_when_opened(tmp_path, sentencepiece, vocab):
    (tmp_path / "run").mkdir()
    for tokenizer in (sentencepiece, open_tokenizer(vocab)):
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
    refused("short.txt", b"[PAD]\n[UNK]\n", "special tokens are not where they are expected")
