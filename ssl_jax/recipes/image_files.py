"""Images as files of codes: a range coder writes them under the learned prior, and they are read and decoded again."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from ssl_jax.decoding.entropy_coding import HEADER, compress, decompress, fingerprint
from ssl_jax.errors import UserError
from ssl_jax.evals.compression import Rate, rate
from ssl_jax.files import write_whole
from ssl_jax.method import Batch, Extras, Tree, split_variables
from ssl_jax.methods.code_prior import CodePrior
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.training.mapping import map_examples

ALONE = 16
"""Images that also get files of their own."""


class Coded(NamedTuple):
    """Held-out images as files of codes.

    Attributes:
      images: uint8 `[images, height, width, channels]`.
      reconstructions: what the decoder makes of their codes; of the same shape and dtype.
      together: bits and quality of all images in one file.
      alone: of the first images in a file each.
    """

    images: np.ndarray
    reconstructions: np.ndarray
    together: Rate
    alone: Rate


class CodeFiles:
    """Files of codes, written under the prior of one model.

    Attributes:
      prior: over the codes.
      variables: of the model, {"params": ..., **extras}.
    """

    def __init__(self, prior: CodePrior, variables: dict[str, Tree]) -> None:
        self.prior, self.variables = prior, variables
        self._model = fingerprint(variables)

    def round_trip(self, file: epath.Path, codes: np.ndarray) -> tuple[np.ndarray, int]:
        """Writes codes `[images, places]` into a file and reads them back.

        Returns:
          The codes that were read, and the size of the file in bytes.

        Raises:
          UserError: the file cannot be written, or the codes read are not those that were written.
        """
        shared = {"begin": self.prior.begin, "model": self._model}
        params = self.variables["params"]
        write_whole(file, compress(self.prior.decoder, params, codes, **shared))
        content = file.read_bytes()
        found = decompress(
            self.prior.decoder,
            params,
            content,
            most=len(codes),
            places=self.prior.places,
            name=str(file),
            **shared,
        )
        if not np.array_equal(found, codes):
            raise UserError(f"{file}: the codes read back are not those that were written.")
        return found, len(content)


def code_images(
    run: OpenedRun, prior: CodePrior, folder: epath.Path, *, images: int, log: Callable[[str], None]
) -> Coded:
    """Writes codes.sjc, of all held-out images, and image-N.sjc, of the first ones, and decodes images from the files.

    Args:
      run: of experiments.vqvae_prior.
      prior: built from its configuration.
      folder: where the files are written.
      images: held-out images, at most.
      log: prints a line.

    Raises:
      UserError: the codes read back are not those that were written, or a file cannot be written.
    """
    variables = run.restore()
    _, extras = split_variables(variables)
    heldout = run.data.heldout[0]["heldout"]
    heldout = heldout[: min(images, len(heldout))]

    def encode(params: Tree, extras: Extras, batch: Batch) -> tuple[jax.Array, jax.Array]:
        return prior.preprocess(batch).astype("uint8"), prior.encode(params, extras, batch)

    originals, codes = map_examples(
        encode, variables, heldout, mesh=run.mesh, batch_size=run.experiment.train.batch_size
    )
    files = CodeFiles(prior, variables)
    found, size = files.round_trip(folder / "codes.sjc", codes)
    reconstructions = np.asarray(jax.jit(prior.decode)(extras, found))
    reconstructions = np.round(255 * reconstructions).astype(np.uint8)
    first = min(ALONE, len(codes))
    single = sum(files.round_trip(folder / f"image-{i}.sjc", codes[i : i + 1])[1] for i in range(first))
    log(
        f"{folder}: {len(codes)} images of {prior.places} of {prior.codes} codes in {size:,} bytes, "
        f"{8 * size / len(codes):.1f} bits an image; alone, {single / first:.1f} bytes each. All codes came back."
    )
    return Coded(
        originals,
        reconstructions,
        rate(reconstructions, originals, size=size, headers=HEADER.size),
        rate(reconstructions[:first], originals[:first], size=single, headers=HEADER.size * first),
    )
