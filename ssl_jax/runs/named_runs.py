"""Runs that a configuration names: they are copied into the run folder, which is complete from then on.

A configuration that begins with another run says so with `copies`: the fields that name runs, and for each the folder
within the run folder that the named run is copied to.

    run: Text = ""
    copies: ClassVar[Mapping[str, str]] = {"run": "vqvae"}
"""

import dataclasses
from collections.abc import Mapping

from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.files import copy_file, is_draft, write_whole, writing
from ssl_jax.runs.configuration import Config
from ssl_jax.training import lock
from ssl_jax.training.folder import CHECKPOINTS, CONFIG


def with_own_runs(config: Config, folder: epath.Path, *, required: bool = False) -> Config:
    """The configuration of a run with the copies in its own folder in place of the runs that it names.

    Args:
      config: of the run.
      folder: of the run.
      required: whether every named run must have been copied, as in a run that has a checkpoint. A run folder of a
        stranger then makes the program read nothing outside of it.

    Raises:
      UserError: a copy is required and is not there.
    """
    copied = {}
    for field, name in _copies(config).items():
        if (folder / name / CONFIG).exists():
            copied[field] = str(folder / name)
        elif required:
            raise UserError(
                f"{folder}: its copy of the run {getattr(config, field)}, in {folder / name}, is not there. Bring the "
                "whole run folder."
            )
    return dataclasses.replace(config, **copied)


def copy_run(source: epath.Path, step: int, folder: epath.Path) -> None:
    """Copies what is needed of a run: its files, and one checkpoint.

    config.json comes last, so that a folder without it is a copy that was not finished, which is then made again.

    Args:
      source: folder of the run.
      step: of the checkpoint.
      folder: of the copy.

    Raises:
      UserError: the copy cannot be written.
    """
    if (folder / CONFIG).exists():
        return
    with writing(folder):
        if folder.exists():
            folder.rmtree()
        _copy(source / CHECKPOINTS / str(step), folder / CHECKPOINTS / str(step))
        for file in source.iterdir():
            if file.is_file() and file.name not in (CONFIG, lock.FILE) and not is_draft(file):
                copy_file(file, folder / file.name)
    write_whole(folder / CONFIG, (source / CONFIG).read_bytes())


def _copies(config: Config) -> Mapping[str, str]:
    """Folder of the copy by field, of the runs that a configuration names."""
    copies: Mapping[str, str] = getattr(config, "copies", {})
    return {field: name for field, name in copies.items() if getattr(config, field)}


def _copy(source: epath.Path, target: epath.Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        _copy(path, target / path.name) if path.is_dir() else copy_file(path, target / path.name)
