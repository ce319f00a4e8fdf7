"""A SentencePiece model as a tokenizer.json: the same pieces as SentencePiece itself, on tricky text."""

import itertools

import pytest
import sentencepiece
import tokenizers

from ssl_jax.data.tokenizers import SentencePiece, train_sentencepiece
from ssl_jax.errors import UserError

TEXTS = [
    "The Cat sat, grey.",
    "  two  spaces\tand a tab \n",
    "Café naïve: ½ of №5, ﬁne",
    "日本語 and 😀 zebra!",
    "a",
    " ",
    "",
    "catcatcat dogs.dog",
]
SENTENCES = ["the cat and the dog sat on a mat, grey.", "a fine dog ran: café, half of it."] * 4


@pytest.mark.parametrize(
    ("model_type", "lowercase", "byte_fallback"),
    [*itertools.product(["unigram"], [False, True], [False, True]), ("bpe", True, False)],
)
def test_pieces_are_those_of_sentencepiece(model_type, lowercase, byte_fallback):
    ours = train_sentencepiece(
        SENTENCES, 300 if byte_fallback else 40, model_type, lowercase=lowercase, byte_fallback=byte_fallback
    )
    converted = tokenizers.Tokenizer.from_str(ours.to_json())
    for text in TEXTS:
        ids = ours.encode(text)
        assert converted.encode(text).ids == ids, text
        assert converted.decode(ids, skip_special_tokens=False) == ours.decode(ids).replace(" ⁇ ", "[UNK]")
    assert converted.get_vocab_size() == ours.vocab_size


def test_a_model_of_words_is_refused(tmp_path):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_prefix=str(tmp_path / "m"),
        vocab_size=8,
        model_type="word",
        minloglevel=2,
    )
    with pytest.raises(
        UserError, match="splits text into words or characters; expected a unigram or BPE model"
    ):
        SentencePiece((tmp_path / "m.model").read_bytes()).to_json()
