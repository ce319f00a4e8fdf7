import itertools
import json
import random
import re
import unicodedata

import numpy as np
import pytest
import tokenizers
from etils import epath
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceTrainer

from ssl_jax.data.characters import train_characters
from ssl_jax.data.pretraining_text import TextConfig
from ssl_jax.data.tokenizers import PIECES, SENTENCEPIECE, WORDPIECE, open_tokenizer, train_sentencepiece
from ssl_jax.data.vocabularies import begins_word
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


def test_training_says_one_line(capfd):
    train_sentencepiece(SENTENCES, 100, "bpe")
    assert capfd.readouterr() == ("training the tokenizer, of 100 bpe pieces\n", "")


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
    """What is advised is an option that exists, and does help."""
    with pytest.raises(UserError, match=f"a {kind} vocabulary of {size} pieces .* give ") as raised:
        train_sentencepiece(sentences, size, kind)
    assert not re.search("coverage|hard_vocab", str(raised.value))
    if found := re.search(
        r"alone are (\d+); .*--model\.vocab_size|--model\.vocab_size (\d+)", str(raised.value)
    ):
        enough = int(found[1]) + 1 if found[1] else int(found[2])
        assert train_sentencepiece(sentences, enough, kind).vocab_size <= enough
    else:
        assert not "".join(sentences)


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


@pytest.fixture(scope="module")
def fallback():
    return train_sentencepiece(SENTENCES, 400, byte_fallback=True)


def words_of(tokenizer, ids) -> list[bytes]:
    """The text of each word, by the tokens that begin one; the space before a word belongs to it."""
    words: list[bytes] = []
    for text, starts in zip(tokenizer.piece_bytes(ids), tokenizer.starts_word[ids], strict=True):
        if starts or not words:
            words.append(text)
        else:
            words[-1] += text
    return words


def test_the_bytes_of_a_word_stay_together(fallback):
    ids = fallback.encode("the \u732b fox na\u00efve, \U0001f600\U0001f600 (\u00e9t\u00e9) x\u0130y")
    assert "<0xE7>" in fallback.pieces(ids)
    words = [word.decode().strip() for word in words_of(fallback, ids)]
    assert (
        " ".join(filter(None, words))
        == "the \u732b fox na\u00efve , \U0001f600\U0001f600 (\u00e9t\u00e9 ) x\u0130y"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" word", True), (" ", True), ("(", True), ("\n", True), ("\u3002", True), ("\U0001f600", True), ("", True),
        ("word", False), ("1", False), ("\u732b", True), ("\u304b", False), ("\u0301", False), ("\u093f", False),
        ("\u200d", False),
    ],
)  # fmt: skip
def test_which_texts_begin_words(text, expected):
    assert begins_word(text.encode()) == expected
    for length in range(1, len(text.encode()) if len(text) == 1 else 0):  # a part of a character
        assert not begins_word(text.encode()[:length])
        assert not begins_word(text.encode()[length:])


def test_marks_and_joiners_do_not_begin_words(bart):
    text = "cafe\u0301 \u0915\u094d\u0937\u093f x\u200dy"
    assert [word.decode() for word in words_of(bart, bart.encode(text))] == [
        "cafe\u0301",
        " \u0915\u094d\u0937\u093f",
        " x\u200dy",
    ]


