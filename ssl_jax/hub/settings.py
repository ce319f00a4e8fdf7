"""What the families of weights share: fields of `config.json`, tied tensors, and the shapes of our parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict

from ssl_jax.errors import UserError
from ssl_jax.ops.activations import Activation

_ACTIVATIONS: dict[str, Activation] = {  # theirs: ours
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


def read_fields(
    settings: Mapping[str, Any],
    names: Mapping[str, str],
    required: Sequence[str],
    only: Mapping[str, Any],
    source: str,
) -> dict[str, Any]:
    """Fields of our configuration from their settings.

    Args:
        settings: theirs, what `config.json` holds.
        names: of their setting for each of our fields.
        required: those of our fields that a file must have; others are left out where it has none.
        only: what a file may ask for and our model does not have, with the one value that it has.
        source: what an error calls the file.

    Raises:
        UserError: naming the setting that is missing or that our model does not have.
    """
    for name, supported in only.items():
        if settings.get(name, supported) != supported:
            raise UserError(
                f"{source}: config.json has {name} {settings[name]!r}; known is {supported!r} only"
            )
    missing = [names[field] for field in required if names[field] not in settings]
    if missing:
        raise UserError(f"{source}: config.json lacks {', '.join(missing)}")
    return {field: settings[name] for field, name in names.items() if name in settings}


def read_activation(settings: Mapping[str, Any], name: str, default: str, source: str) -> Activation:
    """Our activation for their setting of this name. Raises UserError for one that we do not have."""
    theirs = settings.get(name, default)
    if theirs not in _ACTIVATIONS:
        raise UserError(f"{source}: {name} is {theirs!r}, expected one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[theirs]


def their_activation(ours: Activation) -> str:
    """Their name of our activation."""
    return next(theirs for theirs, mine in _ACTIVATIONS.items() if mine == ours)


def without_copies(
    tensors: Mapping[str, np.ndarray], copies: Mapping[str, str], source: str
) -> dict[str, np.ndarray]:
    """The tensors with each of those that are tied under one name.

    Args:
        tensors: by name.
        copies: name of a tensor -> the name of the one that it is once more. A file may have either or both.
        source: what an error calls the file.

    Raises:
        UserError: when the two differ.
    """
    tidy = dict(tensors)
    for copy, original in copies.items():
        if copy in tidy and not np.array_equal(tidy.setdefault(original, tidy[copy]), tidy[copy]):
            raise UserError(
                f"{source}: {copy} differs from {original}; these models tie the two and cannot hold both"
            )
        tidy.pop(copy, None)
    return tidy


def parameter_shapes(model: nn.Module, *arguments: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of the model's parameters, by path; the arguments are those of a call."""
    params = jax.eval_shape(model.init, jax.random.key(0), *arguments)["params"]
    return {path: value.shape for path, value in flatten_dict(params, sep="/").items()}
