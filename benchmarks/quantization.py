"""Vector quantisation on the CPU, beside vector-quantize-pytorch in the same run; and the memory of a large codebook.

    tests/parity/run.sh python -m benchmarks.quantization [--rounds 9]

16,384 vectors of 64 and 512 codes, float32, two threads; the settings of VQ-VAE's paper: decay 0.99, smoothing 1e-5,
commitment 0.25, no restarts. A call finds the nearest codes, returns their vectors and the commitment loss, and moves
the codebook by its moving averages; no gradient is asked for. Both sides start from the same vectors and codebook, and
that they end with the same is checked first. Ours is compiled, the peer runs in PyTorch eager without a gradient tape.
Each side is a process of its own, with large pages, so that its peak of memory is its own. They take turns.

A third process quantises 262,144 vectors with 8,192 codes, whose distances would be 8 GiB.
"""

import argparse
import importlib.util
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.turns import Side, ratio, serve, take_turns, timed

VECTORS, WIDTH, CODES, THREADS = 16_384, 64, 512, 2
MANY_VECTORS, MANY_CODES = 262_144, 8_192
DECAY, SMOOTHING, COMMITMENT = 0.99, 1e-5, 0.25
CALLS = 10
TOLERANCE = 1e-5
OURS, PEER = "ssl_jax", "vector-quantize-pytorch"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        which, file = arguments.serve
        live(which, file)
        return
    names = [OURS]
    if importlib.util.find_spec("vector_quantize_pytorch"):
        names.append(PEER)
    else:
        print("no peer to compare with: pip install vector-quantize-pytorch in .venv-parity")
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, f"{name}.npz") for name in names}
        sides = {name: Side("benchmarks.quantization", "--serve", name, files[name]) for name in names}
        before = {name: side.ask("memory") for name, side in sides.items()}
        for side in sides.values():
            side.ask("first")
        if PEER in names:
            compare(*(np.load(files[name]) for name in names))
    seconds = take_turns(
        {name: lambda side=side: side.ask("step") for name, side in sides.items()}, arguments.rounds
    )
    cores = len(os.sched_getaffinity(0))
    print(
        f"{VECTORS:,} vectors of {WIDTH}, {CODES} codes, {cores} cores, medians of {arguments.rounds} rounds:"
    )
    for name, side in sides.items():
        middle, peak = statistics.median(seconds[name]), side.ask("memory")
        beside = "" if name == OURS else f"   ours is {ratio(seconds[name], seconds[OURS]):.2f} x"
        print(
            f"  {name:24} {middle * 1e3:7.1f} ms, {peak:5.0f} MiB at most, {before[name]:.0f} before{beside}"
        )
        side.close()
    large = Side("benchmarks.quantization", "--serve", "large", os.devnull)
    before, seconds, peak = (large.ask(what) for what in ("memory", "step", "memory"))
    large.close()
    print(
        f"  {OURS}, {MANY_VECTORS:,} vectors, {MANY_CODES:,} codes: {seconds:.1f} s, {peak:,.0f} MiB at most, "
        f"{before:,.0f} before; all distances would be {MANY_VECTORS * MANY_CODES / 2**28:.0f} GiB"
    )


def live(which, file):
    """The life of one side. It writes what its first call made to `file`."""
    vectors, codes = (MANY_VECTORS, MANY_CODES) if which == "large" else (VECTORS, CODES)
    chance = np.random.default_rng(0)
    x, book = (chance.standard_normal((n, WIDTH), np.float32) for n in (vectors, codes))
    step, results = peer(x, book) if which == PEER else ours(x, book)

    def first():
        step(1)
        np.savez(file, **results())
        return 0.0

    serve({"first": first, "step": lambda: timed(step, 1 if which == "large" else CALLS)})


def compare(ours, theirs):
    """Ends the run unless codes, loss and the codebook after the first call are the same."""
    agree = np.mean(ours["codes"] == theirs["codes"])
    apart = np.abs(ours["codebook"] - theirs["codebook"]).max()
    losses = float(ours["loss"]), float(theirs["loss"])
    print(
        f"first call: {agree:.3%} of the codes agree, codebooks within {apart:.1e}, "
        f"losses {losses[0]:.6f} and {losses[1]:.6f}"
    )
    # A few codes may differ: in some processes on an Intel CPU, PyTorch's products are less exact than float32; that
    # tells distances wrong that differ by 0.03. Those codes' vectors differ then.
    vectors_differ = agree == 1 and apart > 1e-3
    if agree < 0.999 or vectors_differ or abs(losses[0] - losses[1]) > TOLERANCE * losses[1]:
        raise SystemExit("the sides do not compute the same; their times would mean nothing")


def ours(x, book):
    """A function that makes many calls, and one that tells what the last has made."""
    import jax
    import jax.numpy as jnp

    from ssl_jax.losses.quantization import commitment_loss
    from ssl_jax.models.quantization.codebook import CodebookConfig, look_up, nearest
    from ssl_jax.models.quantization.state import accumulate, ema_update, init_state
    from ssl_jax.models.quantization.straight_through import straight_through

    config = CodebookConfig(len(book), WIDTH, decay=DECAY, smoothing=SMOOTHING, kmeans=0, restart_below=0.0)

    def quantize(state, x):
        codes = nearest(state.vectors, x)
        chosen = look_up(state.vectors, codes)
        total, weight = commitment_loss(x, chosen, jnp.ones(codes.shape))
        state = ema_update(config, accumulate(config, state, jax.random.key(0), x, codes))
        return state, (straight_through(chosen, x), codes, COMMITMENT * total / weight)

    compiled = jax.jit(quantize, donate_argnums=0)
    state = init_state(jax.random.key(0), config)
    # The sums are a copy of their own: both are donated.
    last = [state._replace(vectors=jnp.asarray(book), sums=jnp.array(book, copy=True)), None]
    x = jnp.asarray(x)

    def step(calls):
        for _ in range(calls):
            last[:] = compiled(last[0], x)
        jax.block_until_ready(last)

    def results():
        _, codes, loss = last[1]
        return {"codebook": np.asarray(last[0].vectors), "codes": np.asarray(codes), "loss": np.asarray(loss)}

    return step, results


def peer(x, book):
    """The same of vector-quantize-pytorch."""
    import torch
    from vector_quantize_pytorch import VectorQuantize

    torch.set_num_threads(THREADS)
    layer = VectorQuantize(
        dim=WIDTH,
        codebook_size=len(book),
        decay=DECAY,
        eps=SMOOTHING,
        commitment_weight=COMMITMENT,
        threshold_ema_dead_code=0,
        rotation_trick=False,
    ).train()
    state = layer._codebook
    state.embed.data[0] = torch.tensor(book)
    state.embed_avg.data[0] = torch.tensor(book)
    x, last = torch.tensor(x)[None], []

    @torch.no_grad()
    def step(calls):
        for _ in range(calls):
            last[:] = layer(x)

    def results():
        _, codes, loss = last
        return {"codebook": state.embed[0].numpy(), "codes": codes[0].numpy(), "loss": loss.sum().numpy()}

    return step, results


if __name__ == "__main__":
    main()
