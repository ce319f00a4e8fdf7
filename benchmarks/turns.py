"""Sides of a comparison that take turns, in this process or each in one of its own."""

import argparse
import os
import statistics
import subprocess
import sys
import time

LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # as tpu_setup.sh sets it for users


def timed(many, calls):
    """Seconds a call takes: `many(calls)` calls and waits for them. A first call is not counted."""
    many(1)
    start = time.perf_counter()
    many(calls)
    return (time.perf_counter() - start) / calls


def take_turns(sides, rounds):
    """What the functions `sides` return in each of the rounds, by name; a round before them warms up."""
    seconds = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, side in sides.items():
            answer = side()
            if turn:
                seconds[name].append(answer)
    return seconds


def ratio(one, other):
    """The median of the ratios of neighbouring turns, one over the other."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


class Side:
    """A process that runs `serve`, so that its threads and its peak of memory are its own."""

    def __init__(self, module, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=LARGE_PAGES | os.environ,
        )

    def ask(self, what):
        """The number that the process answers with."""
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("a side of the comparison ended early")
        return float(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare_steps(module, description, makers, *, calls, title, items, unit, operations):
    """The main of a benchmark of a training step beside PyTorch's: both take turns, and what they reach is printed.

    module: whose main this is. makers: `ours, peer`, functions that make a `many` of `timed`. items: of a step, counted
    in `unit`. operations: of floating point, in its matrix products.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = ("ssl_jax", "PyTorch")
    if arguments.serve:
        step = dict(zip(names, makers, strict=True))[arguments.serve]()
        serve({"step": lambda: timed(step, calls)})
        return
    sides = {name: Side(module, "--serve", name) for name in names}
    seconds = take_turns(
        {name: lambda side=side: side.ask("step") for name, side in sides.items()}, arguments.rounds
    )
    print(title)
    for name, side in sides.items():
        middle = statistics.median(seconds[name])
        print(
            f"  {name:8} {middle * 1e3:6.2f} ms  {items / middle:8,.0f} {unit}/s  "
            f"{operations / middle / 1e9:4.0f} GFLOP/s  {side.ask('memory'):5.0f} MiB at most"
        )
        side.close()
    print(
        f"  ssl_jax is {ratio(seconds['PyTorch'], seconds['ssl_jax']):.2f} times as fast (median of {arguments.rounds})"
    )


def serve(answers):
    """The life of a `Side`: each line of standard input names the function whose number is the answer.

    `memory` is always among them, the peak so far in MiB.
    """
    answers = answers | {"memory": peak_memory}
    for line in sys.stdin:
        print(answers[line.strip()](), flush=True)


def peak_memory():
    """MiB of physical memory that this process held at most, compilation included."""
    with open("/proc/self/status") as status:
        return next(float(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
