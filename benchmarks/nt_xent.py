"""NT-Xent, forward and backward: milliseconds on the CPU, beside lightly's `NTXentLoss` in the same run.

    python -m benchmarks.nt_xent [--rounds 9]

512 images in two views each, 128 numbers wide, temperature 0.5, float32, two threads. Both sides start from the same
projections and end with the loss and the gradient of both views; that they agree is checked first. Ours is compiled,
lightly's runs in PyTorch eager without a memory bank. Sides take turns.
"""

import argparse
import os
import statistics

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.turns import ratio, take_turns, timed
from ssl_jax.losses.joint_embedding import nt_xent

IMAGES, WIDTH, TEMPERATURE, THREADS = 512, 128, 0.5, 2
CALLS = 20
TOLERANCE = 1e-5
OURS, PEER = "ssl_jax", "lightly, PyTorch eager"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    chance = np.random.default_rng(0)
    first = chance.normal(size=(IMAGES, WIDTH))
    pair = [x.astype(np.float32) for x in (first, first + chance.normal(size=first.shape))]

    sides, results = {}, {}
    sides[OURS], results[OURS] = ours(pair)
    try:
        sides[PEER], results[PEER] = peer(pair)
        compare(results[OURS], results[PEER])
    except ImportError as error:
        print(f"no peer to compare with: {error}")

    turns = {name: lambda many=many: timed(many, CALLS) for name, many in sides.items()}
    seconds = take_turns(turns, rounds)
    cores = len(os.sched_getaffinity(0))
    print(f"NT-Xent, {2 * IMAGES} views of width {WIDTH}, {cores} cores, medians of {rounds} rounds:")
    for name, times in seconds.items():
        beside = "" if name == OURS else f"   ours is {ratio(times, seconds[OURS]):.2f} x"
        print(f"  {name:24} {statistics.median(times) * 1e3:7.2f} ms{beside}")


def compare(ours, theirs):
    """Ends the run unless losses and gradients are the same."""
    differences = [float(np.abs(np.subtract(a, b)).max()) for a, b in zip(ours, theirs, strict=True)]
    largest = max(float(np.abs(gradient).max()) for gradient in theirs[1:])
    print(
        f"loss {ours[0]:.6f}; the peer's differs by {differences[0]:.1e}, "
        f"gradients of up to {largest:.1e} by {max(differences[1:]):.1e}"
    )
    if differences[0] > TOLERANCE * theirs[0] or max(differences[1:]) > TOLERANCE * largest:
        raise SystemExit("the sides do not compute the same; their times would mean nothing")


def ours(pair):
    """A function that makes many calls, and (loss, gradient of the first view, of the second)."""

    def mean(pair):
        total, weight = nt_xent(*pair, jnp.ones(IMAGES), temperature=TEMPERATURE)
        return total / weight

    both = jax.jit(jax.value_and_grad(mean))
    arrays = [jnp.asarray(x) for x in pair]

    def many(calls):
        for _ in range(calls):
            jax.block_until_ready(both(arrays))

    loss, gradients = both(arrays)
    return many, (float(loss), *map(np.asarray, gradients))


def peer(pair):
    """The same of lightly."""
    import torch
    from lightly.loss import NTXentLoss

    torch.set_num_threads(THREADS)
    criterion = NTXentLoss(temperature=TEMPERATURE, memory_bank_size=0)
    tensors = [torch.tensor(x, requires_grad=True) for x in pair]

    def once():
        loss = criterion(*tensors)
        return loss, torch.autograd.grad(loss, tensors)

    def many(calls):
        for _ in range(calls):
            once()

    loss, gradients = once()
    return many, (float(loss.detach()), *(x.numpy() for x in gradients))


if __name__ == "__main__":
    main()
