"""Texts that a language model writes after fixed prompts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax

from ssl_jax.data.pretraining_text import PretrainingText
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.decoding.decoder import Decoder
from ssl_jax.decoding.generate import check_context_length, generate
from ssl_jax.decoding.prompts import pad_right
from ssl_jax.decoding.sampling import SamplingConfig
from ssl_jax.domains import Length, Settings, Text
from ssl_jax.method import Tree


@dataclass(frozen=True)
class SamplesConfig(Settings):
    """What the model writes after each evaluation."""

    prompts: tuple[Text, ...] | None = None
    """Beginnings of texts; after an empty one the model writes the whole text. None: the first words of a few places of
    the held-out text, and for pydocs "Returns the", "This function", "The array" and "If the file"."""
    new_tokens: Length = 48
    """Tokens written after each, at most."""
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(temperature=0.8, top_k=200))


DOCUMENTATION = ("Returns the", "This function", "The array", "If the file")
"""Prompts for pydocs."""
PLACES = 4
"""Places of held-out text whose first words are prompts."""
_READ_TOKENS = 16  # at each place, of which up to three words are taken


def with_prompts(config: SamplesConfig, text: PretrainingText, positions: int) -> SamplesConfig:
    """The configuration with prompts that suit the text of a run, unless it has some.

    Args:
      config: of the samples.
      text: the opened corpus.
      positions: tokens of the model's context, of which a prompt takes half at most.
    """
    if config.prompts is not None:
        return config
    if text.heldout_source.name == "pydocs":
        return replace(config, prompts=DOCUMENTATION)
    corpus, documents = text.heldout_corpus, len(text.heldout_corpus.hashes)
    length, prompts = max(min(_READ_TOKENS, positions // 2), 1), []
    for number in range(PLACES):
        document = corpus.document(number * documents // PLACES)
        start = len(document) * number // PLACES if documents < PLACES else 0
        before = text.tokenizer.decode(document[max(start - length, 0) : start])
        read = text.tokenizer.decode(document[start : start + 2 * length])
        if before and not before[-1].isspace():  # in the middle of a word
            read = re.sub(r"^\S+", "", read)
        words = re.match(r"\s*((?:\S+\s+){0,2}\S+(?=\s))", read)
        ids = text.tokenizer.encode(words[1] if words else read)[:length]
        prompts.append(text.tokenizer.decode(ids))
    return replace(config, prompts=tuple(dict.fromkeys(prompts)))


def encode_prompts(prompts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The tokens of each prompt as the beginning of a document, with [BOS] before them."""
    return [[tokenizer.special.cls, *tokenizer.encode(prompt)] for prompt in prompts]


def check_samples(config: SamplesConfig, decoder: Decoder, tokenizer: Tokenizer) -> None:
    """Raises UserError, before hours of training, if a prompt does not fit the model."""
    if config.prompts:
        check_context_length(
            decoder, [len(p) for p in encode_prompts(config.prompts, tokenizer)], config.new_tokens
        )


def sample_texts(config: SamplesConfig, decoder: Decoder, params: Tree, tokenizer: Tokenizer) -> list[str]:
    """Each prompt with its continuation; the same for the same parameters. Every process calls it."""
    if not config.prompts:
        return []
    encoded = encode_prompts(config.prompts, tokenizer)
    prompts, lengths = pad_right(encoded, max(map(len, encoded)), tokenizer.special.pad)
    written = generate(
        decoder._replace(vocab_size=tokenizer.vocab_size),
        params,
        prompts,
        lengths,
        max_new_tokens=config.new_tokens,
        end=tokenizer.special.sep,
        sampling=config.sampling,
        key=jax.random.key(0),
    )
    return [
        tokenizer.decode([*prompt[1:], *tokens[:length]])
        for prompt, tokens, length in zip(encoded, written.tokens, written.lengths, strict=True)
    ]
