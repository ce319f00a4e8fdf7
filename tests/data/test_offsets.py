"""Characters of tokens: within the text as it was given, for all kinds of tokenizers; and WordPiece in batches."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_jax.data.offsets import encoded as corrected_tokens
from ssl_jax.data.tokenizers import open_tokenizer, train_sentencepiece
from tests.data.rows_reference import WORDPIECE
from tests.data.test_tokenizers import BART_SPECIAL, train_byte_level_bpe

TRICKY = "The café  of 東京日本 🙂👩\u200d👧, cafe\u0301s ﬁne naïve—quoted “fox” ½ 1,985.50\tjumped\nOVER İstanbul ß"
SENTENCES = [
    f"The {animal} of 1985 jumped over {n} lazy cafés." for animal in ("fox", "dog") for n in range(30)
]
KINDS = ("wordpiece", "sentencepiece", "bytes", "byte-level")


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe")
    train_byte_level_bpe(folder, BART_SPECIAL)
    return {
        "wordpiece": WORDPIECE,
        "sentencepiece": train_sentencepiece(SENTENCES, 120, lowercase=True),
        "bytes": train_sentencepiece(SENTENCES, 330, byte_fallback=True),
        "byte-level": open_tokenizer(folder / "tokenizer.json"),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_cover_all_but_the_spaces(tokenizers, kind):
    tokenizer = tokenizers[kind]
    [encoded, empty, space] = tokenizer.encode_with_offsets([TRICKY, "", " "])
    assert encoded.ids == tokenizer.encode(TRICKY)
    assert (empty.ids, empty.offsets.shape) == ([], (0, 2))
    assert space.ids == tokenizer.encode(" ")
    covered = {place for start, end in encoded.offsets for place in range(start, end)}
    assert "".join(c for i, c in enumerate(TRICKY) if i not in covered).isspace()
    assert (np.diff(encoded.offsets[:, 0]) >= 0).all()
    for start, end in encoded.offsets:
        assert TRICKY[start:end] == TRICKY[start:end].strip()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(text=st.text(st.sampled_from("aé\u0301\ufe0f ½ﬁ日🙂\u200d\t\u3000\u00a0.X\u2028ß"), max_size=12))
def test_any_text(tokenizers, kind, text):
    [encoded] = tokenizers[kind].encode_with_offsets([text])
    assert encoded.ids == tokenizers[kind].encode(text)
    assert encoded.offsets.shape == (len(encoded.ids), 2)
    for start, end in encoded.offsets:
        assert 0 <= start <= end <= len(text)
        assert not text[start:end].isspace()


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(max_codepoint=127), max_size=20))
def test_ascii_needs_no_correction(text):
    """WordPiece leaves it out there."""
    [found] = WORDPIECE.encode_with_offsets([text])
    library = WORDPIECE._tokenizer.encode(text)
    corrected = corrected_tokens(text, library.ids, library.offsets, np.zeros(len(library.ids), bool))
    assert found.ids == corrected.ids
    assert found.offsets.tolist() == corrected.offsets.tolist()


def test_an_accent_that_was_removed_belongs_to_its_letter(tokenizers):
    [encoded] = WORDPIECE.encode_with_offsets(["cafe\u0301s café"])
    pieces = WORDPIECE.pieces(encoded.ids)
    assert pieces == ["cafe", "##s", "cafe"]
    assert encoded.offsets.tolist() == [[0, 5], [5, 6], [7, 11]]
    assert unicodedata.normalize("NFC", "cafe\u0301s café"[0:5]) == "café"


def test_tokens_of_one_character_all_have_it(tokenizers):
    for kind in ("bytes", "byte-level"):
        [encoded] = tokenizers[kind].encode_with_offsets(["a 🙂"])
        emoji = [offsets for offsets in encoded.offsets.tolist() if offsets[1] == 3]
        assert len(emoji) == 4
        assert set(map(tuple, emoji)) == {(2, 3)}
    [encoded] = tokenizers["sentencepiece"].encode_with_offsets(["a ﬁ"])
    assert encoded.offsets.tolist()[-2:] == [[2, 3], [2, 3]]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.text(st.sampled_from("afox é\u0301 ½ﬁ日🙂\u200d\t\u3000\u00a0.[X]\u2028\x1c\r\nß"), max_size=15),
        max_size=4,
    )
)
def test_a_batch_has_the_tokens_of_each_text(texts):
    assert WORDPIECE.encode_batch(texts) == [WORDPIECE.encode(text) for text in texts]
