"""Prepares text or images once for all hosts and runs: tokenised rows or fitted images, in shards.

    python -m ssl_jax.prepare --source 'C4/*.json.gz' --tokenizer GPT2/tokenizer.json --rows next_token --length 1024 \\
        --output gs://BUCKET/c4                          # on all cores of this machine
    python -m ssl_jax.prepare ... --runner DataflowRunner --project P --region R --temp_location gs://BUCKET/temp
    python -m experiments.gpt2 small --data.source prepared:gs://BUCKET/c4 --data.tokenizer gs://BUCKET/c4/tokenizer.json

    python -m ssl_jax.prepare images --source tfds:imagenet2012 --canvas 320 --output gs://BUCKET/imagenet
    python -m experiments.simclr imagenet --data.source prepared:gs://BUCKET/imagenet

Text is held out, tokenised, shuffled and cut into rows. Images are split, and those larger than the canvas are shrunk.

It runs on Apache Beam, which is installed from requirements-prepare.txt. Options that are not listed here are Beam's:
another runner (DataflowRunner, FlinkRunner, SparkRunner) and what it needs. The same command continues after it was
stopped, and makes again what is missing or damaged; what is finished is verified and kept. The files are the same bytes
for any runner and any number of workers. docs/c4_on_a_pod.md and docs/imagenet_on_a_pod.md have examples with hours and
cost.
"""

import sys
from dataclasses import dataclass, field
from typing import Annotated, TextIO

import tyro

from ssl_jax.data.images import ImageSourceConfig
from ssl_jax.data.prepared.image_preparation import ImagePreparation, prepare_images
from ssl_jax.data.prepared.manifest import IMAGES, RowKind
from ssl_jax.data.prepared.preparation import Preparation, prepare_text
from ssl_jax.data.text_config import CorpusConfig
from ssl_jax.domains import (
    Length,
    NonEmptyText,
    PositiveFloat,
    Settings,
    VocabSize,
    check_settings,
    unchecked,
)
from ssl_jax.errors import UserError
from ssl_jax.guard import guarded


@dataclass(frozen=True)
class Arguments(Settings):
    """What text to prepare, and where."""

    output: NonEmptyText
    """The folder that is made, local or gs://."""
    rows: RowKind = "next_token"
    """next_token: rows of gpt2; packed: of bert --pair_task none; passages: of bart, mass and t5; pairs: documents, for
    bert and albert."""
    length: Length = 1024
    """Tokens of a row; pairs have any length."""
    corpus: Annotated[CorpusConfig, tyro.conf.arg(name="")] = field(default_factory=CorpusConfig)
    vocab_size: VocabSize = 32_000
    """Ids of a tokenizer that is trained here."""
    shard_megabytes: PositiveFloat = 256
    """Tokens in a file."""

    def preparation(self) -> Preparation:
        """What is asked for."""
        shape = (self.rows, self.length, self.corpus, self.vocab_size, self.shard_megabytes)
        return Preparation(self.output, *shape)


@dataclass(frozen=True)
class ImageArguments(Settings):
    """What images to prepare, and where."""

    output: NonEmptyText
    """The folder that is made, local or gs://."""
    images: Annotated[ImageSourceConfig, tyro.conf.arg(name="")] = field(
        default_factory=lambda: ImageSourceConfig("tfds:imagenet2012", canvas=320, channels=3)
    )
    shard_megabytes: PositiveFloat = 256
    """Photographs in a file, about; a file has 4,096 images at most."""

    def preparation(self) -> ImagePreparation:
        """What is asked for."""
        return ImagePreparation(self.output, self.images, self.shard_megabytes)


def main(arguments: list[str], out: TextIO) -> int:
    """Prepares what the command line asks for. Returns the exit code."""
    of_images = arguments[:1] == [IMAGES]
    if arguments and not of_images and not arguments[0].startswith("-"):
        raise UserError(f"{arguments[0]!r}: expected {IMAGES!r}, or the options of text; --help lists them.")
    with unchecked():
        chosen, beam_options = tyro.cli(
            ImageArguments if of_images else Arguments,
            args=arguments[of_images:],
            prog=f"python -m ssl_jax.prepare{' images' if of_images else ''}",
            description=__doc__,
            use_underscores=True,
            return_unknown_args=True,
        )
    check_settings(chosen)
    prepare = prepare_images if of_images else prepare_text
    try:
        prepare(chosen.preparation(), beam_options, lambda text: print(text, file=out, flush=True))
    except UserError as error:  # which names settings as an experiment has them
        raise UserError(str(error).replace("--data.", "--")) from error
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:], sys.stdout)))
