"""Texts that a language model writes after fixed prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax

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

    prompts: tuple[Text, ...] = ("Returns the", "This function", "The array", "If the file")
    """Beginnings of texts; after an empty one the model writes the whole text."""
    new_tokens: Length = 48
    """Tokens written after each, at most."""
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(temperature=0.8, top_k=200))


def encode_prompts(prompts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The tokens of each prompt as the beginning of a document, with [BOS] before them."""
    return [[tokenizer.special.cls, *tokenizer.encode(prompt)] for prompt in prompts]


def check_samples(config: SamplesConfig, decoder: Decoder, tokenizer: Tokenizer) -> None:
    """Raises UserError, before hours of training, if prompts and their continuations do not fit the model."""
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
