"""What an experiment with quantised images shows at its end: the codes in use, images rebuilt from them, and probes."""

from collections.abc import Callable, Mapping

import grain
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.evals.codes import code_use, draw_use
from ssl_jax.evals.pictures import draw_grid
from ssl_jax.method import Batch, Represent, Tree
from ssl_jax.methods.quantized_autoencoder import QuantizedAutoencoder
from ssl_jax.reports.images import SHOWN, report_probes
from ssl_jax.training.experiment import Report, Represented
from ssl_jax.training.folder import write_json, writing


def find_codes(
    represent: Callable[[Represent, Mapping[str, Tree], grain.MapDataset], Represented],
    variables: Mapping[str, Tree],
    encode: Represent,
    images: grain.MapDataset,
) -> np.ndarray:
    """int64 [images, places], the codes of every image.

    represent: of a report. encode: `(params, extras, batch) -> codes`, int32 [batch, ...].
    """

    def halves(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        found = encode(params, extras, batch)
        # Numbers of up to 2^31 - 1, of which a float32 holds 24 bits.
        both = jnp.stack([found >> 16, found & 0xFFFF], -1)
        return both.reshape(both.shape[0], -1)

    seen = represent(halves, variables, images).features.astype(np.int64)
    return (seen[:, 0::2] << 16) + seen[:, 1::2]


def report_codes(report: Report, made: QuantizedAutoencoder, *, probe_examples: int, seed: int) -> None:
    """Of held-out images; probes of the codes' vectors stand beside those of an untrained encoder and of raw pixels.

    probe_examples: labelled images that probes are fitted to, at most; a seeded choice.
    """
    heldout = report.data.heldout[-1]["heldout"]

    shapes = {}

    def pictures(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        seen = made.preprocess(batch)
        rebuilt = made.decode(params, extras, made.encode(params, extras, seen))
        shapes["pair"] = (2, *seen.shape[1:])
        return jnp.stack([seen, rebuilt], 1).reshape(seen.shape[0], -1)

    def codes(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        return made.encode(params, extras, made.preprocess(batch))

    chosen = find_codes(report.represent, report.variables, codes, heldout)
    use, places = code_use(chosen, made.codes), chosen.shape[1]
    error = report.metrics["heldout"]["error"]
    psnr = -10 * np.log10(error) if error > 0 else float("inf")
    report.log(
        f"held-out images: squared error of a pixel {error:.5f} (PSNR {psnr:.1f} dB) from {places} codes, "
        f"{places * np.log2(made.codes):.0f} bits; {use.used} of {made.codes} codes in use, "
        f"perplexity {use.perplexity:.1f}"
    )
    pairs = report.represent(pictures, report.variables, heldout[: min(SHOWN, len(heldout))]).features
    if report.writes:
        plots = report.folder / "plots"
        metrics = {"error": error, "perplexity": use.perplexity, "used": use.used}
        write_json(report.folder / "codes.json", {**metrics, "codes": made.codes, "places": places})
        with writing(plots):
            draw_use(use, plots / "code_use.png", title="codes of the held-out images")
            draw_grid(
                list(zip(*(pair.reshape(shapes["pair"]) for pair in pairs), strict=True)),
                plots / "rebuilt.png",
                title=f"held-out images, and below them what is rebuilt from {places} codes each",
            )
    report_probes(
        report,
        {"codes": made.represent},
        untrained=made.represent,
        probe_examples=probe_examples,
        seed=seed,
    )
