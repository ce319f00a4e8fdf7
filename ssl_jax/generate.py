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
from dataclasses import dataclass, field
from typing import Annotated, TextIO

import tyro

from ssl_jax.cli import read_arguments
from ssl_jax.domains import NonEmptyText, Settings, Text
from ssl_jax.evals.few_shot import LanguageModel
from ssl_jax.guard import guarded
from ssl_jax.runs.generation import GenerationConfig, generate_texts, stream_text
from ssl_jax.runs.language_models import open_language_model


@dataclass(frozen=True)
class Arguments(Settings):
    """What to write, and with which model."""

    run: Annotated[NonEmptyText, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """RUN, RUN@STEP, or a folder of imported weights."""
    prompt: Annotated[tuple[Text, ...], tyro.conf.UseAppendAction] = ()
    """Text to continue, or to denoise; may be given several times. Without any, the lines of standard input."""
    generation: Annotated[GenerationConfig, tyro.conf.arg(name="")] = field(default_factory=GenerationConfig)


def write(model: LanguageModel, config: GenerationConfig, prompts: list[str], out: TextIO) -> None:
    """Writes the texts of all prompts to `out`: a single text token by token, several texts under headings."""
    if len(prompts) == config.samples == 1:
        for piece in stream_text(model, prompts[0], config):
            out.write(piece)
            out.flush()
        out.write("\n")
        out.flush()
        return
    for row, text in enumerate(generate_texts(model, prompts, config)):
        number, sample = divmod(row, config.samples)
        heading = f"prompt {number + 1}" if len(prompts) > 1 else ""
        of = f"sample {sample + 1}" if config.samples > 1 else ""
        out.write(f"--- {', '.join(filter(None, (heading, of)))}\n{text}\n")
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
    write(open_language_model(chosen.run), chosen.generation, prompts, out)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:], sys.stdout, sys.stdin)))
