"""Images as files of codes: how small, and how much is left of them, beside JPEG and WebP.

    python -m experiments.compression                                 # offline: digits, trained first; 3 minutes
    python -m experiments.compression --codes 4 16 64 256
    python -m experiments.compression --preset mnist --source DIR     # a folder of idx files, half an hour
    python -m experiments.compression runs/prior-8 runs/prior-64      # runs of experiments.vqvae_prior that are there

Each run is a point of the curve. The codes of held-out images are written by a range coder under the learned prior: all
in one file, codes.sjc, and each of the first 16 in one of its own. The files are read back from the disk and decoded to
the same codes, or the command fails. What the decoder makes of the codes is compared with the images. JPEG and WebP are
Pillow's, a file for each image. Of such a file of a small image most is its header; all sizes therefore also stand
without headers: the scan of a JPEG (whose tables are then for free), a WebP after the header of its frame, and our
files after theirs. What our decoder has to know, the two networks, is counted nowhere, and they were trained on images
like these.

300 held-out digits of 8x8 pixels, seed 0, bits a pixel and PSNR, all images in one file: 8 codes 0.47 and 19.7 dB, 32
codes 0.71 and 21.8 dB, 128 codes 1.03 and 24.2 dB; a file each, 3.7 to 4.2 bits. JPEG without headers 0.53 and 14.2 dB,
1.8 and 18.9 dB, 2.7 and 23.0 dB, with them 21 bits and more; WebP at its least 8.0 (4.2 without) and 20.1 dB. MNIST,
28x28: 8 codes 0.07 and 20.0 dB, 128 codes 0.14 and 22.8 dB, 64 codes in grids of 14x14 (--network.strides 2) 0.30 and
28.0 dB; a file each, 0.33, 0.40 and 0.56. JPEG without headers 0.66 and 22.9 dB, 1.4 and 28.3 dB, WebP 1.0 and 27.5 dB.
"""

import sys
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import tyro
from etils import epath

from experiments import vqvae_prior
from ssl_jax.cli import choose_preset, guarded
from ssl_jax.errors import UserError
from ssl_jax.evals.compression import draw_rates, pillow_rates, rate_table
from ssl_jax.evals.pictures import draw_grid
from ssl_jax.recipes.image_files import Coded, code_images
from ssl_jax.reports.images import SHOWN
from ssl_jax.runs.configuration import restore_config, run_settings
from ssl_jax.runs.opening import open_run
from ssl_jax.training import loop
from ssl_jax.training.folder import CONFIG, read_json, write_json, writing


@dataclass(frozen=True)
class Arguments:
    """The sizes of held-out images as codes, and what is left of them."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = ()
    """Runs of experiments.vqvae_prior, on the same data; of each, its newest checkpoint. Without any, one is trained
    for each of `codes`, or continued."""
    codes: tuple[int, ...] = (8, 32, 128)
    """In the codebooks of the runs that are trained."""
    preset: str = "digits"
    """Of experiments.vqvae_prior, for the runs that are trained."""
    source: str = ""
    """Their images, see `data.source` of experiments.vqvae; empty: the preset's."""
    images: int = 1_000
    """Held-out images, at most."""
    workdir: str = "runs/compression"
    """Holds the files, figures and plots, and the runs that are trained."""


def settle(arguments: Arguments, codes: int) -> vqvae_prior.Config:
    """The configuration of one training."""
    preset, _ = choose_preset([arguments.preset], vqvae_prior.PRESETS)
    config = vqvae_prior.PRESETS[preset]
    data = config.vqvae.data
    return replace(
        config,
        vqvae=replace(
            config.vqvae,
            codebook=replace(config.vqvae.codebook, codes=codes),
            data=replace(data, source=arguments.source or data.source),
        ),
    )


def train(arguments: Arguments, folder: epath.Path) -> list[epath.Path]:
    """A run for each number of codes, trained to its end from wherever it stands."""
    configs = {folder / f"run-{codes}": settle(arguments, codes) for codes in arguments.codes}
    if not configs:
        raise UserError(
            "no run: name at least one of experiments.vqvae_prior, or give --codes to train with."
        )
    for number, (run, config) in enumerate(configs.items(), 1):
        print(f"\n{number} of {len(configs)}: {config.vqvae.codebook.codes} codes", flush=True)
        # The curve tells what each makes of its images; samples and a report of every run would only take time.
        experiment = vqvae_prior.build(config)._replace(sample=None, report=None)
        stopped = loop.train(experiment, run, run_settings(vqvae_prior.__name__, arguments.preset, config))
        if stopped:
            raise SystemExit(stopped)
    return list(configs)


def code_run(folder: epath.Path, output: epath.Path, images: int) -> Coded:
    """The held-out images of a run, through files of codes in the folder `output`."""
    settings = read_json(folder / CONFIG)
    if settings["experiment"] != vqvae_prior.__name__:
        raise UserError(
            f"{folder}: is a run of {settings['experiment']}; expected one of {vqvae_prior.__name__}."
        )
    config = restore_config(vqvae_prior.PRESETS[settings["preset"]], settings["config"])
    run, prior = open_run(folder), vqvae_prior.make_prior(config)
    with closing(run.checkpoints):
        return code_images(run, prior, output, images=images, log=print)


def compress(arguments: Arguments) -> int:
    """Trains where no run is named, writes files of codes, and compares. Returns the exit code."""
    output = epath.Path(arguments.workdir).expanduser()
    runs = [epath.Path(run).expanduser() for run in arguments.runs] or train(arguments, output)
    coded = [
        code_run(run, output / f"files-{number}", arguments.images) for number, run in enumerate(runs, 1)
    ]
    first = coded[0]
    for run, of in zip(runs, coded, strict=True):
        if not np.array_equal(of.images, first.images):
            raise UserError(
                f"{run}: its held-out images are not those of {runs[0]}; compare runs of one data set."
            )
    rates = {
        "codes, one file": [of.together for of in coded],
        "codes, a file each": [of.alone for of in coded],
        "JPEG": pillow_rates(first.images, "JPEG"),
        "WebP": pillow_rates(first.images, "WEBP"),
    }
    for line in rate_table(rates):
        print(line)
    write_json(
        output / "rates.json", {name: [point._asdict() for point in points] for name, points in rates.items()}
    )
    with writing(output):
        draw_rates(rates, output / "plots")
        bits = ", ".join(f"{of.together.bits:.2f}" for of in coded)
        draw_grid(
            [of[:SHOWN] for of in (first.images, *(of.rebuilt for of in coded))],
            output / "plots" / "rebuilt.png",
            title=f"held-out images, and below them what is left at {bits} bits a pixel",
        )
    print(f"files, figures and plots are in {output}")
    return 0


if __name__ == "__main__":
    module = "python -m experiments.compression"
    sys.exit(guarded(lambda: compress(tyro.cli(Arguments, prog=module, description=__doc__))))
