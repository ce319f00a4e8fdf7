"""Images as files of codes: written by a range coder under a learned prior, read back, and rebuilt from the files."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from ssl_jax.decoding.entropy_coding import HEADER, compress, decompress, fingerprint
from ssl_jax.errors import UserError
from ssl_jax.evals.compression import Rate, rate
from ssl_jax.method import Batch, Tree
from ssl_jax.methods.code_prior import CodePrior
from ssl_jax.reports.codes import find_codes
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.training.folder import writing
from ssl_jax.training.representations import representations

ALONE = 16
"""Images that also get files of their own."""


class Coded(NamedTuple):
    """Held-out images before and after, uint8, and what they take: all in one file, and the first in a file each."""

    images: np.ndarray
    rebuilt: np.ndarray
    together: Rate
    alone: Rate


def code_images(
    run: OpenedRun, prior: CodePrior, folder: epath.Path, *, images: int, log: Callable[[str], None]
) -> Coded:
    """Writes codes.sjc, of all held-out images, and image-N.sjc, of the first ones, and rebuilds images from the files.

    Args:
      run: of experiments.vqvae_prior; its newest checkpoint is used. folder: where the files are written.
      images: held-out images, at most.

    Raises:
      UserError: the codes read back are not those that were written, or a file cannot be written.
    """
    variables = run.restore(run.checkpoints.steps()[-1])
    extras = {key: value for key, value in variables.items() if key != "params"}
    heldout = run.data.heldout[0]["heldout"]
    heldout = heldout[: min(images, len(heldout))]
    represent = partial(representations, mesh=run.mesh, batch_size=run.experiment.train.batch_size)

    def pixels(params: Tree, extras: dict[str, Tree], batch: Batch) -> jax.Array:
        seen = prior.preprocess(batch)
        return seen.reshape(seen.shape[0], -1)

    codes = find_codes(represent, variables, prior.encode, heldout).astype(np.int32)
    model, how = fingerprint(variables), {"begin": prior.begin}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)

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

    found, size = through(folder / "codes.sjc", codes)
    rebuilt = np.asarray(jax.jit(prior.decode)(extras, found))
    rebuilt = np.round(255 * rebuilt).astype(np.uint8)
    real = represent(pixels, variables, heldout).features.astype(np.uint8).reshape(rebuilt.shape)
    first = min(ALONE, len(codes))
    single = sum(through(folder / f"image-{i}.sjc", codes[i : i + 1])[1] for i in range(first))
    log(
        f"{folder}: {len(codes)} images of {prior.places} of {prior.codes} codes in {size:,} bytes, "
        f"{8 * size / len(codes):.1f} bits an image; alone, {single / first:.1f} bytes each. All codes came back."
    )
    return Coded(
        real,
        rebuilt,
        rate(rebuilt, real, size=size, headers=HEADER.size),
        rate(rebuilt[:first], real[:first], size=single, headers=HEADER.size * first),
    )
