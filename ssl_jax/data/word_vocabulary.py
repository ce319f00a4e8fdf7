"""A vocabulary of whole words, as a WordPiece vocabulary without pieces that continue a word."""

from collections.abc import Iterable

import tokenizers

from ssl_jax.data.special_tokens import PIECES, WORDPIECE
from ssl_jax.data.tokenizers import WordPiece
from ssl_jax.errors import UserError


def train_words(
    sentences: Iterable[str], vocab_size: int, *, min_count: int = 1, lowercase: bool = True
) -> WordPiece:
    """Counts the words of a text. All others are [UNK] for the tokenizer that is returned.

    Words are what BERT's tokenizer separates: at spaces and at punctuation, which is a word of its own.

    Args:
      sentences: the text.
      vocab_size: number of ids, including the first 104, which WordPiece keeps for special tokens; the most frequent
        words have the others, in falling order.
      min_count: rarer words are left out.
      lowercase: whether to fold case and to remove accents.

    Raises:
      UserError: no word is frequent enough, or there is no room for any.
    """
    if vocab_size <= WORDPIECE.first_regular:
        raise UserError(
            f"a vocabulary of {vocab_size} ids: {WORDPIECE.first_regular} are special tokens; give more."
        )
    counter = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="[UNK]"))
    counter.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lowercase)
    counter.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    trainer = tokenizers.trainers.WordLevelTrainer(
        vocab_size=vocab_size - WORDPIECE.first_regular, min_frequency=min_count, show_progress=False
    )
    counter.train_from_iterator(sentences, trainer)
    words = sorted(counter.get_vocab().items(), key=lambda item: item[1])
    if not words:
        raise UserError(f"no word occurs {min_count} times; give more text or a lower min_count.")
    return WordPiece(in_googles_layout(word for word, _ in words), lowercase)


def in_googles_layout(pieces: Iterable[str]) -> list[str]:
    """A WordPiece vocabulary: the special tokens where Google's have them, unused ids between them, then the pieces."""
    vocabulary = [f"[unused{number}]" for number in range(WORDPIECE.first_regular)]
    for piece, number in zip(PIECES, WORDPIECE[:-1], strict=True):
        vocabulary[number] = piece
    return [*vocabulary, *pieces]
