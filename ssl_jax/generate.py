"""Text from a language model: a run folder's, or imported weights.

    python -m ssl_jax.generate runs/gpt2-tiny --prompt "The array"                # one text, as it is written
    python -m ssl_jax.generate runs/gpt2-tiny@1500 --prompt "The" --samples 3     # three, of an older checkpoint
    python -m ssl_jax.generate GPT2_FOLDER --prompt "A" --prompt "B" --temperature 0.8 --top_p 0.95
    python -m ssl_jax.generate runs/bart-tiny --prompt "Returns the [MASK] of an array." --beams 4
    cat prompts.txt | python -m ssl_jax.generate runs/gpt2-tiny --temperature 0   # a prompt a line, greedily

RUN is a run folder (RUN@STEP for another checkpoint than the newest), or a folder of GPT-2 or BART weights:
config.json, model.safetensors and the files of the tokenizer. A GPT continues its prompt; an encoder-decoder (bart,
mass, t5) writes what it makes of it. The same command writes the same text.
"""

import codecs
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TextIO

import jax
import numpy as np
import tyro

from ssl_jax.cli import guarded
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.decoding.beam import BeamConfig, beam_search
from ssl_jax.decoding.generate import check_room, stream
from ssl_jax.decoding.prompts import bucket, padded
from ssl_jax.decoding.sampling import SamplingConfig
from ssl_jax.errors import UserError
from ssl_jax.evals.few_shot import LanguageModel
from ssl_jax.runs.language_models import encode_prompt, open_language_model

NEW_TOKENS = 128
"""Most tokens of a text, if nothing else is asked for and the context has room for them."""


@dataclass(frozen=True)
class Arguments:
    """What to write."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """RUN, RUN@STEP, or a folder of imported weights."""
    prompt: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """What to continue, or to read; may be given several times. Without any, the lines of standard input."""
    samples: int = 1
    """Texts for each prompt."""
    max_new_tokens: int | None = None
    """Most tokens of a text; 128, or as many as the context has room for. A text may end before."""
    sampling: Annotated[SamplingConfig, tyro.conf.arg(name="")] = field(default_factory=SamplingConfig)
    beams: int = 1
    """Above 1: nothing is drawn, beam search looks for the likeliest text with so many open at a time."""
    length_penalty: float = 1.0
    """Of beam search: texts compete by log-likelihood / length ** length_penalty; above 0 favours long ones."""
    seed: int = 0
    """Another seed draws other texts."""

    def __post_init__(self) -> None:
        for name in ("samples", "beams"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)} must be at least 1.")
        if self.beams > 1 and (self.samples > 1 or self.sampling != SamplingConfig()):
            raise UserError(
                "beam search draws nothing: leave out --samples, --temperature, --top_k and --top_p, or --beams."
            )


class TextStream:
    """Tokens as text while they come, a character that spans tokens when it is whole.

    before: the text that they continue, "" for none; a space that begins a word is left out where it ends with one.
    blanks: of the decoder; those that the tokenizer does not know are written as " <n>".
    """

    def __init__(self, tokenizer: Tokenizer, before: str, blanks: Sequence[int] = ()) -> None:
        self._tokenizer, self._decoder = tokenizer, codecs.getincrementaldecoder("utf-8")(errors="replace")
        known = range(tokenizer.vocab_size)
        self._names = {token: f" <{n}>".encode() for n, token in enumerate(blanks) if token not in known}
        self._drop_space = not before or before[-1].isspace()

    def __call__(self, tokens: Iterable[int], *, last: bool = False) -> str:
        """The text that these tokens add. last: no more will come, a broken character is shown as �."""
        tokens = list(tokens)
        pieces = iter(self._tokenizer.piece_bytes([token for token in tokens if token not in self._names]))
        joined = b"".join(self._names[token] if token in self._names else next(pieces) for token in tokens)
        text = self._decoder.decode(joined, final=last)
        if text and self._drop_space:
            text, self._drop_space = text.removeprefix(" "), False
        return text


def write(model: LanguageModel, arguments: Arguments, prompts: list[str], out: TextIO) -> None:
    """Writes the texts of all prompts to `out`: a single one token by token, several under headings."""
    encoded = [encode_prompt(model, prompt) for prompt in prompts for _ in range(arguments.samples)]
    longest, positions = max(map(len, encoded)), model.decoder.positions
    room = positions if model.decoder.reads_source else positions - longest
    new = arguments.max_new_tokens
    if new is None:
        new = max(min(NEW_TOKENS, room), 1)
    tokens, lengths = padded(encoded, bucket(longest, positions), model.tokenizer.special.pad)
    check_room(model.decoder, lengths, new)
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
    chosen = tyro.cli(
        Arguments,
        args=arguments,
        prog="python -m ssl_jax.generate",
        description=__doc__,
        use_underscores=True,
    )
    prompts = read_prompts(chosen, source)
    write(open_language_model(chosen.run), chosen, prompts, out)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:], sys.stdout, sys.stdin)))
