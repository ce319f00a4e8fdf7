"""Images as files of codes: how small, and how much is left of them, beside JPEG and WebP.

    python -m experiments.vqvae_prior --workdir runs/prior-64
    python -m experiments.vqvae_prior --vqvae.codebook.codes 8 --workdir runs/prior-8
    python -m experiments.compression runs/prior-8 runs/prior-64      # a point of the curve each

The codes of held-out images are written to RUN/compression/ by a range coder under the learned prior: all in one file,
codes.sjc, and each of the first 16 in one of its own. The files are read back from the disk and decoded to the same
codes, or the command fails. What the decoder makes of the codes is compared with the images. JPEG and WebP are
Pillow's, a file for each image. Of such a file of a small image most is its header; all sizes therefore also stand
without headers: the scan of a JPEG (whose tables are then for free), a WebP after the header of its frame, and our
files after theirs. What our decoder has to know, the two networks, is counted nowhere, and they were trained on images
like these.

300 held-out digits of 8x8 pixels, seed 0, bits a pixel and PSNR, all images in one file: 8 codes 0.43 and 17.6 dB, 64
codes 0.73 and 19.6 dB; a file each, 3.6 and 4.0 bits. JPEG without headers 0.53 and 14.2 dB, 1.76 and 18.9 dB, with
them 21 bits and more; WebP at its least 8.0 (4.2 without) and 20.1 dB. Beyond 20 dB only JPEG and WebP go on.
"""

import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Annotated, NamedTuple

import jax
import numpy as np
import tyro
from etils import epath

from experiments import vqvae_prior
from ssl_jax.cli import guarded, restore_config
from ssl_jax.codes_report import find_codes
from ssl_jax.decoding.entropy_coding import HEADER, compress, decompress, fingerprint
from ssl_jax.errors import UserError
from ssl_jax.evals.compression import Rate, draw_rates, pillow_rates, rate, rate_table
from ssl_jax.evals.pictures import draw_grid
from ssl_jax.image_report import SHOWN
from ssl_jax.method import Batch, Tree
from ssl_jax.runs import open_run
from ssl_jax.training.folder import CONFIG, read_json, write_json, writing
from ssl_jax.training.representations import representations

ALONE = 16
"""Images that also get files of their own."""


@dataclass(frozen=True)
class Arguments:
    """The sizes of held-out images as codes, and what is left of them."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Runs of experiments.vqvae_prior, on the same data; of each, its newest checkpoint."""
    images: int = 1_000
    """Held-out images, at most."""


class Coded(NamedTuple):
    """What was found of a run: of all images in one file, and of the first in a file each."""

    images: np.ndarray
    rebuilt: np.ndarray
    together: Rate
    alone: Rate


def code_run(name: str, images: int, say: Callable[[str], None]) -> Coded:
    """Writes the codes of held-out images, reads them back, and rebuilds the images from what was read."""
    folder = epath.Path(name).expanduser()
    settings = read_json(folder / CONFIG)
    if settings["experiment"] != "experiments.vqvae_prior":
        raise UserError(
            f"{folder}: is a run of {settings['experiment']}; expected one of experiments.vqvae_prior."
        )
    config = restore_config(vqvae_prior.PRESETS[settings["preset"]], settings["config"])
    run, prior = open_run(folder), vqvae_prior.make_prior(config)
    with closing(run.checkpoints):
        variables = run.restore(run.checkpoints.steps()[-1])
    extras = {key: value for key, value in variables.items() if key != "params"}
    heldout = run.data.heldout[0]["heldout"]
    heldout = heldout[: min(images, len(heldout))]
    represent = partial(representations, mesh=run.mesh, batch_size=run.experiment.train.batch_size)

    def pixels(params: Tree, extras: dict[str, Tree], batch: Batch) -> jax.Array:
        seen = prior.see(batch)
        return seen.reshape(seen.shape[0], -1)

    codes = find_codes(represent, variables, prior.encode, heldout).astype(np.int32)
    model, how = fingerprint(variables), {"begin": prior.begin}
    output = folder / "compression"
    with writing(output):
        output.mkdir(exist_ok=True)

    def through(file: epath.Path, codes: np.ndarray) -> tuple[np.ndarray, int]:
        """The codes read back from a file, and its size in bytes."""
        with writing(file):
            file.write_bytes(compress(prior.decoder, variables["params"], codes, model=model, **how))
        content = file.read_bytes()
        found = decompress(
            prior.decoder,
            variables["params"],
            content,
            places=prior.places,
            model=model,
            name=str(file),
            **how,
        )
        if not np.array_equal(found, codes):
            raise UserError(f"{file}: the codes read back are not those that were written.")
        return found, len(content)

    found, size = through(output / "codes.sjc", codes)
    rebuilt = np.asarray(jax.jit(prior.decode)(extras, found))
    rebuilt = np.round(255 * rebuilt).astype(np.uint8)
    real = represent(pixels, variables, heldout).features.astype(np.uint8).reshape(rebuilt.shape)
    first = min(ALONE, len(codes))
    single = sum(through(output / f"image-{i}.sjc", codes[i : i + 1])[1] for i in range(first))
    say(
        f"{folder}: {len(codes)} images of {prior.places} of {prior.codes} codes in {size:,} bytes, "
        f"{8 * size / len(codes):.1f} bits an image; alone, {single / first:.1f} bytes each. All codes came back."
    )
    return Coded(
        real,
        rebuilt,
        rate(rebuilt, real, size=size, headers=HEADER.size),
        rate(rebuilt[:first], real[:first], size=single, headers=HEADER.size * first),
    )


def main(arguments: list[str]) -> int:
    """Compresses with the runs named on the command line. Returns the exit code."""
    module = "python -m experiments.compression"
    chosen = tyro.cli(Arguments, args=arguments, prog=module, description=__doc__)
    if not chosen.runs:
        raise UserError("no run: name at least one of experiments.vqvae_prior.")
    coded = {name: code_run(name, chosen.images, print) for name in chosen.runs}
    first = next(iter(coded.values()))
    for name, of in coded.items():
        if not np.array_equal(of.images, first.images):
            raise UserError(
                f"{name}: its held-out images are not those of {chosen.runs[0]}; compare runs of one data set."
            )
    rates = {
        "codes, one file": [of.together for of in coded.values()],
        "codes, a file each": [of.alone for of in coded.values()],
        "JPEG": pillow_rates(first.images, "JPEG"),
        "WebP": pillow_rates(first.images, "WEBP"),
    }
    for line in rate_table(rates):
        print(line)
    output = epath.Path(chosen.runs[0]).expanduser() / "compression"
    write_json(
        output / "rates.json", {name: [point._asdict() for point in points] for name, points in rates.items()}
    )
    with writing(output):
        draw_rates(rates, output / "plots")
        bits = ", ".join(f"{of.together.bits:.2f}" for of in coded.values())
        draw_grid(
            [of[:SHOWN] for of in (first.images, *(of.rebuilt for of in coded.values()))],
            output / "plots" / "rebuilt.png",
            title=f"held-out images, and below them what is left at {bits} bits a pixel",
        )
    print(f"files, figures and plots are in {output}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
