"""Texts that a language model writes after prompts, for the command and for the Python API."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import jax
import numpy as np
import tyro

from ssl_jax.decoding.beam import BeamConfig, beam_search
from ssl_jax.decoding.generate import check_context_length, stream
from ssl_jax.decoding.prompts import bucket_length, pad_right
from ssl_jax.decoding.sampling import SamplingConfig
from ssl_jax.decoding.text_stream import TextStream
from ssl_jax.domains import Beams, Length, LengthPenalty, Seed, Settings, integers
from ssl_jax.errors import UserError
from ssl_jax.evals.few_shot import LanguageModel
from ssl_jax.runs.language_models import encode_prompt

NEW_TOKENS = 128
"""Most tokens of a text by default."""


@dataclass(frozen=True)
class GenerationConfig(Settings):
    """How texts are written."""

    samples: Annotated[int, integers(1, 10_000)] = 1
    """Texts for each prompt."""
    max_new_tokens: Length | None = None
    """Most tokens of a text; None for 128. A GPT may write more than its context has room for, and then sees the last
    tokens only; others, and beam search, write as many as there is room for. A text may end before."""
    sampling: Annotated[SamplingConfig, tyro.conf.arg(name="")] = field(default_factory=SamplingConfig)
    beams: Beams = 1
    """Above 1: beam search with so many beams looks for the likeliest text; nothing is drawn at random."""
    length_penalty: LengthPenalty = 1.0
    """Of beam search, which ranks texts by log-likelihood / length ** length_penalty; above 0 favours long ones."""
    seed: Seed = 0
    """Decides what is drawn; another seed gives other texts."""

    def check_relations(self) -> None:
        if self.beams > 1 and (self.samples > 1 or self.sampling != SamplingConfig()):
            raise UserError(
                "beam search draws nothing at random: leave out --samples, --temperature, --top_k and --top_p, or "
                "--beams."
            )


def stream_text(model: LanguageModel, prompt: str, config: GenerationConfig) -> Iterator[str]:
    """The text of a prompt, as it is written: the prompt first if the model continues it.

    Args:
      model: opened by `open_language_model`.
      prompt: what to continue, or the source text.
      config: with one sample.

    Raises:
      UserError: the prompt is empty or too long for the model, or there is no room for so many new tokens.
    """
    chunks = _write(model, [encode_prompt(model, prompt)], config, chunk=1)
    yield from _texts(model, prompt, (chunk[0] for chunk in chunks))


def generate_texts(model: LanguageModel, prompts: Sequence[str], config: GenerationConfig) -> list[str]:
    """The texts of all prompts, those of a prompt one after another.

    Args:
      model: opened by `open_language_model`.
      prompts: what to continue, or the source texts.
      config: how they are written.

    Raises:
      UserError: as `stream_text`.
    """
    repeated = [prompt for prompt in prompts for _ in range(config.samples)]
    if not repeated:
        return []
    encoded = [encode_prompt(model, prompt) for prompt in repeated]
    written = np.concatenate(list(_write(model, encoded, config)), axis=1)
    return ["".join(_texts(model, prompt, [ids])) for prompt, ids in zip(repeated, written, strict=True)]


def _write(
    model: LanguageModel, encoded: Sequence[list[int]], config: GenerationConfig, chunk: int | None = None
) -> Iterator[np.ndarray]:
    """The new tokens `[texts, new]`, `chunk` at a time; None for all at once."""
    longest, positions = max(map(len, encoded)), model.decoder.positions
    slides = config.beams == 1 and not model.decoder.reads_source
    room = positions if model.decoder.reads_source else positions - longest
    new = config.max_new_tokens
    if new is None:
        new = NEW_TOKENS if slides else max(min(NEW_TOKENS, room), 1)
    tokens, lengths = pad_right(encoded, bucket_length(longest, positions), model.tokenizer.special.pad)
    check_context_length(model.decoder, lengths, new, slides=slides)
    if config.beams > 1:
        beams = BeamConfig(beams=config.beams, length_penalty=config.length_penalty)
        found = beam_search(
            model.decoder, model.params, tokens, lengths, max_new_tokens=new, end=model.end, config=beams
        )
        return iter([found.tokens])
    return stream(
        model.decoder,
        model.params,
        tokens,
        lengths,
        max_new_tokens=new,
        end=model.end,
        sampling=config.sampling,
        key=jax.random.key(config.seed),
        chunk=new if chunk is None else chunk,
    )


def _texts(
    model: LanguageModel, prompt: str, chunks: Iterator[np.ndarray] | list[np.ndarray]
) -> Iterator[str]:
    """The text of chunks of tokens, until the end-of-text token."""
    before = "" if model.decoder.reads_source else prompt
    yield before
    text = TextStream(model.tokenizer, before, model.decoder.blanks)
    for ids in chunks:
        ended = np.flatnonzero(ids == model.end)
        yield text(ids[: ended[0]] if len(ended) else ids)
        if len(ended):
            break
    yield text([], last=True)
