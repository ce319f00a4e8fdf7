"""Images that other processes read are the same, and what goes wrong there is told here."""

import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from PIL import Image

from ssl_jax.data.endless_images import EndlessImages
from ssl_jax.data.image_files import open_folder
from ssl_jax.data.image_source import Canvas, read_images
from ssl_jax.data.image_workers import ImageWorkers
from ssl_jax.data.prepared.records import Records, write_records
from ssl_jax.errors import UserError

CANVAS = Canvas(12, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for number in range(20):
        file = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (14, 10, 3), np.uint8)).save(file)
    return tmp_path / "images"


def opened(folder, unreadable="stop"):
    return open_folder(folder, CANVAS, unreadable)[0]


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array)
        assert ours[name].dtype == array.dtype


def test_several_threads_get_the_images_that_this_process_would_read(folder):
    theirs = EndlessImages(opened(folder), seed=3)
    ours = EndlessImages(opened(folder), seed=3, processes=2)
    parts = [start + np.arange(5) for start in range(0, 60, 5)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(ours.stack, parts))
    for part, images in zip(parts, found, strict=True):
        assert_same(images, theirs.stack(part))
    assert_same(ours[7], theirs[7])


def test_a_damaged_image_ends_the_reading_as_it_does_here_and_can_be_skipped(folder):
    (folder / "a" / "4.png").write_bytes(b"no image")
    source = opened(folder)
    [damaged] = [row for row in range(len(source)) if "/4.png" in source.describe(row)]
    workers = ImageWorkers(source, 1)
    with pytest.raises(UserError, match=r"/4\.png': cannot be read as an image"):
        workers.read(np.array([damaged]))
    others = np.array([row for row in range(len(source)) if row != damaged])
    assert len(workers.read(others)["image"]) == 19  # and the process goes on
    skipping = opened(folder, "skip")
    assert_same(ImageWorkers(skipping, 1).read(np.arange(20)), read_images(skipping, np.arange(20)))


def test_a_process_that_ends_is_named(folder):
    workers = ImageWorkers(opened(folder), 1)
    workers.read(np.array([0]))
    [process] = workers._all
    process.kill()
    process.wait()
    with pytest.raises(UserError, match=r"ended with code -9.*--data\.processes"):
        workers.read(np.array([0]))


def test_a_process_that_cannot_start_is_named(folder, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    workers = ImageWorkers(opened(folder), 1)
    with pytest.raises(UserError, match="ended with code 1"):
        workers.read(np.array([0]))


PROGRAM = """
import sys, time
import numpy as np
from pathlib import Path
from tests.data.test_image_workers import opened
from ssl_jax.data.image_workers import ImageWorkers
workers = ImageWorkers(opened(Path(sys.argv[1])), 1)
workers.read(np.array([0]))
print(workers._all[0].pid, flush=True)
time.sleep(60)
"""


def test_processes_end_with_the_one_that_they_read_for_even_if_it_is_killed(folder):
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        worker = int(parent.stdout.readline())
        modules = Path(f"/proc/{worker}/maps").read_text() if sys.platform == "linux" else ""
        assert "jaxlib" not in modules, "a process that reads images has no use for it"
        parent.send_signal(signal.SIGKILL)
    for _ in range(100):
        if not _runs(worker):
            return
        time.sleep(0.1)
    pytest.fail("the process that reads images goes on")


def _runs(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return b" Z " not in Path(f"/proc/{number}/stat").read_bytes() if sys.platform == "linux" else True


def test_records_that_have_been_read_can_be_sent_to_another_process(tmp_path):
    described = write_records(epath.Path(tmp_path) / "one", [b"a", b"bc"])
    records = Records(epath.Path(tmp_path), [described], "Bring it back.")
    assert records[1] == b"bc"
    again = pickle.loads(pickle.dumps(records))
    assert (len(again), again[0], again[1]) == (2, b"a", b"bc")
