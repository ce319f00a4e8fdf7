"""`--config FILE`: settings from a file, such as the config.json of a run folder, or a few fields in YAML or JSON."""

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.files import check_json, read_json
from ssl_jax.runs.configuration import Config, RunSettings, restore_config

LARGEST = 2**20
"""Bytes of a file of settings."""


class ConfigFile(NamedTuple):
    """What a file of settings says.

    Attributes:
      preset: that its configuration began with; None if it has only some fields.
      init_from: the source that its run started from.
      config: the configuration.
    """

    preset: str | None
    init_from: str | None
    config: Config


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 does, and refuses aliases, with which a small file can become a huge one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_config_file(file: str, module: str, preset: Config) -> ConfigFile:
    """Reads a file of settings.

    Args:
      file: .json, .yaml or .yml: what a run folder holds as config.json, or some fields by section.
      module: name of the experiment that the user has called.
      preset: values of the fields that the file does not have.

    Raises:
      UserError: it cannot be read, is of another experiment, or has a field or a value that the experiment does not
        have.
    """
    content = _read(epath.Path(file).expanduser())
    if "experiment" not in content:
        fields = _merged(dataclasses.asdict(preset), content, "")
        return ConfigFile(None, None, restore_config(preset, fields, f"--config {file}"))
    saved = check_json(content, RunSettings, f"--config {file}")
    if saved["experiment"] != module:
        raise UserError(
            f"--config {file}: is of {saved['experiment']}; the command is python -m {saved['experiment']} "
            f"--config {file}."
        )
    if saved.get("with_optimizer"):
        raise UserError(
            f"--config {file}: is of a run that began with the whole state of {saved.get('init_from')}; give --config "
            "a file with the fields of its `config` alone, and --init_from and --with_optimizer on the command line."
        )
    config = restore_config(preset, saved["config"], f"--config {file}")
    return ConfigFile(saved["preset"], saved.get("init_from"), config)


def _read(file: epath.Path) -> dict[str, Any]:
    if file.suffix not in (".json", ".yaml", ".yml"):
        raise UserError(f"--config {file}: expected a file whose name ends with .json, .yaml or .yml.")
    if file.suffix == ".json":
        return read_json(file, dict[str, Any])
    try:
        text = file.read_bytes()
        if len(text) > LARGEST:
            raise UserError(f"--config {file}: has {len(text):,} bytes; expected {LARGEST:,} at most.")
        content = json.loads(json.dumps(yaml.load(text, _Loader)))
    except FileNotFoundError:
        raise UserError(f"--config {file}: no such file.") from None
    except OSError as error:
        raise UserError(f"--config {file}: cannot be read ({error.strerror or error}).") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"--config {file}: not YAML ({' '.join(str(error).split()):.200}).") from None
    return check_json(content, dict[str, Any], f"--config {file}")


def _merged(preset: Any, given: Any, path: str) -> Any:
    """The values of a preset, as JSON, with those of a file in their place."""
    if isinstance(preset, Mapping) and isinstance(given, Mapping):
        for name in given:
            if name not in preset:
                close = difflib.get_close_matches(name, preset, n=1)
                hint = f"; did you mean {path}{close[0]}?" if close else f"; there are {', '.join(preset)}."
                raise UserError(f"--config: there is no field {path}{name:.80}{hint}")
        return {
            name: _merged(value, given[name], f"{path}{name}.") if name in given else value
            for name, value in preset.items()
        }
    if _are_sections(preset) and isinstance(given, Sequence) and not isinstance(given, str):
        examples = [*preset, *[preset[-1]] * len(given)]
        return [_merged(examples[n], value, f"{path}{n}.") for n, value in enumerate(given)]
    return given


def _are_sections(value: Any) -> bool:
    """Whether a value is a list of sections, such as the settings of several views."""
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)
