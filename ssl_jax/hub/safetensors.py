"""Parameters to and from the safetensors files of other libraries, by a table of names.

A table is a sequence of `Rule`s. The same table reads and writes, so that what is imported can be exported
again, bit for bit. Nothing here unpickles: a pickle can run any code.
"""

import itertools
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from ssl_jax.errors import UserError

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class Rule(NamedTuple):
    """One of our parameters, and the tensors of the other library that hold it.

    Attributes:
        path: of our parameter, keys joined with "/".
        name: of their tensor. `{layer}` in it stands for the index on axis 0 of our parameter; `{part}` for
            each of `parts`, which our parameter holds side by side (a fused projection).
        inputs: how many axes of ours, `[*inputs, *outputs]`, are inputs: 0 of a vector (a bias, a scale), 1 or
            more of a matrix. Theirs has one axis for all inputs and one for all outputs.
        parts: what `{part}` stands for; the parts are our axis just before the outputs.
        transposed: their matrix is `[outputs, inputs]`, as in PyTorch's linear layers. Otherwise it is
            `[inputs, outputs]`, as in tables of embeddings and in the layers of GPT-2.
    """

    path: str
    name: str
    inputs: int = 0
    parts: tuple[str, ...] = ("",)
    transposed: bool = True

    def names(self, shape: tuple[int, ...]) -> list[str]:
        """Their tensors for our parameter of this shape, by layer, then by part."""
        layers = range(shape[0]) if "{layer}" in self.name else (None,)
        return [self.name.format(layer=layer, part=part) for layer in layers for part in self.parts]

    def to_ours(self, theirs: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        """Our parameter, of this shape, from their tensors."""
        tensors = np.stack(
            [theirs[name].T if self.transposed else theirs[name] for name in self.names(shape)]
        )
        layers = tensors.reshape(-1, len(self.parts), *tensors.shape[1:])
        return np.ascontiguousarray(np.moveaxis(layers, 1, -2).reshape(shape), dtype=np.float32)

    def to_theirs(self, ours: np.ndarray) -> dict[str, np.ndarray]:
        """Their tensors, by name, from our parameter."""
        layers = ours if "{layer}" in self.name else ours[None]
        tensors = itertools.chain.from_iterable(self._split(layer) for layer in layers)
        return dict(zip(self.names(ours.shape), tensors, strict=True))

    def _split(self, layer: np.ndarray) -> list[np.ndarray]:
        matrices = layer.reshape(math.prod(layer.shape[: self.inputs]), len(self.parts), -1)
        parts = [matrices[:, i] if self.inputs else matrices[0, i] for i in range(len(self.parts))]
        return [part.T for part in parts] if self.transposed else parts


def linear(
    path: str, name: str, inputs: int = 1, parts: tuple[str, ...] = ("",), transposed: bool = True
) -> tuple[Rule, Rule]:
    """The rules of a linear layer's kernel and bias."""
    return (
        Rule(f"{path}/kernel", f"{name}.weight", inputs, parts, transposed),
        Rule(f"{path}/bias", f"{name}.bias", 0, parts),
    )


def table(path: str, name: str) -> Rule:
    """The rule of a table of embeddings."""
    return Rule(f"{path}/embedding", name, 1, transposed=False)


def norm(path: str, name: str) -> tuple[Rule, Rule]:
    """The rules of a layer normalisation."""
    return Rule(f"{path}/scale", f"{name}.weight"), Rule(f"{path}/bias", f"{name}.bias")


def to_ours(
    rules: Sequence[Rule],
    theirs: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    source: str,
) -> dict[str, np.ndarray]:
    """Our float32 parameters, by path, from their tensors, by name.

    Args:
        rules: a rule for each path in `shapes`; others are not used.
        theirs: the tensors read.
        shapes: of our parameters, by path.
        source: what an error calls the file.

    Raises:
        UserError: listing every tensor that is missing, unknown or of another shape.
    """
    rules = [rule for rule in rules if rule.path in shapes]
    expected = {}
    for rule in rules:
        # An array that takes no memory: only the shapes of its parts are wanted.
        expected |= rule.to_theirs(np.broadcast_to(np.float32(0), shapes[rule.path]))
    problems = [f"missing: {name}" for name in sorted(expected.keys() - theirs.keys())]
    problems += [f"not used: {name}" for name in sorted(theirs.keys() - expected.keys())]
    problems += [
        f"shape: {name} is {list(theirs[name].shape)}, not {list(expected[name].shape)}"
        for name in sorted(expected.keys() & theirs.keys())
        if theirs[name].shape != expected[name].shape
    ]
    if problems:
        raise UserError(
            f"{source}: its tensors are not those that its {CONFIG} calls for. {'; '.join(problems)}. "
            f"Expected are the weights of one of the models of ssl_jax.hub, whole, with their own {CONFIG}."
        )
    return {rule.path: rule.to_ours(theirs, shapes[rule.path]) for rule in rules}


def to_theirs(rules: Sequence[Rule], ours: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Their tensors, by name, from our parameters, by path. Raises KeyError for a path without a rule."""
    by_path = {rule.path: rule for rule in rules}
    theirs: dict[str, np.ndarray] = {}
    for path, array in ours.items():
        theirs |= by_path[path].to_theirs(np.asarray(array))
    return theirs


def read_folder(folder: str | pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The configuration and the tensors of a model saved as `config.json` and `model.safetensors`.

    Raises:
        UserError: when one of them is missing or is not what its name says.
    """
    folder = pathlib.Path(folder).expanduser()
    weights, config = folder / WEIGHTS, folder / CONFIG
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one with {CONFIG} and {WEIGHTS}")
    if not weights.exists():
        pickled = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        if pickled:
            raise UserError(
                f"{folder}: has {', '.join(pickled)} but no {WEIGHTS}. A pickle can run any code, so "
                "none is read. Convert it where you trust it: load the model with transformers and call "
                f"save_pretrained, which writes {WEIGHTS}."
            )
        raise UserError(f"{folder}: no {WEIGHTS} in it")
    if not config.exists():
        raise UserError(f"{folder}: no {CONFIG} beside {WEIGHTS}; it gives the shape of the model")
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{config}: not JSON: {error}") from None
    try:
        return settings, safetensors.numpy.load_file(weights)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(
            f"{weights}: not a whole safetensors file: {error}; copy or download it again"
        ) from None


def write_folder(
    folder: str | pathlib.Path, settings: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> None:
    """Writes `config.json` and `model.safetensors`, which other libraries read; makes the folder.

    Raises:
        UserError: when the folder cannot be written.
    """
    folder = pathlib.Path(folder).expanduser()
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        safetensors.numpy.save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        text = json.dumps(dict(settings), indent=2, sort_keys=True) + "\n"
        (folder / CONFIG).write_text(text, encoding="utf-8")
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{folder}: cannot write the model there: {error}") from None