@given(
    st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \u00e9\u732b\U0001f600'.,(a1_\n"))
)
@pytest.mark.parametrize("kind", ["fallback", "bart"])
def test_words_are_those_of_the_text(request, kind, text):
    """No word begins inside a character or a run of letters; each word of the text begins with a token that says so."""
    tokenizer = request.getfixturevalue(kind)
    ids = tokenizer.encode(text)
    words = [word.decode() for word in words_of(tokenizer, ids)]  # fails where a character is divided
    for before, word in itertools.pairwise(words):
        first = word[0]
        assert first.isspace() or not first.isalnum() or before.endswith(" "), words
        assert not unicodedata.category(first).startswith("M")
    written = "".join(words)
    assert written == b"".join(tokenizer.piece_bytes(ids)).decode()
    for word in words:
        # A space is the first character of its word, or the whole of it.
        assert " " not in word[1:].rstrip(" "), words


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_lines_of_a_vocabulary_end_at_newline_only(vocab, byte_level, separator):
    pieces = [*vocab.read_text().split("\n")[:-1], separator, f"a{separator}b"]
    expected = open_tokenizer(vocab).vocab_size + 2
    for mark, end, last in (("", "\n", "\n"), ("\ufeff", "\n", ""), ("", "\r\n", "\r\n")):
        vocab.write_bytes((mark + end.join(pieces) + last).encode())
        tokenizer = open_tokenizer(vocab)
        assert tokenizer.vocab_size == expected
        assert tokenizer.pieces([0, expected - 2, expected - 1]) == ["[PAD]", separator, f"a{separator}b"]
        assert open_tokenizer(tokenizer.save(vocab.parent)).fingerprint == tokenizer.fingerprint
    merges = byte_level / "merges.txt"
    whole = open_tokenizer(byte_level / "vocab.json")
    merges.write_bytes(b"\xef\xbb\xbf" + merges.read_bytes().replace(b"\n", b"\r\n"))
    assert open_tokenizer(byte_level / "vocab.json").fingerprint == whole.fingerprint


def changed(settings: dict, change) -> dict:
    settings = json.loads(json.dumps(settings))
    change(settings["model"])
    return settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda model: model["vocab"].update(zz=30_000_000),
            "the id of 'zz' is 30000000; expected an integer from 0",
        ),
        (lambda model: model["vocab"].update(zz=2**70), "the id of 'zz' is"),
        (lambda model: model["vocab"].update(zz=-1), "the id of 'zz' is -1"),
        (lambda model: model["vocab"].update(zz=True), "the id of 'zz' is True"),
        (lambda model: model["vocab"].update(zz=1.5), r"the id of 'zz' is 1\.5"),
        (lambda model: model["vocab"].update(zz="1"), "the id of 'zz' is '1'"),
        (lambda model: model["vocab"].update(zz=7), "and 'zz' have the same id 7"),
        (lambda model: model.update(vocab={}), "its vocabulary is empty"),
        (lambda model: model.update(vocab=[]), "its model has no vocabulary"),
        (lambda model: model.pop("vocab"), "its model has no vocabulary"),
        (lambda model: model.update(merges=[["zz", "yy"]]), "zz"),
        (lambda model: model.update(merges=[[1, 2]]), "not a byte-level BPE"),
        (lambda model: model.update(continuing_subword_prefix="##"), "its continuing_subword_prefix is '##'"),
    ],
)
def test_a_byte_level_vocabulary_is_bounded(byte_level, change, message):
    path = byte_level / "tokenizer.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()), change)))
    with pytest.raises(UserError, match=f"{path}.*{message}"):
        open_tokenizer(path)


def test_added_tokens_are_bounded_too(byte_level):
    path = byte_level / "vocab.json"
    vocabulary = json.loads(path.read_text())
    path.write_text(json.dumps({**vocabulary, "zz": 5_000_000}))
    with pytest.raises(UserError, match="the id of 'zz' is 5000000"):
        open_tokenizer(path)
    path.write_text(json.dumps(vocabulary)[:-1] + ', "zz": 900, "zz": 901}')
    with pytest.raises(UserError, match="'zz' occurs twice"):
        open_tokenizer(path)
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match="nested too deeply"):
        open_tokenizer(path)


def test_dropout_in_a_file_does_not_make_encoding_random(byte_level):
    path = byte_level / "tokenizer.json"
    expected = open_tokenizer(path).encode_batch(TEXTS)
    settings = changed(json.loads(path.read_text()), lambda model: model.update(dropout=0.5))
    path.write_text(json.dumps(settings))
    assert open_tokenizer(path).encode_batch(TEXTS) == expected


@pytest.mark.parametrize("name", ["a.model", "vocab.txt", "tokenizer.json", "vocab.json"])
def test_a_file_larger_than_any_tokenizer_is_not_read(tmp_path, name, monkeypatch):
    with (tmp_path / name).open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(UserError, match=rf"{name}'.*1,073,741,824 bytes; expected at most"):
        open_tokenizer(tmp_path / name)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=rf"{name}'.*(not a|no merges)"):
        open_tokenizer(tmp_path / name)

    def refuse(*arguments) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(epath.Path(tmp_path)), "read_bytes", refuse)
    with pytest.raises(UserError, match=rf"{name}'.* cannot be read \(Permission denied\)"):
        open_tokenizer(tmp_path / name)


