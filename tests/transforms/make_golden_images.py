"""Writes golden_images.npz: what torchvision makes of a few small pictures. Needs torch and torchvision.

    python tests/transforms/make_golden_images.py

Names are `image/NAME` ([height, width, 3] float32) and `OPERATION/PARAMETERS` with what comes of image/colours. Its
grey has the weight 0.299, which torchvision rounds to 0.2989 for tensors, though not for Pillow's images.
"""

import itertools
import pathlib

import numpy as np
import torch
import torchvision.transforms._functional_tensor as on_tensors
import torchvision.transforms.functional as F
from torchvision.transforms import InterpolationMode

FILE = pathlib.Path(__file__).parent / "golden_images.npz"
FACTORS = {"brightness": 1.4, "contrast": 0.3, "saturation": 1.7, "hue": -0.15}


def exact_grey(image: torch.Tensor, num_output_channels: int = 1) -> torch.Tensor:
    grey = torch.einsum("c,chw->hw", torch.tensor([0.299, 0.587, 0.114]), image)
    return grey.expand(num_output_channels, *grey.shape)


def colours() -> np.ndarray:
    """Random pixels, and between them greys, black, white, pure colours and equal channels."""
    rng = np.random.default_rng(0)
    image = rng.random((9, 11, 3))
    image[2, :8] = list(itertools.product((0, 1), repeat=3))
    image[4] = rng.random((11, 1))
    image[6, :, 1] = image[6, :, 0]
    image[7, :, 2] = image[7, :, 1]
    return image.astype(np.float32)


def main() -> None:
    on_tensors.rgb_to_grayscale = exact_grey
    image = torch.from_numpy(colours()).permute(2, 0, 1)
    operations = {
        "brightness": F.adjust_brightness,
        "contrast": F.adjust_contrast,
        "saturation": F.adjust_saturation,
        "hue": F.adjust_hue,
    }
    results = {
        f"{name}/{factor}": operations[name](image, factor)
        for name, factors in {
            "brightness": (0.0, 0.4, 1.8),
            "contrast": (0.0, 0.4, 1.8),
            "saturation": (0.0, 0.4, 1.8),
            "hue": (-0.5, -0.2, 0.07, 0.5),
        }.items()
        for factor in factors
    }
    for order in itertools.permutations(FACTORS):
        jittered = image
        for name in order:
            jittered = operations[name](jittered, FACTORS[name])
        results["jitter/" + ",".join(order)] = jittered
    for radius, sigma in ((1, 0.1), (1, 1.9), (3, 1.2)):
        results[f"blur/{radius},{sigma}"] = F.gaussian_blur(image, [2 * radius + 1] * 2, [sigma] * 2)
    for angle in (-30.0, 7.5, 45.0):
        results[f"turn/{angle}"] = F.rotate(image[:, :, :9], angle, InterpolationMode.BILINEAR)
    for down, right in ((2, -3), (-1, 0)):
        results[f"shift/{down},{right}"] = F.affine(image, 0.0, [right, down], 1.0, [0.0])
    results["solarise/0.5"] = F.solarize(image, 0.5)

    arrays = {name: tensor.permute(1, 2, 0).contiguous().numpy() for name, tensor in results.items()}
    np.savez_compressed(FILE, **{"image/colours": colours()}, **arrays)


if __name__ == "__main__":
    main()
