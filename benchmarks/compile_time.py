"""How long BERT's training step takes to compile: 4 layers, 24 of the same width, and what users wait for.

    tests/parity/run.sh python -m benchmarks.compile_time [--rounds 3]

Seconds of tracing and lowering in Python and of compiling in XLA, for one CPU device; sides take turns. 24 layers
should take at most 1.5 times as long as 4, since repeated layers are compiled once.
"""

import argparse
import statistics
import time

from benchmarks.bert_step import PREDICTIONS, experiment
from experiments.bert import OFFLINE, build
from ssl_jax.training.compiling import Program
from ssl_jax.training.sharding import make_mesh

SIDES = {
    "4 layers": lambda: experiment(0.1, PREDICTIONS, layers=4),
    "24 layers": lambda: experiment(0.1, PREDICTIONS, layers=24),
    "default preset": lambda: build(OFFLINE),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    measure(SIDES["default preset"])  # warms up the libraries
    seconds = {name: [] for name in SIDES}
    for _ in range(rounds):
        for name, make in SIDES.items():
            seconds[name].append(measure(make))

    print(f"BERT's training step on one CPU device, medians of {rounds} rounds:")
    for name, times in seconds.items():
        trace, compilation = (statistics.median(part) for part in zip(*times, strict=True))
        print(f"  {name:15} {trace:5.1f} s tracing and lowering, {compilation:5.1f} s compiling")
    four, many = ([sum(times) for times in seconds[name]] for name in ("4 layers", "24 layers"))
    ratios = [m / f for m, f in zip(many, four, strict=True)]
    print(f"  24 layers take {statistics.median(ratios):.2f} times as long as 4")


def measure(make):
    """Seconds of (tracing and lowering, compiling) a step."""
    built = make()
    program = Program(built, make_mesh(built.mesh))
    start = time.perf_counter()
    lowered = program.trace_train_step(built.phases[0]).lower()
    lowered_at = time.perf_counter()
    lowered.compile()
    return lowered_at - start, time.perf_counter() - lowered_at


if __name__ == "__main__":
    main()