def test_damaged_tokenizers_are_refused_or_usable(tmp_path, fallback, byte_level):
    """Bits flipped, parts left out and parts overwritten at random: no other error and no crash."""
    rng = random.Random(0)
    for name, data in (
        ("a.model", (fallback.save(tmp_path)).read_bytes()),
        ("tokenizer.json", (byte_level / "tokenizer.json").read_bytes()),
    ):
        refused = 0
        for _ in range(150):
            damaged = bytearray(data)
            place = rng.randrange(min(len(data), 10_000))
            damaged[place : place + rng.choice([0, 1, 40])] = rng.randbytes(rng.choice([0, 1, 3]))
            (tmp_path / name).write_bytes(damaged[: rng.choice([None, None, place])])
            try:
                tokenizer = open_tokenizer(tmp_path / name)
            except UserError:
                refused += 1
                continue
            tokenizer.decode(tokenizer.encode("The fox \u732b"))
            tokenizer.piece_bytes(range(tokenizer.vocab_size))
        assert refused > 20


def foreign(folder, **options):
    """A SentencePiece model as other programs train it."""
    path = folder / "foreign.model"
    with path.open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(SENTENCES),
            model_writer=file,
            vocab_size=100,
            hard_vocab_limit=False,
            minloglevel=2,
            **options,
        )
    return path


@pytest.mark.parametrize(
    ("options", "special", "has_mask"),
    [
        ({}, (2, 0, 1, 2, 0, 3), False),  # <unk> <s> </s>, no padding: as Llama's
        ({"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}, (0, 2, 1, 1, 2, 3), False),  # as T5's
        ({"pad_id": 3, "control_symbols": ["<mask>"]}, (3, 0, 1, 2, 4, 5), True),
        (
            {
                "pad_id": 0,
                "unk_id": 1,
                "bos_id": -1,
                "eos_id": -1,
                "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
            },
            (0, 1, 2, 3, 4, 5),
            True,
        ),  # as ALBERT's
    ],
)
def test_sentencepiece_models_of_others(tmp_path, options, special, has_mask):
    path = foreign(tmp_path, **options)
    tokenizer, config = open_tokenizer(path), TextConfig(tokenizer=str(path))
    assert tuple(tokenizer.special) == tuple(config.special) == special
    ids = tokenizer.encode("The fox hops")
    assert tokenizer.decode(ids) == "The fox hops"
    assert not set(ids) & set(special[:-1])
    assert [*tokenizer.piece_bytes([special[2], special[3], *ids[:1]])][:2] == [b"", b""]
    if has_mask:
        assert config.special_with_mask.mask == special[4]
    else:
        with pytest.raises(UserError, match="has no mask token"):
            _ = config.special_with_mask


def test_a_sentencepiece_without_ends_of_texts_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"none of the control pieces \[CLS\], \[SEP\], <s> and </s>"):
        open_tokenizer(foreign(tmp_path, bos_id=-1, eos_id=-1))


def test_bytes_and_characters_as_other_programs_read_them():
    text = "A b\r\n\u00e9[MASK]"
    for tokenizer, unknown in ((open_tokenizer("bytes"), False), (train_characters([text], 50), True)):
        other = tokenizers.Tokenizer.from_str(tokenizer.to_json())
        given = text + "Z" * unknown
        assert other.encode(given).ids == tokenizer.encode(given) == tokenizer.encode_batch([given])[0]
        assert other.decode(tokenizer.encode(text)) == tokenizer.decode(tokenizer.encode(text)) == text
        assert tuple(tokenizer.special) == (0, 1, 2, 3, 4, 5)
        [found] = tokenizer.encode_with_offsets(["a \u00e9"])
        assert found.offsets[[0, 1, -1]].tolist() == [[0, 1], [2, 2], [2, 3]]


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
    refused("characters.json", b"{}", "not a vocabulary of characters .*expected the object")
    refused("characters.json", b'{"characters": ["a", "a"]}', "a character occurs twice")
    refused("characters.json", b'{"characters": ["ab"]}', "'ab' is not one character")
    refused("characters.json", b'{"characters": ["\\ud800"]}', "is not one character")
    refused("characters.json", b'{"characters": []}', "expected a list of 1 to")
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
