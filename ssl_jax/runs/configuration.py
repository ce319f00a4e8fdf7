"""The configuration of a run: as it is saved in the run folder, and read back."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.runs.listing import import_experiment
from ssl_jax.training.folder import CONFIG, read_json

Config = Any
"""A frozen dataclass: the `Config` of an experiment."""


class SavedRun(NamedTuple):
    """What a run folder says of its run.

    Attributes:
      settings: all of config.json.
      module: the experiment, with PRESETS and `build`.
      config: the run's configuration.
    """

    settings: Mapping[str, Any]
    module: ModuleType
    config: Config


def run_settings(module: str, preset: str, config: Config, init_from: str | None = None) -> dict[str, Any]:
    """What a run folder says of its run, for `loop.train`.

    Args:
      module: name of the experiment's module, such as "experiments.bert".
      preset: that the configuration began with.
      config: the whole configuration.
      init_from: the run or the weights that the run starts from.
    """
    return {
        "experiment": module,
        "preset": preset,
        "init_from": init_from,
        "config": dataclasses.asdict(config),
    }


def read_run(folder: epath.Path, experiment: str | None = None) -> SavedRun:
    """Reads config.json of a run folder.

    Args:
      folder: of the run.
      experiment: module that the run must be of; None for any.

    Raises:
      UserError: it is not a run folder, holds a study or a run of another experiment, or is of an experiment or a
        configuration that this version does not know.
    """
    settings = read_json(folder / CONFIG)
    name = settings["experiment"]
    if experiment is not None and name != experiment:
        raise UserError(f"{folder}: is a run of {name}; expected one of {experiment}.")
    module = import_experiment(name)
    if not hasattr(module, "build"):
        runs = sorted(path.name for path in folder.iterdir() if (path / CONFIG).exists())
        raise UserError(
            f"{folder}: holds a study of several runs; name one of them: {', '.join(runs) or 'there is none yet'}."
        )
    default = module.PRESETS.get(settings["preset"], next(iter(module.PRESETS.values())))
    return SavedRun(settings, module, restore_config(default, settings["config"]))


def restore_config(default: Config, values: Mapping[str, Any]) -> Config:
    """A configuration from its JSON.

    Args:
      default: of the same type. A nested configuration is of the type that it has in `default`; where `default` holds
        none (an empty tuple, None), of the annotated one.
      values: of all fields, as `dataclasses.asdict` gives them, through JSON or not.

    Raises:
      UserError: a field is unknown or missing.
    """
    return _restore_fields(type(default), default, values)


def _restore_fields(kind: type, default: Config | None, values: Mapping[str, Any]) -> Config:
    names = {field.name for field in dataclasses.fields(kind)}
    if names != values.keys():
        strange = ", ".join(sorted(names ^ values.keys()))
        raise UserError(f"{CONFIG}: fields {strange} do not fit {kind.__name__} of this version.")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _restore(hints[name], getattr(default, name, None), values[name]) for name in names})


def _restore(hint: Any, default: Any, value: Any) -> Any:
    """A value from its JSON. `default` is an example of it, or None if there is none."""
    if isinstance(value, list | tuple):
        hints = _element_hints(hint, len(value))
        examples = [*default][: len(value)] if isinstance(default, tuple) else []
        examples += (examples[-1:] or [None]) * (len(value) - len(examples))
        return tuple(map(_restore, hints, examples, value))
    if isinstance(value, Mapping):
        if dataclasses.is_dataclass(default):
            return _restore_fields(type(default), default, value)
        for kind in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(kind):
                return _restore_fields(kind, None, value)
    return value


def _element_hints(hint: Any, length: int) -> list[Any]:
    """The annotation of every element of a tuple, which may stand in a union, as in `tuple[int, ...] | None`."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    for kind in typing.get_args(hint) if union else (hint,):
        of = typing.get_args(kind)
        if typing.get_origin(kind) is tuple and of[1:] == (...,):
            return [of[0]] * length
        if typing.get_origin(kind) is tuple and len(of) == length:
            return list(of)
    return [Any] * length
