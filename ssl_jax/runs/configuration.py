"""The configuration of a run: as it is saved in the run folder, and read back."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple, NotRequired, TypedDict

from etils import epath

from ssl_jax.domains import check_settings, unchecked
from ssl_jax.errors import UserError
from ssl_jax.files import read_json
from ssl_jax.runs.listing import import_installed
from ssl_jax.training.folder import CONFIG, WITH_OPTIMIZER, refuse_links

Config = Any
"""A frozen dataclass: the `Config` of an experiment."""


class RunSettings(TypedDict):
    """The content of config.json, in the folder of a run or of a study.

    Attributes:
      experiment: name of the module.
      preset: that the configuration began with. It is a label: all values are in `config`.
      init_from: the run or the weights that the run started from; a study has none.
      with_optimizer: whether it began with the whole state of that checkpoint; absent where it did not.
      config: all fields of the configuration.
    """

    experiment: str
    preset: str
    init_from: NotRequired[str | None]
    with_optimizer: NotRequired[bool]
    config: dict[str, Any]


class SavedRun(NamedTuple):
    """What a run folder says of its run.

    Attributes:
      settings: all of config.json.
      module: the experiment, with PRESETS and `build`.
      config: the run's configuration.
    """

    settings: RunSettings
    module: ModuleType
    config: Config


def run_settings(
    module: str, preset: str, config: Config, init_from: str | None = None, with_optimizer: bool = False
) -> RunSettings:
    """What a run folder says of its run, for `loop.train`.

    Args:
      module: name of the experiment's module, such as "experiments.bert".
      preset: that the configuration began with.
      config: the whole configuration.
      init_from: the run or the weights that the run starts from.
      with_optimizer: whether it starts from the whole state of that checkpoint.
    """
    return {
        "experiment": module,
        "preset": preset,
        "init_from": init_from,
        **({WITH_OPTIMIZER: True} if with_optimizer else {}),
        "config": dataclasses.asdict(config),
    }


def read_run(folder: epath.Path, experiment: str | tuple[str, ...] | None = None) -> SavedRun:
    """Reads config.json of a run folder, which may come from a stranger.

    Args:
      folder: of the run.
      experiment: module that the run must be of, or several of which it must be one; None for any.

    Raises:
      UserError: it is not a run folder, holds a study or a run of another experiment, or is of an experiment or a
        configuration that this version does not know.
    """
    settings, module = read_settings(folder)
    name = settings["experiment"]
    allowed = (experiment,) if isinstance(experiment, str) else experiment
    if allowed is not None and name not in allowed:
        raise UserError(f"{folder}: is a run of {name}; expected one of {' or '.join(allowed)}.")
    if not hasattr(module, "build"):
        runs = sorted(path.name for path in folder.iterdir() if (path / CONFIG).exists())
        raise UserError(
            f"{folder}: holds a study of several runs; name one of them: {', '.join(runs) or 'there is none yet'}."
        )
    return SavedRun(settings, module, read_config(settings, module, folder))


def read_settings(folder: epath.Path) -> tuple[RunSettings, ModuleType]:
    """Reads config.json in the folder of a run or of a study: (its content, the module of its experiment).

    Raises:
      UserError: the file is absent or damaged, or names an experiment that is not of this installation.
    """
    file = folder / CONFIG
    if file.exists():
        refuse_links(folder)
    settings = read_json(file, RunSettings, f"{folder}: not a run folder (it has no {CONFIG}).")
    return settings, import_installed(settings["experiment"], file)


def read_config(settings: RunSettings, module: ModuleType, folder: epath.Path) -> Config:
    """The configuration in what `read_settings` has read.

    Raises:
      UserError: a field is unknown or missing, or has a value that it cannot have.
    """
    default = module.PRESETS.get(settings["preset"], next(iter(module.PRESETS.values())))
    return restore_config(default, settings["config"], folder / CONFIG)


def restore_config(default: Config, values: Mapping[str, Any], place: object = CONFIG) -> Config:
    """A configuration from its JSON.

    Args:
      default: of the same type. A nested configuration is of the type that it has in `default`; where `default` holds
        none (an empty tuple, None), of the annotated one.
      values: of all fields, as `dataclasses.asdict` gives them, through JSON or not.
      place: name of the file in errors.

    Raises:
      UserError: a field is unknown or missing, or has a value that it cannot have; the message names it.
    """
    try:
        with unchecked():
            config = _restore_fields(type(default), default, values, "config")
        check_settings(config, "config.")  # types as well as ranges
        return config
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


def _restore_fields(kind: type, default: Config | None, values: Mapping[str, Any], path: str) -> Config:
    names = [field.name for field in dataclasses.fields(kind)]
    if strange := sorted({*names} ^ values.keys()):
        shown = ", ".join(name if name.isidentifier() else f"{name!r:.40}" for name in strange[:20])
        raise UserError(f"{path}: fields {shown} do not fit {kind.__name__} of this version.")
    hints = typing.get_type_hints(kind)
    return kind(**{n: _restore(hints[n], getattr(default, n, None), values[n], f"{path}.{n}") for n in names})


def _restore(hint: Any, default: Any, value: Any, path: str) -> Any:
    """A value from its JSON. `default` is an example of it, or None if there is none."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if union else (hint,)
    if isinstance(value, list | tuple):
        for kind in kinds:
            if (hints := _element_hints(kind, len(value))) is not None:
                examples = [*default][: len(value)] if isinstance(default, tuple) else []
                examples += (examples[-1:] or [None]) * (len(value) - len(examples))
                paths = [f"{path}.{i}" for i in range(len(value))]
                return tuple(map(_restore, hints, examples, value, paths))
    if isinstance(value, Mapping):
        if dataclasses.is_dataclass(default):
            return _restore_fields(type(default), default, value, path)
        for kind in kinds:
            if dataclasses.is_dataclass(kind):
                return _restore_fields(kind, None, value, path)
    return value  # of whatever type; `check_settings` compares it with its domain


def _element_hints(kind: Any, length: int) -> list[Any] | None:
    """The annotation of every element of a tuple; None if it is no tuple of this length."""
    of = typing.get_args(kind)
    if typing.get_origin(kind) is not tuple:
        return None
    if of[1:] == (...,):
        return [of[0]] * length
    return list(of) if len(of) == length else None
