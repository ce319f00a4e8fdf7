"""Imports and exports parameters as safetensors files of other libraries, by a table of names.

A table is a sequence of `Rule`s. The same table is used for import and export, so that imported parameters can be
exported again, bit for bit. Pickles are never read, because a pickle can run any code.
"""

import itertools
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.files import read_json, write_json, write_whole
from ssl_jax.memory import physical_memory

WEIGHTS, CONFIG = "model.safetensors", "config.json"
PARAMETER_DTYPES = ("float32", "float16", "bfloat16")
_READABLE = ("F32", "F16", "BF16", "F64", "I64", "I32", "I16", "I8", "U8", "BOOL")
"""Data types that are read. Those of no parameter are of buffers, such as masks, that some files have."""
_LISTED = 20
"""Most tensors that an error names."""


class Rule(NamedTuple):
    """A parameter and the tensors of a file that hold it.

    Attributes:
      path: keys of the parameter, joined with "/".
      name: name of the tensor. `{layer}` in it is the index on axis 0 of the parameter. `{part}` is each of `parts`,
        which the parameter holds side by side (a fused projection).
      inputs: number of input axes of the parameter, `[*inputs, *outputs]`: 0 for a vector (a bias, a scale), 1 or more
        for a matrix. The tensor has one axis for all inputs and one for all outputs.
      parts: values of `{part}`; the parts are the axis before the output axes of the parameter.
      transposed: whether the tensor is `[outputs, inputs]`, as in PyTorch's linear layers. Otherwise it is `[inputs,
        outputs]`, as in embedding tables and in the layers of GPT-2.
    """

    path: str
    name: str
    inputs: int = 0
    parts: tuple[str, ...] = ("",)
    transposed: bool = True

    def names(self, shape: tuple[int, ...]) -> list[str]:
        """The names of the tensors of a parameter of this shape, by layer, then by part."""
        layers = range(shape[0]) if "{layer}" in self.name else (None,)
        return [self.name.format(layer=layer, part=part) for layer in layers for part in self.parts]

    def import_parameter(self, tensors: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        """The parameter of this shape, from the tensors of the file."""
        stacked = np.stack(
            [tensors[name].T if self.transposed else tensors[name] for name in self.names(shape)]
        )
        layers = stacked.reshape(-1, len(self.parts), *stacked.shape[1:])
        return np.ascontiguousarray(np.moveaxis(layers, 1, -2).reshape(shape), dtype=np.float32)

    def export_parameter(self, parameter: np.ndarray) -> dict[str, np.ndarray]:
        """The tensors of the file, by name, from the parameter."""
        layers = parameter if "{layer}" in self.name else parameter[None]
        tensors = itertools.chain.from_iterable(self._split(layer) for layer in layers)
        return dict(zip(self.names(parameter.shape), tensors, strict=True))

    def _split(self, layer: np.ndarray) -> list[np.ndarray]:
        matrices = layer.reshape(math.prod(layer.shape[: self.inputs]), len(self.parts), -1)
        parts = [matrices[:, i] if self.inputs else matrices[0, i] for i in range(len(self.parts))]
        return [part.T for part in parts] if self.transposed else parts


def linear(
    path: str, name: str, inputs: int = 1, parts: tuple[str, ...] = ("",), transposed: bool = True
) -> tuple[Rule, Rule]:
    """The rules of the kernel and the bias of a linear layer."""
    return (
        Rule(f"{path}/kernel", f"{name}.weight", inputs, parts, transposed),
        Rule(f"{path}/bias", f"{name}.bias", 0, parts),
    )


def table(path: str, name: str) -> Rule:
    """The rule of an embedding table."""
    return Rule(f"{path}/embedding", name, 1, transposed=False)


def norm(path: str, name: str) -> tuple[Rule, Rule]:
    """The rules of a layer normalisation."""
    return Rule(f"{path}/scale", f"{name}.weight"), Rule(f"{path}/bias", f"{name}.bias")


def import_parameters(
    rules: Sequence[Rule],
    tensors: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    source: str,
) -> dict[str, np.ndarray]:
    """Converts the tensors of a file, by name, to float32 parameters, by path.

    Args:
      rules: a rule for each path in `shapes`; others are not used.
      tensors: tensors of the file.
      shapes: shapes of the parameters, by path.
      source: name of the file in errors.

    Raises:
      UserError: tensors are missing, unknown, of another shape or type, or hold NaN or infinity; the message lists
        them.
    """
    rules = [rule for rule in rules if rule.path in shapes]
    expected = {}
    for rule in rules:
        # A broadcast array takes no memory: only the shapes of its parts are needed.
        expected |= rule.export_parameter(np.broadcast_to(np.float32(0), shapes[rule.path]))
    shared = sorted(expected.keys() & tensors.keys())
    problems = [f"missing: {name}" for name in sorted(expected.keys() - tensors.keys())]
    problems += [f"not used: {name}" for name in sorted(tensors.keys() - expected.keys())]
    problems += [
        f"shape: {name} is {list(tensors[name].shape)}, not {list(expected[name].shape)}"
        for name in shared
        if tensors[name].shape != expected[name].shape
    ]
    problems += [
        f"type: {name} is {tensors[name].dtype.name}, not one of {', '.join(PARAMETER_DTYPES)}"
        for name in shared
        if tensors[name].dtype.name not in PARAMETER_DTYPES
    ]
    if problems:
        raise UserError(
            f"{source}: its tensors do not match its {CONFIG}. {_shortened(problems)}. Expected the complete weights "
            f"of one of the models of ssl_jax.hub, with their own {CONFIG}."
        )
    if broken := [name for name in shared if not np.isfinite(tensors[name]).all()]:
        raise UserError(
            f"{source}: tensors hold NaN or infinity: {_shortened(broken)}. Every result of the model would be NaN; "
            "get the file again, or weights of a training that did not diverge."
        )
    return {rule.path: rule.import_parameter(tensors, shapes[rule.path]) for rule in rules}


def export_parameters(rules: Sequence[Rule], parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts parameters, by path, to the tensors of a file, by name.

    Raises:
      KeyError: a path has no rule.
    """
    by_path = {rule.path: rule for rule in rules}
    tensors: dict[str, np.ndarray] = {}
    for path, array in parameters.items():
        tensors |= by_path[path].export_parameter(np.asarray(array))
    return tensors


def read_folder(folder: str | pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads the configuration and the tensors of a model saved as `config.json` and `model.safetensors`.

    Raises:
      UserError: a file is missing or invalid.
    """
    folder = pathlib.Path(folder).expanduser()
    weights, config = folder / WEIGHTS, folder / CONFIG
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one with {CONFIG} and {WEIGHTS}")
    if not weights.exists():
        pickled = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        if pickled:
            raise UserError(
                f"{folder}: has {', '.join(pickled)} but no {WEIGHTS}. Pickles are not read, because a pickle can "
                "run any code. If you trust it, convert it: load the model with transformers and call "
                f"save_pretrained, which writes {WEIGHTS}."
            )
        raise UserError(f"{folder}: no {WEIGHTS} in it")
    if not config.exists():
        raise UserError(f"{folder}: no {CONFIG} beside {WEIGHTS}; it has the configuration of the model")
    settings = read_json(config, dict[str, Any])
    try:
        with safetensors.safe_open(weights, framework="np") as file:
            _check_header(file, weights)
            return settings, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise UserError(
            f"{weights}: not a complete safetensors file: {error}; copy or download it again"
        ) from None
    except OSError as error:
        raise UserError(f"{weights} cannot be read ({error.strerror or error}).") from error


def _check_header(file: Any, source: pathlib.Path) -> None:
    """Checks what the header of a file says, before memory is taken for its tensors.

    Raises:
      UserError: a tensor has a type that is not read, or the parameters would not fit into the memory of this machine.
    """
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    types = {name: slice.get_dtype() for name, slice in slices.items()}
    if strange := [f"{name} is {kind}" for name, kind in types.items() if kind not in _READABLE]:
        raise UserError(
            f"{source}: tensors have types that are not read: {_shortened(strange)}. Expected F32, F16 or BF16; "
            "convert them, since scales of quantised weights are not known here."
        )
    size, memory = 4 * sum(math.prod(slice.get_shape()) for slice in slices.values()), physical_memory()
    if size > memory:
        raise UserError(
            f"{source}: its tensors take {size / 2**30:,.1f} GiB as float32, and this machine has "
            f"{memory / 2**30:,.1f} GiB of memory."
        )


def _shortened(items: Sequence[str]) -> str:
    """The first items, on one line whatever a file has as names."""
    shown = [item if item.isprintable() else repr(item) for item in items[:_LISTED]]
    return "; ".join(shown) + (f"; and {len(items) - _LISTED} more" if len(items) > _LISTED else "")


def write_folder(
    folder: str | pathlib.Path, settings: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> None:
    """Writes `config.json` and `model.safetensors`, which other libraries read; creates the folder if necessary.

    Raises:
      UserError: the folder cannot be written.
    """
    folder = epath.Path(folder).expanduser()
    tensors = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    write_whole(folder / WEIGHTS, safetensors.numpy.save(tensors, metadata={"format": "pt"}))
    write_json(folder / CONFIG, dict(sorted(settings.items())))
