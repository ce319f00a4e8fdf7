"""What the training loop adds to the compiled step, on BERT with real text.

    tests/parity/run.sh python -m benchmarks.loop_overhead [--size mini] [--rounds 6]

One run of the loop as users have it: text read and put together by a thread, figures logged, progress shown; the
evaluation and the checkpoint come after the last step. Every 50 steps it is held up while the same compiled step is
called 50 times back to back on the batch at hand, so that both are measured in the same minutes.
"""

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import asdict, replace

import jax
from etils import epath

from experiments.bert import OFFLINE, PhaseConfig, build
from ssl_jax.models.bert import SIZES
from ssl_jax.training.loop import Run

STEPS = 50


class TakingTurns:
    """A compiled step that, every `STEPS` calls, also runs back to back. Holds seconds a step of both, per turn."""

    def __init__(self, compiled):
        self.compiled = compiled
        self.calls, self.started = 0, 0.0
        self.in_loop, self.bare = [], []

    def __call__(self, state, batch):
        if self.calls % STEPS == 0:
            jax.block_until_ready(state)
            if self.calls:
                self.in_loop.append((time.perf_counter() - self.started) / STEPS)
            state = self.back_to_back(state, batch)
            self.started = time.perf_counter()
        self.calls += 1
        return self.compiled(state, batch)

    def back_to_back(self, state, batch):
        started = time.perf_counter()
        for _ in range(STEPS):
            state, _ = self.compiled(state, batch)
        jax.block_until_ready(state)
        self.bare.append((time.perf_counter() - started) / STEPS)
        return state


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=("tiny", "mini"), default="mini")
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()

    steps = (arguments.rounds + 1) * STEPS + 1  # the first turn warms up
    config = replace(
        OFFLINE,
        model=replace(SIZES[arguments.size], vocab_size=OFFLINE.model.vocab_size),
        steps=steps,
        phases=(PhaseConfig(length=128),),
        schedule=replace(OFFLINE.schedule, warmup_steps=0),
        train=replace(OFFLINE.train, batch_size=32, eval_every=2 * steps, save_every=2 * steps),
    )
    experiment = build(config)._replace(report=None)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(experiment, epath.Path(folder) / "run", asdict(config))
        turns, compiled = [], run.program.train_step

        def taking_turns(*arguments):
            turns.append(TakingTurns(compiled(*arguments)))
            return turns[0]

        run.program.train_step = taking_turns
        run.train()

    (turns,) = turns
    # A turn in the loop is compared with the mean of the bare turns before and after it.
    around = zip(turns.bare[1:], turns.bare[2:], strict=False)
    overheads = [
        loop / statistics.mean(bare) - 1 for loop, bare in zip(turns.in_loop[1:], around, strict=False)
    ]
    print(
        f"BERT-{arguments.size}, 32 x 128 tokens, vocabulary {config.model.vocab_size}, "
        f"{len(os.sched_getaffinity(0))} cores, medians of {len(overheads)} turns of {STEPS} steps:"
    )
    print(f"  bare compiled step {statistics.median(turns.bare[1:]) * 1e3:7.1f} ms")
    print(f"  step in the loop   {statistics.median(turns.in_loop[1:]) * 1e3:7.1f} ms")
    print(
        f"  overhead {statistics.median(overheads):+.1%}, in turns {' '.join(f'{x:+.1%}' for x in overheads)}"
    )


if __name__ == "__main__":
    main()
