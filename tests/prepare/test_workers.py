"""`python -m ssl_jax.prepare` as users run it: with several processes, killed, and run again."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.processes import finish, run, start, wait_until

pytest.importorskip("apache_beam", reason="runs in its own environment: tests/prepare/run.sh")


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    """Four files of 300 documents."""
    folder, draw = tmp_path_factory.mktemp("texts"), random.Random(0)
    for number in range(4):
        documents = [
            "\n".join(
                " ".join(
                    "".join(draw.choices("etaoin", k=draw.randint(1, 7))) for _ in range(draw.randint(3, 12))
                )
                for _ in range(draw.randint(2, 12))
            )
            for _ in range(300)
        ]
        (folder / f"{number}.txt").write_text("\n\n".join(documents))
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """200 photographs of two classes, larger than the canvas."""
    folder, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(200):
        coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), np.uint8))
        (folder / "ab"[number % 2]).mkdir(exist_ok=True)
        coarse.resize((400, 300)).save(folder / "ab"[number % 2] / f"{number}.jpg", quality=95)
    return folder


def arguments(texts: Path, output: Path, workers: int, *more: str) -> list[object]:
    shape = ["--rows", "packed", "--length", "64", "--tokenizer", "bytes", "--shard_megabytes", "0.05"]
    return ["--source", texts, "--output", output, *shape, "--direct_num_workers", workers, *more]


def of_images(photos: Path, output: Path, workers: int, *more: str) -> list[object]:
    shape = ["--canvas", "224", "--shard_megabytes", "0.2", "--direct_num_workers", workers]
    return ["images", "--source", photos, "--output", output, *shape, *more]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def by_one_worker(texts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "out"
    code, out, err = run("ssl_jax.prepare", arguments(texts, folder, 1))
    assert (code, err) == (0, "")
    shards = list(folder.glob("rows-*"))
    assert len(shards) > 8
    assert f"rows in {len(shards)} files" in out
    return folder


@pytest.fixture(scope="module")
def images_by_one_worker(photos, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "images"
    code, out, err = run("ssl_jax.prepare", of_images(photos, folder, 1))
    assert (code, err) == (0, "")
    files = list(folder.glob("*.array_record"))
    assert len(files) > 20
    assert f"held-out images in {len(files)} files" in out
    return folder


@pytest.mark.parametrize("workers", [2, 4])
def test_images_are_the_same_bytes_by_any_number_of_workers(photos, tmp_path, images_by_one_worker, workers):
    code, _, err = run("ssl_jax.prepare", of_images(photos, tmp_path / "out", workers))
    assert (code, err) == (0, "")
    assert contents(tmp_path / "out") == contents(images_by_one_worker)


def test_a_killed_preparation_of_images_goes_on(photos, tmp_path, images_by_one_worker):
    out = tmp_path / "out"
    process = start("ssl_jax.prepare", of_images(photos, out, 2), None)
    done = out / "work" / "shards"
    wait_until(process, lambda: len(list(done.glob("*.json"))) >= 3)
    os.killpg(process.pid, signal.SIGKILL)  # its workers, too
    process.communicate()
    assert not (out / "manifest.json").exists()
    finished = {out / file.stem: (out / file.stem).stat().st_mtime_ns for file in done.glob("*.json")}
    assert len(finished) >= 3
    code, _, err = finish(start("ssl_jax.prepare", of_images(photos, out, 4), None))
    assert (code, err) == (0, "")
    assert contents(out) == contents(images_by_one_worker)
    assert {file: file.stat().st_mtime_ns for file in finished} == finished


@pytest.mark.parametrize("workers", [2, 4])
def test_the_bytes_do_not_depend_on_the_number_of_workers(texts, tmp_path, by_one_worker, workers):
    code, _, err = run("ssl_jax.prepare", arguments(texts, tmp_path / "out", workers))
    assert (code, err) == (0, "")
    assert contents(tmp_path / "out") == contents(by_one_worker)


@pytest.mark.parametrize("when", ["parts", "shards"])
def test_a_killed_preparation_goes_on(texts, tmp_path, by_one_worker, when):
    out = tmp_path / "out"
    process = start("ssl_jax.prepare", arguments(texts, out, 2), None)
    work = out / "work" / when
    wait_until(process, lambda: len(list(work.glob("*.json"))) >= 1)
    os.killpg(process.pid, signal.SIGKILL)  # its workers, too
    process.communicate()
    assert not (out / "manifest.json").exists()
    finished = {
        file: file.stat().st_mtime_ns
        for file in out.glob("*.array_record")
        if (work / f"{file.name}.json").exists()
    }
    assert len(finished) >= (when == "shards")
    code, _, err = finish(start("ssl_jax.prepare", arguments(texts, out, 4), None))
    assert (code, err) == (0, "")
    assert contents(out) == contents(by_one_worker)
    assert {file: file.stat().st_mtime_ns for file in finished} == finished


def test_mistakes_are_one_paragraph(texts, photos, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(texts, broken)
    (broken / "0.txt").write_bytes(b"One.\n\n" * 9000 + b"\xff")
    torn = tmp_path / "torn"
    shutil.copytree(photos, torn)
    (torn / "a" / "0.jpg").write_bytes((photos / "a" / "0.jpg").read_bytes()[:5000])
    for given, message in (
        (arguments(broken, tmp_path / "a", 2), "is not UTF-8"),
        (
            arguments(texts, tmp_path / "b", 2, "--direct_num_worker", "3"),
            "Did you mean --direct_num_workers?",
        ),
        (arguments(tmp_path / "none", tmp_path / "c", 2), "no such file or folder"),
        (of_images(torn, tmp_path / "d", 2), "or skip all such images with --unreadable skip"),
        (of_images(photos, tmp_path / "e", 2, "--canvass", "96"), "unknown option --canvass"),
    ):
        code, _, err = run("ssl_jax.prepare", given)
        assert code == 2, err
        assert message in err
        assert len(err.strip().splitlines()) == 1


def test_without_beam_it_says_how_to_install_it(texts, tmp_path):
    code = (
        "import sys; sys.modules['apache_beam'] = None; from ssl_jax.prepare import main; "
        "main(sys.argv[1:], sys.stdout)"
    )
    command = [sys.executable, "-c", code, *map(str, arguments(texts, tmp_path / "out", 1))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "UserError: Apache Beam is not installed here." in done.stderr
    assert "requirements-prepare.txt" in done.stderr
