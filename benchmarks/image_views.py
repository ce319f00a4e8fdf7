"""Random views of images: views per second on the CPU, beside lightly's in the same run.

    python -m benchmarks.image_views

SimCLR's settings for CIFAR (32 x 32, half the strength of colour, no blur) and for ImageNet (224 x 224 out of
256 x 256). Ours are compiled, from a batch of uint8 arrays to float32, 64 and 16 images at once. lightly's
`SimCLRTransform` makes two views of each Pillow image: in this process, and in a `DataLoader` with as many workers as
cores, which is how it is used. torchvision's v2 transforms do the same on uint8 tensors, one image at a time, in one
thread: more of them wait for each other at every operation. Peers resize bilinearly, and so do ours here.
"""

import functools
import itertools
import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.turns import ratio, take_turns
from ssl_jax.transforms.images import ViewConfig, random_views

CORES = len(os.sched_getaffinity(0))
ROUNDS = 7
OURS = "ssl_jax"
CASES = {
    32: {"canvas": 32, "batch": 64, "views": 4096, "peer_views": 512, "strength": 0.5, "blur": 0.0},
    224: {"canvas": 256, "batch": 16, "views": 256, "peer_views": 64, "strength": 1.0, "blur": 0.5},
}


def main():
    for size, case in CASES.items():
        images = np.random.default_rng(0).integers(
            0, 256, (case["batch"], *(case["canvas"],) * 2, 3), np.uint8
        )
        sides = ours(images, size, case)
        try:
            sides |= peers(images, size, case)
        except ImportError as error:
            print(f"no peer to compare with: {error}")
        rates = take_turns({name: lambda many=many: rate(many) for name, many in sides.items()}, ROUNDS)
        print(f"views of {size} x {size} pixels, {CORES} cores; views per second:")
        for name, turns in rates.items():
            beside = "" if name == OURS else f"   ours is {ratio(rates[OURS], turns):.1f} x"
            print(f"  {name:44} {statistics.median(turns):9.0f}{beside}")


def rate(many):
    """Views per second of a side."""
    start = time.perf_counter()
    return many() / (time.perf_counter() - start)


def ours(images, size, case):
    strength = case["strength"]
    config = ViewConfig(
        size=size,
        interpolation="bilinear",
        brightness=0.8 * strength,
        contrast=0.8 * strength,
        saturation=0.8 * strength,
        hue=0.2 * strength,
        blur=case["blur"],
    )
    calls = case["views"] // len(images)
    keys = itertools.cycle(jax.random.split(jax.random.key(0), calls))
    arrays = jnp.asarray(images), jnp.full((len(images), 2), images.shape[1], jnp.int32)
    view = jax.jit(functools.partial(random_views, config=config))

    def many():
        for _ in range(calls):
            views = view(next(keys), *arrays)
        jax.block_until_ready(views)
        return case["views"]

    return {OURS: many}


def peers(images, size, case):
    import torch
    from lightly.transforms import SimCLRTransform
    from PIL import Image
    from torch.utils.data import DataLoader
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    strength, count = case["strength"], case["peer_views"]
    two_views = SimCLRTransform(
        input_size=size, cj_strength=strength, gaussian_blur=case["blur"], normalize=None
    )
    pictures = [Image.fromarray(image) for image in images]
    tensors = [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in images]

    def pairs():
        for picture in itertools.islice(itertools.cycle(pictures), count // 2):
            two_views(picture)
        return count

    loading = count * CORES  # so that starting an epoch does not show
    rows = [(picture, two_views) for picture in itertools.islice(itertools.cycle(pictures), loading // 2)]
    loader = DataLoader(
        Views(rows), len(images), num_workers=CORES, persistent_workers=True, multiprocessing_context="spawn"
    )

    def loaded():
        return sum(2 * len(first) for first, _ in loader)

    jitter = v2.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
    blur = [v2.RandomApply([v2.GaussianBlur(size // 10 // 2 * 2 + 1, (0.1, 2.0))], case["blur"])]
    view = v2.Compose(
        [
            v2.RandomResizedCrop(size),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([jitter], 0.8),
            v2.RandomGrayscale(0.2),
            *(blur if case["blur"] else []),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )

    def singles():
        for tensor in itertools.islice(itertools.cycle(tensors), count):
            view(tensor)
        return count

    return {
        "lightly, Pillow images": pairs,
        f"lightly, DataLoader with {CORES} workers": loaded,
        "torchvision v2, uint8 tensors": singles,
    }


class Views:
    """A data set of both views of each picture, for a `DataLoader`."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        picture, two_views = self.rows[index]
        return two_views(picture)


if __name__ == "__main__":
    main()
