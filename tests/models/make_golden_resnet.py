"""Writes the golden vectors: narrow ResNets of torchvision with random weights, and what they compute.

    python tests/models/make_golden_resnet.py        # with torch 2.14 and torchvision 0.29 at hand

One npz a network, without pickles: `images` (uint8 [batch, height, width, 3], of which the network sees a 255th),
`weight/NAME` (float16, exact), `eval` and `train` (the features in either mode), `mean/NAME` (running means after
`train`), `cotangent` (of the features in `train`) and `gradient/NAME`. Computed in float64.
"""

import pathlib

import numpy as np
import torch
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

GOLDEN = pathlib.Path(__file__).parent / "golden"
CASES = {"resnet18": (BasicBlock, [2, 2, 2, 2], 4), "bottleneck": (Bottleneck, [1, 3, 1, 1], 4)}
"""Block, blocks of each stage, width."""
GRADIENTS = (
    "conv1.weight",
    "bn1.bias",
    "layer2.0.conv2.weight",
    "layer2.1.conv1.weight",
    "layer4.0.bn2.weight",
)


class Narrow(ResNet):
    """torchvision's network with `width` channels where it has 64, and without a classifier."""

    def __init__(self, block, layers, width):
        self.width = width
        super().__init__(block, layers)
        self.conv1 = torch.nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(width)
        self.fc = torch.nn.Identity()

    def _make_layer(self, block, planes, *args, **kwargs):
        if planes == 64:
            self.inplanes = self.width
        return super()._make_layer(block, planes * self.width // 64, *args, **kwargs)


def random_weight(name: str, weight: torch.Tensor, rng: np.random.Generator) -> np.ndarray:
    """None of them where it starts, so that a forgotten one shows; exact in float16."""
    draw = rng.standard_normal(weight.shape)
    if weight.ndim == 4:
        draw *= (1 / weight[0].numel()) ** 0.5
    elif "running_var" in name or name.endswith("weight"):
        draw = 1 + 0.3 * np.tanh(draw)
    else:
        draw *= 0.3
    return draw.astype(np.float16)


def golden(block: type, layers: list[int], width: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    model = Narrow(block, layers, width).double()
    weights = {
        name: random_weight(name, weight, rng)
        for name, weight in model.state_dict().items()
        if "num_batches" not in name
    }
    model.load_state_dict(
        {name: torch.from_numpy(weight).double() for name, weight in weights.items()}, strict=False
    )
    images = rng.integers(0, 256, (4, 40, 40, 3), dtype=np.uint8)
    x = torch.from_numpy(images / 255).permute(0, 3, 1, 2)
    arrays = {"images": images} | {f"weight/{name}": weight for name, weight in weights.items()}
    arrays["eval"] = model.eval()(x)
    arrays["train"] = model.train()(x)
    arrays["cotangent"] = torch.from_numpy(rng.standard_normal(arrays["train"].shape))
    (arrays["train"] * arrays["cotangent"]).sum().backward()
    parameters = dict(model.named_parameters())
    arrays |= {f"gradient/{name}": parameters[name].grad for name in GRADIENTS}
    arrays |= {f"mean/{name}": mean for name, mean in model.named_buffers() if "running_mean" in name}
    return {
        name: array if isinstance(array, np.ndarray) else array.detach().numpy().astype(np.float32)
        for name, array in arrays.items()
    }


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for seed, (name, case) in enumerate(CASES.items()):
        np.savez_compressed(GOLDEN / f"{name}.npz", **golden(*case, seed))


if __name__ == "__main__":
    main()
