"""How many processes read the images of a run, and that their images are the same."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_jax.data import endless_images
from ssl_jax.data.images import ImageConfig
from ssl_jax.recipes.datasets import open_image_data, reading_processes


@pytest.mark.parametrize(
    ("most", "cores", "count"),
    [(16, 112, 16), (4, 112, 4), (16, 8, 4), (16, 3, 0), (16, 1, 0), (1, 112, 0), (0, 112, 0), (16, None, 0)],
)
def test_processes_are_at_most_half_of_the_cores_and_never_a_single_one(most, cores, count, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert reading_processes(most) == count


def test_a_run_sees_the_same_images_with_processes(tmp_path: Path, monkeypatch):
    random = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(random.integers(0, 256, (9, 9), np.uint8)).save(tmp_path / f"{number}.png")
    started = []
    workers = endless_images.ImageWorkers
    monkeypatch.setattr(endless_images, "ImageWorkers", lambda *of: started.append(of[1]) or workers(*of))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    batches = []
    for processes in (0, 16):
        config = ImageConfig(source=str(tmp_path), processes=processes)
        [train] = open_image_data(config, classes=0, seed=1).train
        batches.append(train.stack(np.arange(30)))
    assert started == [2]
    for name, array in batches[0].items():
        np.testing.assert_array_equal(batches[1][name], array)


def test_images_in_memory_need_no_process(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 112)
    monkeypatch.setattr(endless_images, "ImageWorkers", None)
    [train] = open_image_data(ImageConfig(processes=16), classes=0, seed=1).train
    assert train.stack(np.arange(3))["image"].shape == (3, 8, 8, 1)
