"""Exports residual networks under the names of torchvision's `ResNet`, as model.safetensors and config.json.

    network = torchvision.models.ResNet(Bottleneck, [3, 4, 6, 3])      # block and layers of config.json
    network.fc = torch.nn.Identity()
    network.load_state_dict(safetensors.torch.load_file("exported/model.safetensors"))

The network is the encoder alone, up to the mean over the image. It receives RGB pixels from 0 to 1 (gray images: one
channel), without a subtraction of their means. What torchvision's class does not build by itself has to be changed
there: a stem of `--encoder.stem cifar` or `small` has a convolution 3x3 as `conv1`, of stride 1 or 2, and no `maxpool`;
of gray images, `conv1` has one input; another width than 64 is that of `conv1`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict

from ssl_jax.hub.safetensors import write_folder
from ssl_jax.models.resnet import ResNetConfig

_NORM = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def save_resnet(folder: epath.Path, config: ResNetConfig, variables: Mapping[str, Any]) -> None:
    """Writes the files.

    Args:
      folder: the folder, created if necessary.
      config: of the network.
      variables: `{"params": ..., "batch_stats": ...}` of `ResNet`.

    Raises:
      UserError: the folder cannot be written.
    """
    tensors: dict[str, np.ndarray] = {}
    for collection in ("params", "batch_stats"):
        for path, array in flatten_dict(dict(variables[collection]), sep="/").items():
            tensors |= dict(_tensors(path, np.asarray(array, np.float32)))
    # torch counts batches beside its running means; the average here needs no count.
    norms = [name.removesuffix("running_mean") for name in tensors if name.endswith("running_mean")]
    tensors |= {f"{norm}num_batches_tracked": np.int64(0) for norm in norms}
    settings = {
        "architecture": "torchvision.models.ResNet",
        "block": "Bottleneck" if config.bottleneck else "BasicBlock",
        "layers": list(config.blocks),
        "width": config.width,
        "stem": config.stem,
        "channels": tensors["conv1.weight"].shape[1],
        "features": config.features,
        "pixels": "0 to 1",
    }
    write_folder(folder, settings, tensors)


def _tensors(path: str, array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Names and tensors of a parameter or a statistic; a stack of blocks has several."""
    stage, block, *inner = path.split("/")
    if stage == "stem":
        yield _name("", "convolution1", [block, *inner]), _transposed(array)
        return
    layer = f"layer{stage.removeprefix('stage')}."
    if block == "first":
        yield _name(f"{layer}0.", inner[0], inner[1:]), _transposed(array)
        return
    for number, one in enumerate(array, 1):
        yield _name(f"{layer}{number}.", inner[0], inner[1:]), _transposed(one)


def _name(prefix: str, module: str, leaf: list[str]) -> str:
    """The name of the kernel (`["kernel"]`) or of a part of the normalisation (`["norm", NAME]`) of a `ConvNorm`."""
    number = re.sub(r"\D", "", module)
    convolution, norm = (
        ("downsample.0", "downsample.1") if module == "shortcut" else (f"conv{number}", f"bn{number}")
    )
    return f"{prefix}{convolution}.weight" if leaf == ["kernel"] else f"{prefix}{norm}.{_NORM[leaf[-1]]}"


def _transposed(array: np.ndarray) -> np.ndarray:
    """Kernels as torch has them, `[outputs, inputs, height, width]`."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
