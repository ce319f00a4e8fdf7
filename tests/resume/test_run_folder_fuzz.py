"""Run folders in which one file is damaged, missing, or replaced by a folder or by a link: what each command does then.

It ends with 0 and with the result that it has for the sound folder, or with 2 and one paragraph. It writes nothing
outside of the folder. `python -m tests.test_run_folder_fuzz SEED TRIES` tries more.
"""

import dataclasses
import io
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
from etils import epath

from experiments import gpt2, minimal
from ssl_jax import generate, replay
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.guard import guarded
from ssl_jax.models.gpt2 import Gpt2Config
from ssl_jax.runs.configuration import run_settings
from ssl_jax.runs.warm_start import build_run
from ssl_jax.training import loop
from tests import processes
from tests.test_generate import SENTENCES, SIZES, run_folder

TRIES = 25
"""Of each run."""
TRAIN = dataclasses.replace(minimal.Config().train, log_every=1, eval_every=2, save_every=2, keep_latest=9)
CONFIG = dataclasses.replace(minimal.Config(), steps=4, train=TRAIN)
NAME = "experiments.minimal"


def train(folder: Path, config: minimal.Config, init_from: str | None = None) -> int:
    """Trains a run of the smallest experiment, or goes on with it, without its report."""
    experiment = build_run(minimal.build, config, epath.Path(folder), init_from)
    experiment = experiment._replace(sample=None, report=None)
    return loop.train(experiment, epath.Path(folder), run_settings(NAME, "digits", config, init_from))


def again(folder: Path) -> tuple[int, str]:
    return train(folder, CONFIG), str(processes.log(folder))


def warm_start(folder: Path) -> tuple[int, str]:
    new = folder.parent / "started"
    try:
        return train(new, dataclasses.replace(CONFIG, steps=1), str(folder)), str(processes.log(new))
    finally:
        shutil.rmtree(new, ignore_errors=True)


def write_text(folder: Path) -> tuple[int, str]:
    out = io.StringIO()
    words = [str(folder), "--prompt", "the cat", "--max_new_tokens", "6", "--temperature", "0"]
    return generate.main(words, out, io.StringIO()), out.getvalue()


COMMANDS: dict[str, dict[str, Callable[[Path], tuple[int, str]]]] = {
    "minimal": {
        "again": again,
        "warm start": warm_start,
        "replay": lambda folder: (replay.main([str(folder)]), ""),
    },
    "gpt2": {"generate": write_text},
}


def make(run: str, folder: Path) -> None:
    """A finished run."""
    if run == "minimal":
        assert train(folder, CONFIG) == 0
        return
    tokenizer = train_sentencepiece(SENTENCES, 60)
    config = dataclasses.replace(
        gpt2.PRESETS["tiny"], model=Gpt2Config(vocab_size=tokenizer.vocab_size, **SIZES), length=48
    )
    run_folder(epath.Path(folder), gpt2, tokenizer, config, (10,))


def truncate(file: Path, outside: Path, rng: random.Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(len(content) + 1)])


def empty(file: Path, outside: Path, rng: random.Random) -> None:
    file.write_bytes(b"")


def flip(file: Path, outside: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(bytes(content))


def delete(file: Path, outside: Path, rng: random.Random) -> None:
    file.unlink()


def folder_instead(file: Path, outside: Path, rng: random.Random) -> None:
    file.unlink()
    file.mkdir()


def link_out(file: Path, outside: Path, rng: random.Random) -> None:
    file.replace(outside / "moved")
    file.symlink_to(outside / "moved")


DAMAGES = (truncate, empty, flip, delete, folder_instead, link_out)


class Outcome(NamedTuple):
    """What a command did."""

    code: int
    result: str
    told: str


def attempt(command: Callable[[Path], tuple[int, str]], folder: Path) -> Outcome:
    found = [""]

    def run() -> int:
        code, found[0] = command(folder)
        return code

    told = io.StringIO()
    with redirect_stderr(told), redirect_stdout(io.StringIO()):
        code = guarded(run)
    return Outcome(code, found[0], told.getvalue())


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def try_all(run: str, place: Path, seed: int, tries: int) -> list[str]:
    """Damages a run in many ways, each time with one command after it. Returns what was not as it must be."""
    make(run, place / "sound")
    files = sorted(str(Path(path).relative_to(place / "sound")) for path in content(place / "sound"))
    commands, rng, wrong = COMMANDS[run], random.Random(seed), []
    expected = {}
    for name, command in commands.items():
        shutil.copytree(place / "sound", place / "run")
        expected[name] = attempt(command, place / "run")
        assert expected[name].code == 0, expected[name].told
        shutil.rmtree(place / "run")
    for number in range(tries):
        damage, file = DAMAGES[number % len(DAMAGES)], rng.choice(files)
        name = rng.choice(sorted(commands))
        outside = place / "outside"
        shutil.copytree(place / "sound", place / "run")
        outside.mkdir()
        damage(place / "run" / file, outside, rng)
        before = content(outside)
        what = f"{name} after {damage.__name__} of {file}"
        try:
            found = attempt(commands[name], place / "run")
        except Exception as error:  # each is reported, with what was tried
            wrong.append(f"{what}: {type(error).__name__}: {error}")
        else:
            if found.code == 2:
                if not found.told.startswith("error: ") or found.told.count("\n") != 1:
                    wrong.append(f"{what}: told {found.told!r}")
            elif (
                file == "metrics.jsonl"
            ):  # what a log says is compared by replay, which may find other numbers
                if found.code not in (0, replay.DIFFERS):
                    wrong.append(f"{what}: ended with {found.code}")
            elif found[:2] != expected[name][:2]:
                wrong.append(
                    f"{what}: ended with {found.code}, another result: {found.result[:200]!r}; {found.told}"
                )
        if content(outside) != before:
            wrong.append(f"{what}: wrote outside of the folder")
        if left := {path.name for path in place.iterdir()} - {"sound", "run", "outside"}:
            wrong.append(f"{what}: made {left}")
        shutil.rmtree(place / "run")
        shutil.rmtree(outside)
    return wrong


@pytest.mark.parametrize("run", COMMANDS)
def test_a_damaged_file_changes_no_result_in_silence(run: str, tmp_path: Path) -> None:
    assert try_all(run, tmp_path, seed=0, tries=TRIES) == []


if __name__ == "__main__":
    for run in COMMANDS:
        with tempfile.TemporaryDirectory() as place:
            print(run, *try_all(run, Path(place), *map(int, sys.argv[1:])), sep="\n  ", flush=True)
