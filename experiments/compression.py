"""Images as files of codes: how small they are, and how much is left of the images, beside JPEG and WebP.

    python -m experiments.compression                              # offline: digits, trained first; 3 minutes
    python -m experiments.compression --codes 4 16 64 256
    python -m experiments.compression mnist --each.vqvae.data.source DIR    # a folder of idx files, half an hour
    python -m experiments.compression --runs runs/prior-8 runs/prior-64      # existing runs of experiments.vqvae_prior

Each run is a point of the curve. A range coder writes the codes of held-out images under the learned prior: all of them
into one file, codes.sjc, and each of the first 16 into a file of its own. The files are read again and decoded to the
same codes, or the command fails. The images that the decoder makes of these codes are compared with the originals.
JPEG and WebP are Pillow's, a file for each image. Most of such a file is its header if the image is small; the table
therefore also has all sizes without headers: of a JPEG only the scan counts, of a WebP what follows the header of its
frame, of our files what follows theirs. The two networks that decode our files are not counted, and were trained on
images like these.

300 held-out digits of 8x8 pixels, seed 0, bits a pixel and PSNR, all images in one file: 8 codes 0.47 and 19.7 dB, 32
codes 0.71 and 21.8 dB, 128 codes 1.03 and 24.2 dB; a file each, 3.7 to 4.2 bits. JPEG without headers 0.53 and 14.2 dB,
1.8 and 18.9 dB, 2.7 and 23.0 dB, with them 21 bits and more; WebP at its least 8.0 (4.2 without) and 20.1 dB. MNIST,
28x28: 8 codes 0.07 and 20.0 dB, 128 codes 0.14 and 22.8 dB, 64 codes in grids of 14x14 (--each.vqvae.network.strides
2) 0.30 and 28.0 dB; a file each, 0.33, 0.40 and 0.56. JPEG without headers 0.66 and 22.9 dB, 1.4 and 28.3 dB, WebP 1.0
and 27.5 dB.
"""

from dataclasses import dataclass, replace

import numpy as np
from etils import epath

from experiments import vqvae_prior
from ssl_jax.cli import main
from ssl_jax.domains import CodebookSize, NonEmptyText, PositiveInt, Settings
from ssl_jax.errors import UserError
from ssl_jax.evals.compression import draw_rates, pillow_rates
from ssl_jax.evals.pictures import draw_grid
from ssl_jax.runs.prerequisites import PlannedRun
from ssl_jax.runs.study import Figures, NamedRun, Runs, Study, Table

SHOWN = 16
"""Images in the plot of reconstructions."""


@dataclass(frozen=True)
class Config(Settings):
    """The sizes of held-out images as codes, and what is left of them."""

    each: vqvae_prior.Config
    """The configuration of each run that is trained; the size of its codebook is replaced by one of `codes`."""
    codes: tuple[CodebookSize, ...] = (8, 32, 128)
    """Sizes of the codebook; a run is trained for each."""
    runs: tuple[NonEmptyText, ...] = ()
    """Existing runs of experiments.vqvae_prior on the same data, RUN or RUN@STEP, to take instead of training any."""
    images: PositiveInt = 1_000
    """Held-out images, at most."""


PRESETS = {name: Config(prior) for name, prior in vqvae_prior.PRESETS.items()}


def study(config: Config) -> Study:
    """A run for each size of the codebook, or those that are named, beside JPEG and WebP."""
    module = vqvae_prior.__name__
    if not config.runs and not config.codes:
        raise UserError("no run: give --codes to train with, or name existing runs with --runs.")
    runs = {run: NamedRun(run, module) for run in config.runs} or {
        f"run-{codes}": PlannedRun(module, next(iter(PRESETS)), with_codes(config.each, codes))
        for codes in config.codes
    }
    return Study("rates", runs, lambda runs, folder: tabulate(runs, folder, config.images), draw)


def with_codes(prior: vqvae_prior.Config, codes: int) -> vqvae_prior.Config:
    """The configuration with so many codes in the codebook."""
    codebook = replace(prior.vqvae.codebook, codes=codes)
    return replace(prior, vqvae=replace(prior.vqvae, codebook=codebook))


def tabulate(runs: Runs, folder: epath.Path, images: int) -> Table:
    """Writes the files of codes, and compares their sizes and reconstructions with those of JPEG and WebP."""
    from ssl_jax.recipes.image_files import code_images
    from ssl_jax.reports.compression import rate_table

    coded = {
        name: code_images(
            run, vqvae_prior.make_prior(run.config), folder / f"files-{number}", images=images, log=print
        )
        for number, (name, run) in enumerate(runs.items(), 1)
    }
    first, *others = coded
    for name in others:
        if not np.array_equal(coded[name].images, coded[first].images):
            raise UserError(
                f"{name}: its held-out images are not those of {first}; compare runs of one data set."
            )
    rates = {
        "codes, one file": [of.together for of in coded.values()],
        "codes, a file each": [of.alone for of in coded.values()],
        "JPEG": pillow_rates(coded[first].images, "JPEG"),
        "WebP": pillow_rates(coded[first].images, "WEBP"),
    }
    values = {name: [point._asdict() for point in points] for name, points in rates.items()}
    return Table(values, rate_table(rates), details=(rates, list(coded.values())))


def draw(table: Table, runs: Runs) -> Figures:
    """Quality against size, and the reconstructions of every run below their images."""
    rates, coded = table.details
    bits = ", ".join(f"{of.together.bits:.2f}" for of in coded)
    reconstructions = draw_grid(
        [of[:SHOWN] for of in (coded[0].images, *(of.reconstructions for of in coded))],
        title=f"held-out images, and below them their reconstructions from {bits} bits a pixel",
    )
    return {**draw_rates(rates), "reconstructions": reconstructions}


if __name__ == "__main__":
    main(PRESETS, study=study)
