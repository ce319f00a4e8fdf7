"""Images from files to training batches on the host: images a second, of originals and of prepared ones.

    python -m benchmarks.image_reading [--pictures 512] [--rounds 5]

Pictures of 500x375 pixels are cut out of the two photographs that scikit-learn has, and written as JPEGs of some
100 kB, as ImageNet's are. They are read into a canvas of 320 pixels: from these files; from the shards that
ssl_jax.prepare makes of them, here in this process; and, to see what is not decoding, with pictures of 8x8 pixels on
the same canvas. The loader of training reads them with one thread, with as many as there are cores, and with eight
times as many, which wait for Python's lock; and with as many processes as cores (--data.processes of an experiment).
These start in the first round, and CPU time is that of the process that trains, not theirs. Views are made on the
device; see image_views.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks.image_views import CORES
from benchmarks.turns import take_turns
from ssl_jax.data.endless_images import EndlessImages
from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.data.prepared import image_preparation
from ssl_jax.training import loading
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh

BATCH, BATCHES, CANVAS = 64, 24, 320
SPECKS = "prepared, 8x8: all but the decoding"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), arguments)


def compare(folder, arguments):
    sizes = {"photographs": (500, 375), "specks": (8, 8)}
    for name, size in sizes.items():
        draw(folder / name, arguments.pictures, size)
    original = ImageConfig(source=str(folder / "photographs"), canvas=CANVAS, channels=3)
    configs = {"originals, 500x375": original}
    for name in sizes:
        source = dataclasses.replace(original, source=str(folder / name))
        started = time.process_time()
        made = prepare(source, folder / f"{name}-prepared")
        seconds = time.process_time() - started
        if name == "photographs":
            files = [file for split in made["splits"].values() for file in split["shards"]]
            stored = sum(file["size"] for file in files) / arguments.pictures
            read = sum(file.stat().st_size for file in (folder / name).rglob("*.jpg")) / arguments.pictures
            print(f"prepared: {1e3 * seconds / arguments.pictures:.1f} ms of CPU time an image")
            print(f"bytes an image: {read / 1e3:.0f} kB before, {stored / 1e3:.0f} kB after")
        called = "prepared, 320x240" if name == "photographs" else SPECKS
        configs[called] = dataclasses.replace(source, source=f"prepared:{folder / f'{name}-prepared'}")
    sides = {}
    for name, config in configs.items():
        for threads in (1, CORES, 8 * CORES):
            sides[name, f"threads: {threads}"] = loader(config, threads)
        sides[name, f"processes: {CORES}"] = loader(config, CORES, processes=CORES)
    for (name, how), turns in take_turns(sides, arguments.rounds).items():
        rate, cost = (statistics.median(values) for values in zip(*turns, strict=True))
        print(f"  {name:36} {how:22} {rate:7,.0f} images a second {1e3 * cost:7.2f} ms of CPU time each")


def draw(folder, count, size):
    """Pictures of two classes, cut out of photographs."""
    photographs, random = load_sample_images().images, np.random.default_rng(0)
    for number in range(count):
        photograph = Image.fromarray(photographs[number % 2])
        width = random.integers(480, 641)
        height = width * 2 // 3
        left, top = (random.integers(0, most + 1) for most in (640 - width, 427 - height))
        place = folder / "ab"[number % 2] / f"{number:04d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        box = (left, top, left + width, top + height)
        photograph.resize(size, Image.Resampling.BICUBIC, box=box).save(place, quality=96)


def prepare(config, folder):
    """What ssl_jax.prepare makes, without the processes of Apache Beam."""

    def run_tasks(what, function, tasks, done, options, log):
        for task in tasks:
            function(task)

    image_preparation.run_tasks = run_tasks
    what = image_preparation.ImagePreparation(str(folder), config, 256)
    return image_preparation.prepare_images(what, [], lambda text: None)


def loader(config, threads, processes=0):
    """Images a second, and seconds of CPU time of this process an image, by the loader of training."""
    data = EndlessImages(open_images(config).train, seed=0, processes=processes)
    along = batch_sharding(make_mesh(MeshConfig(data=1, fsdp=1)))

    def read():
        loading.READ_THREADS = threads
        return timed(loading.training_batches(data, BATCH, along, range(BATCHES)))

    return read


def timed(batches):
    wall, cpu, images = time.perf_counter(), time.process_time(), 0
    for batch in batches:
        images += len(jax.block_until_ready(batch["image"]))
    return images / (time.perf_counter() - wall), (time.process_time() - cpu) / images


if __name__ == "__main__":
    main()
