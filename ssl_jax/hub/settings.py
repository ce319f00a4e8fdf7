"""Functions for all model families: fields of `config.json`, tied tensors, and shapes of parameters."""

import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict

from ssl_jax.domains import check_field
from ssl_jax.errors import UserError
from ssl_jax.ops.activations import Activation

Model = TypeVar("Model")
"""The configuration of a model."""
_ACTIVATIONS: dict[str, Activation] = {  # name in config.json: name in ssl_jax
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


def read_fields(
    kind: type,
    settings: Mapping[str, Any],
    names: Mapping[str, str],
    required: Sequence[str],
    supported: Mapping[str, Any],
    source: str,
) -> dict[str, Any]:
    """Converts the settings of a `config.json` to fields of a configuration.

    Args:
      kind: class of the configuration.
      settings: contents of `config.json`.
      names: name of the setting for each field.
      required: fields that a file must have; others are omitted if it does not have them.
      supported: settings that the model does not have, with the only supported value of each.
      source: name of the file in errors.

    Raises:
      UserError: a setting is missing or not supported, or has a value that its field cannot have.
    """
    for name, value in supported.items():
        if settings.get(name, value) != value:
            raise UserError(
                f"{source}: config.json has {name} {settings[name]!r:.80}; only {value!r} is supported"
            )
    missing = [names[field] for field in required if names[field] not in settings]
    if missing:
        raise UserError(f"{source}: config.json lacks {', '.join(missing)}")
    for field, name in names.items():
        if name in settings:
            check_field(kind, field, settings[name], f"{source}: config.json: {name}")
    return {field: settings[name] for field, name in names.items() if name in settings}


def make_config(kind: type[Model], source: str, **fields: Any) -> Model:
    """The configuration of a model.

    Raises:
      UserError: its fields do not fit together; the message names the file.
    """
    try:
        return kind(**fields)
    except UserError as error:
        raise UserError(f"{source}: config.json: {error}") from None


def one_of(
    choices: Collection[str], settings: Mapping[str, Any], name: str, source: str, default: str = ""
) -> str:
    """The setting `name`.

    Raises:
      UserError: it is none of the choices.
    """
    value = settings.get(name, default or None)
    if not isinstance(value, str) or value not in choices:
        expected = f"{'one of ' if len(choices) > 1 else ''}{', '.join(choices)}"
        raise UserError(f"{source}: {name} is {value!r:.80}, expected {expected}")
    return value


def read_activation(settings: Mapping[str, Any], name: str, default: str, source: str) -> Activation:
    """The activation for the setting `name`.

    Raises:
      UserError: the activation is not supported.
    """
    return _ACTIVATIONS[one_of(_ACTIVATIONS, settings, name, source, default)]


def activation_name(activation: Activation) -> str:
    """The name of an activation in `config.json`."""
    return next(name for name, value in _ACTIVATIONS.items() if value == activation)


def merge_tied(
    tensors: Mapping[str, np.ndarray], copies: Mapping[str, str], source: str
) -> dict[str, np.ndarray]:
    """Removes the copies of tied tensors.

    Args:
      tensors: by name.
      copies: name of a copy -> name of the original. A file may have either or both.
      source: name of the file in errors.

    Raises:
      UserError: a copy differs from its original.
    """
    merged = dict(tensors)
    for copy, original in copies.items():
        if copy in merged and not np.array_equal(merged.setdefault(original, merged[copy]), merged[copy]):
            raise UserError(
                f"{source}: {copy} differs from {original}; these models tie the two and cannot hold both"
            )
        merged.pop(copy, None)
    return merged


def require_position_encoding(expected: str, actual: str, path: str | pathlib.Path, layout: str) -> None:
    """Refuses the export of a model with another `position_encoding` than a layout of Hugging Face has.

    Args:
      expected: that of the layout.
      actual: that of the model.
      path: the folder to be written, in the error.
      layout: names of the models with this layout, in the error.

    Raises:
      UserError: the two differ.
    """
    if actual != expected:
        raise UserError(
            f"{path}: positions are {expected} in Hugging Face's {layout}, and this model was trained with "
            f"--model.position_encoding {actual}; export a model that was trained with "
            f"--model.position_encoding {expected}."
        )


def parameter_shapes(model: nn.Module, *arguments: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of the model's parameters, by path.

    Args:
      model: the model.
      *arguments: arguments of a call.
    """
    params = jax.eval_shape(model.init, jax.random.key(0), *arguments)["params"]
    return {path: value.shape for path, value in flatten_dict(params, sep="/").items()}
