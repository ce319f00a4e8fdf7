"""A run folder from a colleague: in another place, on a disk that cannot be written, its data moved as well."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import processes
from tests.cases import AUTOENCODER, given, length, rhythm
from tests.training import toys


@pytest.fixture
def readonly(tmp_path: Path) -> Iterator[Path]:
    """A file system for a run, which `remount` makes read-only, as nobody's permissions stop the super-user."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip(f"needs to mount a file system: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def images(folder: Path) -> Path:
    """Forty digits of noise in two classes."""
    chance = np.random.default_rng(0)
    for number in range(40):
        file = folder / f"class{number % 2}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (8, 8), np.uint8)).save(file)
    return folder


def test_a_copied_run_works_wherever_it_and_its_data_lie(readonly: Path, tmp_path: Path) -> None:
    pictures, run = images(tmp_path / "images"), tmp_path / "run"
    small = [*AUTOENCODER, *given("train", batch_size=8), *given(code_sizes=[3, 2]), *rhythm(2)]
    arguments = [*small, *length(4, 0), *given("data", source=pictures)]
    assert processes.run("experiments.autoencoder", arguments, run)[0] == 0
    theirs = Path(shutil.move(run, readonly / "theirs"))
    moved = Path(shutil.move(pictures, tmp_path / "moved"))
    subprocess.run(["mount", "-o", "remount,ro", str(readonly)], check=True)

    code, _, err = processes.run("ssl_jax.replay", [theirs, "--data.source", moved])
    assert code == 2
    assert f"--output: {theirs / 'replay'}" in err  # before anything is evaluated
    code, _, err = processes.run("ssl_jax.replay", [theirs, "--output", tmp_path / "plots"])
    assert code == 2
    assert "images" in err  # are not where they were
    code, out, _ = processes.run(
        "ssl_jax.replay", [theirs, "--output", tmp_path / "plots", "--data.source", moved]
    )
    assert code == 0, out
    assert "metrics equal those logged" in out
    assert list((tmp_path / "plots").glob("*.png"))
    features = tmp_path / "features.npz"
    assert processes.run("ssl_jax.embed", [theirs, moved, "--output", features])[0] == 0
    assert np.load(features)["features"].shape[0] == 40

    given_again = ["--resume", theirs, "--steps", 6, "--data.source", moved]
    code, out, err = processes.run("experiments.autoencoder", given_again)
    assert code == 2
    assert f"{theirs} cannot be written" in err
    code, out, err = processes.run("experiments.autoencoder", given_again, tmp_path / "mine")
    assert code == 0, err
    assert f"continuing at step 4 of 6, with steps: 4 -> 6; data.source: '{pictures}' -> '{moved}'" in out
    assert [line["step"] for line in toys.log(tmp_path / "mine") if "split" in line] == [2, 4, 6]
