"""A storm on a run: kills at any moment, every file damaged, full disks. It takes an hour, so no test runs it.

    python -m tests.resume.storm --kills 14 --damage 2 --disks 4

After each blow the same command must give the log of an undisturbed run, or refuse with one paragraph and exit code 2.
Prints a line for each blow, and at the end how many there were and which went wrong. Exits with code 1 if any did.
"""

import argparse
import contextlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests import processes
from tests.cases import CASES
from tests.resume.test_run_folder_fuzz import DAMAGES, content

RUNS = {name: CASES[name] for name in ("minimal", "gpt2", "vqvae_prior")}
"""Without and with text and a tokenizer, and one that trains another run first."""


def zero(file: Path, outside: Path, rng: random.Random) -> None:
    """As after a crash of the machine: the length is right, the second half is not."""
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[: size // 2].ljust(size, b"\0"))


WAYS = (*DAMAGES, zero)


class Storm:
    """Counts blows and what went wrong."""

    def __init__(self) -> None:
        self.blows: Counter[str] = Counter()
        self.wrong: list[str] = []

    def note(self, kind: str, what: str, fault: str | None) -> None:
        """Prints a blow, and keeps it if `fault` says that something is wrong."""
        self.blows[kind] += 1
        print(f"{kind}: {what}: {fault or 'right'}", flush=True)
        if fault:
            self.wrong.append(f"{kind}: {what}: {fault}")


def judge(code: int, out: str, error: str, folder: Path, wanted: list[dict]) -> str | None:
    """What is wrong with the end of a command; None if it gave the wanted log, or refused with one paragraph."""
    if "Traceback" in out + error:
        return f"a traceback: {error.strip().splitlines()[-1][:200]}"
    if code == 0:
        told = "is not what the run wrote" in out  # lines of the log that were lost cannot be made again
        return None if told or processes.log(folder) == wanted else "exit code 0 with another log"
    if code == 2:
        return None if error.count("\n") == 1 else f"{error.count(chr(10))} lines of error"
    return f"exit code {code}"


def kills(storm: Storm, name: str, number: int, work: Path, chance: random.Random) -> None:
    """kill -9 after a random time, again and again; a run that ends is compared, and a new one is begun."""
    case = RUNS[name]
    arguments = case.arguments(work)
    started = time.monotonic()
    assert processes.run(case.module, arguments, work / "undisturbed")[0] == 0
    longest = time.monotonic() - started
    wanted = processes.log(work / "undisturbed")
    folder, killed = work / "killed", 0
    while True:
        process = processes.start(case.module, arguments, folder)
        end = time.monotonic() + (chance.uniform(0.5, longest) if killed < number else 1e9)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        if process.poll() is None:
            process.kill()
        ended = processes.finish(process)
        if ended[0] == -signal.SIGKILL:
            killed += 1
            storm.note("kill", f"{name} after step {processes.last_step(folder)}", None)
            continue
        storm.note("end after kills", name, judge(*ended, folder, wanted))
        if killed >= number:
            return
        shutil.rmtree(folder)


def damage(storm: Storm, name: str, number: int, work: Path, chance: random.Random) -> None:
    """Every file of a run that was interrupted, in so many ways; then replay, and the same command."""
    case = RUNS[name]
    arguments = case.arguments(work)
    assert processes.run(case.module, arguments, work / "undisturbed")[0] == 0
    wanted = processes.log(work / "undisturbed")
    outside = work / "outside"
    newest = max((work / "undisturbed" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    files = [file for file in (work / "undisturbed").rglob("*") if file.is_file()]
    for file in sorted(file for file in files if newest not in file.parents):
        for way in chance.sample(WAYS, number):
            folder = work / "damaged"
            shutil.copytree(work / "undisturbed", folder)
            shutil.rmtree(folder / "checkpoints" / newest.name)
            outside.mkdir()
            way(folder / file.relative_to(work / "undisturbed"), outside, chance)
            before = content(outside)
            what = f"{name}, {file.relative_to(work / 'undisturbed')} {way.__name__}"
            replayed = processes.run("ssl_jax.replay", [folder, "--output", work / "plots"])
            fault = None if replayed[0] in (0, 2) and "Traceback" not in replayed[2] else f"{replayed}"[-300:]
            storm.note("replay after damage", what, fault)
            continued = processes.run(case.module, arguments, folder)
            storm.note("damage", what, judge(*continued, folder, wanted))
            if content(outside) != before:
                storm.note("outside", what, "a file outside of the run folder was written")
            shutil.rmtree(folder)
            shutil.rmtree(outside)


@contextlib.contextmanager
def disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """A file system of such a size. It needs the right to mount."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def full_disks(storm: Storm, name: str, number: int, work: Path, chance: random.Random) -> None:
    """The disk is full at some point between an empty and a finished run; then it is given more room."""
    case = RUNS[name]
    arguments = case.arguments(work)
    assert processes.run(case.module, arguments, work / "undisturbed")[0] == 0
    wanted = processes.log(work / "undisturbed")
    needed = sum(file.stat().st_size for file in (work / "undisturbed").rglob("*") if file.is_file()) // 1024
    for _ in range(number):
        size = chance.randrange(16, max(needed, 32))
        with disk(work / "disk", size):
            folder = work / "disk" / "run"
            code, _, error = processes.run(case.module, arguments, folder)
            told = code == 2 and error.count("\n") == 1 and "Traceback" not in error
            storm.note(
                "full disk", f"{name} on {size} KB", None if told else f"exit code {code}: {error[-300:]}"
            )
            subprocess.run(["mount", "-o", "remount,size=1g", str(work / "disk")], check=True)
            continued = processes.run(case.module, arguments, folder)
            storm.note("room again", f"{name} on {size} KB", judge(*continued, folder, wanted))


def main() -> int:
    """Runs the storm that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=0, help="kills of each experiment")
    parser.add_argument("--disks", type=int, default=0, help="full disks of each experiment")
    parser.add_argument("--damage", type=int, default=0, help="ways in which each file is damaged")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=[*RUNS], help="experiments")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    storm = Storm()
    for name in asked.runs:
        with tempfile.TemporaryDirectory() as work:
            chance = random.Random(f"{name} {asked.seed}")
            for part in ("kills", "damage", "disks"):
                (Path(work) / part).mkdir()
            if asked.kills:
                kills(storm, name, asked.kills, Path(work) / "kills", chance)
            if asked.damage:
                damage(storm, name, asked.damage, Path(work) / "damage", chance)
            if asked.disks:
                full_disks(storm, name, asked.disks, Path(work) / "disks", chance)
    print(f"\n{dict(storm.blows)}; wrong: {len(storm.wrong)}")
    print("\n".join(storm.wrong))
    return 1 if storm.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
