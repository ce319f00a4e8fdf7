"""Writes text with a language model, from a run folder or from imported weights.

    python -m ssl_jax.generate runs/gpt2-tiny --prompt "The array"                # one text, as it is written
    python -m ssl_jax.generate runs/gpt2-tiny@1500 --prompt "The" --samples 3     # three, of an older checkpoint
    python -m ssl_jax.generate GPT2_FOLDER --prompt "A" --prompt "B" --temperature 0.8 --top_p 0.95
    python -m ssl_jax.generate runs/bart-tiny --prompt "Returns the [MASK] of an array." --beams 4
    cat prompts.txt | python -m ssl_jax.generate runs/gpt2-tiny --temperature 0   # one prompt per line, greedily

RUN is a run folder (RUN@STEP for another checkpoint than the newest), or a folder of GPT-2 or BART weights:
config.json, model.safetensors and the files of the tokenizer. A GPT continues its prompt; an encoder-decoder (bart,
mass, t5) reads the prompt as a source text, in which [MASK] stands for what is missing, and denoises it; a run of
summarize reads an article and writes its summary. The same command writes the same text.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, TextIO

import jax
import numpy as np
import tyro

from ssl_jax.cli import read_arguments
from ssl_jax.decoding.beam import BeamConfig, beam_search
from ssl_jax.decoding.generate import check_context_length, stream
from ssl_jax.decoding.prompts import bucket_length, pad_right
from ssl_jax.decoding.sampling import SamplingConfig
from ssl_jax.decoding.text_stream import TextStream
from ssl_jax.domains import Beams, Length, LengthPenalty, NonEmptyText, Seed, Settings, Text, integers
from ssl_jax.errors import UserError
from ssl_jax.evals.few_shot import LanguageModel
from ssl_jax.guard import guarded
from ssl_jax.runs.language_models import encode_prompt, open_language_model

NEW_TOKENS = 128
"""Most tokens of a text by default."""


@dataclass(frozen=True)
class Arguments(Settings):
    """What to write, and with which model."""

    run: Annotated[NonEmptyText, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """RUN, RUN@STEP, or a folder of imported weights."""
    prompt: Annotated[tuple[Text, ...], tyro.conf.UseAppendAction] = ()
    """Text to continue, or to denoise; may be given several times. Without any, the lines of standard input."""
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


def write(model: LanguageModel, arguments: Arguments, prompts: list[str], out: TextIO) -> None:
    """Writes the texts of all prompts to `out`: a single text token by token, several texts under headings."""
    encoded = [encode_prompt(model, prompt) for prompt in prompts for _ in range(arguments.samples)]
    longest, positions = max(map(len, encoded)), model.decoder.positions
    slides = arguments.beams == 1 and not model.decoder.reads_source
    room = positions if model.decoder.reads_source else positions - longest
    new = arguments.max_new_tokens
    if new is None:
        new = NEW_TOKENS if slides else max(min(NEW_TOKENS, room), 1)
    tokens, lengths = pad_right(encoded, bucket_length(longest, positions), model.tokenizer.special.pad)
    check_context_length(model.decoder, lengths, new, slides=slides)
    if arguments.beams > 1:
        config = BeamConfig(beams=arguments.beams, length_penalty=arguments.length_penalty)
        found = beam_search(
            model.decoder, model.params, tokens, lengths, max_new_tokens=new, end=model.end, config=config
        )
        chunks: Iterator[np.ndarray] = iter([found.tokens])
    else:
        chunks = stream(
            model.decoder,
            model.params,
            tokens,
            lengths,
            max_new_tokens=new,
            end=model.end,
            sampling=arguments.sampling,
            key=jax.random.key(arguments.seed),
            chunk=1 if len(encoded) == 1 else new,
        )
    texts = [prompt for prompt in prompts for _ in range(arguments.samples)]
    if len(encoded) == 1:
        _show(model, texts[0], (chunk[0] for chunk in chunks), out)
        return
    written = np.concatenate(list(chunks), axis=1)
    for row, (text, ids) in enumerate(zip(texts, written, strict=True)):
        number, sample = divmod(row, arguments.samples)
        heading = f"prompt {number + 1}" if len(prompts) > 1 else ""
        of = f"sample {sample + 1}" if arguments.samples > 1 else ""
        out.write(f"--- {', '.join(filter(None, (heading, of)))}\n")
        _show(model, text, [ids], out)


def _show(model: LanguageModel, prompt: str, chunks: Iterable[np.ndarray], out: TextIO) -> None:
    before = "" if model.decoder.reads_source else prompt
    out.write(before)
    text = TextStream(model.tokenizer, before, model.decoder.blanks)
    for ids in chunks:
        ended = np.flatnonzero(ids == model.end)
        out.write(text(ids[: ended[0]] if len(ended) else ids))
        out.flush()
        if len(ended):
            break
    out.write(text([], last=True) + "\n")
    out.flush()


def read_prompts(arguments: Arguments, source: TextIO) -> list[str]:
    """The prompts of the command line, else the lines of `source` if it is a file or a pipe, else an empty one."""
    if arguments.prompt:
        return list(arguments.prompt)
    lines = [] if source.isatty() else [line.rstrip("\n") for line in source]
    return lines or [""]


def main(arguments: list[str], out: TextIO, source: TextIO) -> int:
    """Writes what the command line asks for. Returns the exit code."""
    chosen = read_arguments(Arguments, arguments, prog="python -m ssl_jax.generate", description=__doc__)
    prompts = read_prompts(chosen, source)
    write(open_language_model(chosen.run), chosen, prompts, out)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:], sys.stdout, sys.stdin)))
