"""Output that is lost does not end a training, or spoil its exit code."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_jax.output import Enduring
from tests import processes

STEPS = "--steps 20 --train.log_every 5 --train.eval_every 20 --train.save_every 20"


@pytest.mark.parametrize(
    ("redirected", "told"),
    [
        ("| head -n 1", ""),
        (
            "> /dev/full",
            "the output cannot be written any more (No space left on device); the command goes on\n",
        ),
        (">&- 2>&-", ""),
    ],
)
def test_a_training_whose_output_is_lost_goes_on_to_its_report(
    redirected: str, told: str, tmp_path: Path
) -> None:
    command = f"{sys.executable} -m experiments.minimal {STEPS} --workdir {tmp_path / 'run'}"
    script = f"{{ {command}; echo $? > {tmp_path / 'code'}; }} {redirected}"
    done = subprocess.run(
        ["bash", "-c", script],
        env=processes.environment(),
        cwd=processes.ROOT,
        capture_output=True,
        text=True,
    )
    assert (tmp_path / "code").read_text() == "0\n"
    assert done.stderr == told
    assert (tmp_path / "run" / "checkpoints" / "20").exists()
    assert (tmp_path / "run" / "plots" / "loss.png").exists()


def test_a_character_that_the_terminal_does_not_know_is_escaped() -> None:
    content = io.BytesIO()
    stream = Enduring(io.TextIOWrapper(content, encoding="ascii"))
    print("a → b\udcff", file=stream, flush=True)
    assert content.getvalue() == b"a \\u2192 b\\udcff\n"


def test_a_closed_stream_takes_what_is_written() -> None:
    with open(os.devnull, "w") as file:
        stream = Enduring(file)
    print("lost", file=stream, flush=True)
