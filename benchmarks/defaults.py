"""How long the defaults of experiments take on this machine, and how long they wait for data.

    python -m benchmarks.defaults bert gpt2 vae --folder /tmp/defaults

Each is a process of its own, as a user starts it, one after the other, with a run folder in --folder, which must not
have one of that name. The table is printed line by line; folders of runs and logs stay.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
HEADER = "| experiment | first line, s | all, min:s | CPU, min:s | training, min:s | compiling, s | waits for data |"


class Timed(NamedTuple):
    """Seconds of a command: until its first line, until its end, and of the processors."""

    first_line: float
    wall: float
    cpu: float


def timed(command: list[str], log: Path) -> Timed:
    """Runs a command and writes what it prints to a file."""
    begin, before = time.perf_counter(), _cpu_of_children()
    with (
        log.open("wb") as file,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process,
    ):
        file.write(process.stdout.readline())
        first_line = time.perf_counter() - begin
        file.writelines(process.stdout)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with code {process.returncode}; see {log}")
    return Timed(first_line, time.perf_counter() - begin, _cpu_of_children() - before)


def seconds_of_runs(folder: Path) -> dict[str, float]:
    """What a run accounts its wall time to; of a study, the sum over its runs."""
    total: dict[str, float] = {}
    for file in folder.rglob("wall_time.json"):
        for part in json.loads(file.read_text()):
            for name, seconds in part["seconds"].items():
                total[name] = total.get(name, 0.0) + seconds
    return total


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def main() -> None:
    """Prints a table with a line for each experiment."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiments", nargs="+", metavar="NAME", help="module of experiments/")
    parser.add_argument("--folder", type=Path, required=True, help="where runs and logs go")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    print(HEADER, "|" + " --- |" * HEADER.count(" | ") + " --- |", sep="\n", flush=True)
    for name in given.experiments:
        run = given.folder / name
        if run.exists():
            parser.error(f"--folder {given.folder}: has a {name} already; a run that goes on would be timed.")
        command = [sys.executable, "-m", f"experiments.{name}", "--workdir", str(run)]
        took = timed(command, given.folder / f"{name}.log")
        spent = seconds_of_runs(run)
        training = spent.get("step", 0.0) + spent.get("data_wait", 0.0)
        cells = (
            f"`{name}`",
            f"{took.first_line:.1f}",
            *map(_minutes, (took.wall, took.cpu, training)),
            f"{spent.get('compile', 0.0):.0f}",
            f"{spent.get('data_wait', 0.0) / training:.1%}" if training else "",
        )
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
