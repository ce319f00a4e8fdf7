"""Text that a model writes after fixed prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax

from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.decoding.decoder import Decoder
from ssl_jax.decoding.generate import check_room, generate
from ssl_jax.decoding.prompts import padded
from ssl_jax.decoding.sampling import SamplingConfig
from ssl_jax.method import Tree


@dataclass(frozen=True)
class SamplesConfig:
    """What the model writes after each evaluation."""

    prompts: tuple[str, ...] = ("Returns the", "This function", "The array", "If the file")
    """Beginnings of texts; an empty one leaves all to the model."""
    new_tokens: int = 48
    """Most tokens written after each."""
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(temperature=0.8, top_k=200))


def encode_prompts(prompts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """Each prompt as the beginning of a document: [BOS] and its tokens."""
    return [[tokenizer.special.cls, *tokenizer.encode(prompt)] for prompt in prompts]


def check_samples(config: SamplesConfig, decoder: Decoder, tokenizer: Tokenizer) -> None:
    """Raises UserError, before hours of training, if prompts and what is written after them do not fit the model."""
    if config.prompts:
        check_room(decoder, [len(p) for p in encode_prompts(config.prompts, tokenizer)], config.new_tokens)


def write_samples(config: SamplesConfig, decoder: Decoder, params: Tree, tokenizer: Tokenizer) -> list[str]:
    """Prompt and continuation of each prompt; the same for the same parameters. Every process calls it."""
    if not config.prompts:
        return []
    encoded = encode_prompts(config.prompts, tokenizer)
    prompts, lengths = padded(encoded, max(map(len, encoded)), tokenizer.special.pad)
    written = generate(
        decoder,
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
