"""The run folder: which configuration it belongs to, and what it was run with."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from etils import epath

from ssl_jax.bucket import is_remote
from ssl_jax.errors import UserError
from ssl_jax.files import check_json, copy_file, is_draft, read_json, write_json, writing
from ssl_jax.training import lock
from ssl_jax.training.changes import (
    CONTINUED,
    as_json,
    changed_values,
    differences,
    refused,
    write_change,
)
from ssl_jax.training.environment import environment

CONFIG, ENVIRONMENT, DATA = "config.json", "environment.json", "data.json"
ENCODER = "encoder.json"
"""Sizes of an encoder that `--init_from` has brought."""
BASELINES = "baselines.json"
"""Values that the report found without training, by metric and name, beside which curves are drawn."""
LOG, EVENTS, CHECKPOINTS, DAMAGED = "metrics.jsonl", "tensorboard", "checkpoints", "damaged"
WALL_TIME = "wall_time.json"
OF_THE_START = (
    DATA,
    LOG,
    WALL_TIME,
    "tokenizer.model",
    "vocab.txt",
    "tokenizer_config.json",
    "tokenizer.json",
    ENCODER,
    ENVIRONMENT,
    CONTINUED,
)
"""Files that a run leaves in its folder before its first checkpoint, besides its config.json."""
WITH_OPTIMIZER = "with_optimizer"
"""Key of the settings of a run that has begun with the whole state of another one."""
ADVICE = (
    " (--resume {folder} needs none of them; more steps, and other intervals of logs, evaluations and checkpoints, are "
    "accepted), or another --workdir to start a new run, or both --workdir and --init_from {folder} to start from its "
    "weights."
)
"""How to go on with a run instead, or without it."""
PREPROCESSING = "preprocessing"
"""Key of data.json beside those of the data's identity."""


def changes(folder: epath.Path, settings: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between the run in a folder and these settings, as `changed_values` gives it."""
    return changed_values(read_json(folder / CONFIG, dict[str, Any]), as_json(settings))


def begun(folder: epath.Path, settings: Mapping[str, Any]) -> bool:
    """Whether the folder holds a run whose data has been opened, and which goes on with these settings.

    Args:
      folder: of the run.
      settings: its configuration as JSON, or some of the keys of it, which are then compared alone.

    Raises:
      UserError: config.json cannot be read.
    """
    with writing(folder):
        inside = _names(folder)
    if not {DATA, CONFIG} <= inside:
        return False
    saved = read_json(folder / CONFIG, dict[str, Any])
    wanted = as_json(settings)
    return _goes_on(folder, settings, changed_values({name: saved.get(name) for name in wanted}, wanted))


def _goes_on(folder: epath.Path, settings: Mapping[str, Any], changed: Mapping[str, Any]) -> bool:
    """Whether a run with these changes is the same run: there are none, or it is saved and may have these."""
    return not changed or ("init_from" in settings and not refused(changed) and bool(_saved_steps(folder)))


def check_claim(folder: epath.Path, settings: Mapping[str, Any]) -> None:
    """Checks that `claim` would accept a folder, and writes nothing.

    Raises:
      UserError: the folder cannot be read, holds a link that leads out of it, something else than a run, or a run with
        other settings that has a checkpoint (the differences are listed).
    """
    with writing(folder):
        inside = _names(folder)
    if not inside:
        return
    refuse_links(folder)
    if CONFIG not in inside:
        raise UserError(
            f"{folder} is not empty and not a run folder (it has no {CONFIG}); choose another --workdir."
        )
    changed = changes(folder, settings)
    if _goes_on(folder, settings, changed):
        if DATA not in inside and _saved_steps(folder, CHECKPOINTS, DAMAGED):
            raise UserError(
                f"{folder} has checkpoints but no {DATA}, which says what data they were trained on. Bring it back, or "
                "start anew with another --workdir."
            )
        return
    if (read_json(folder / CONFIG, dict[str, Any]).keys() ^ settings.keys()) - {WITH_OPTIMIZER}:
        raise UserError(
            f"{folder} is not empty and not a run folder (its {CONFIG} is that of something else, such as imported "
            "weights or a study); choose another --workdir."
        )
    if _has_history(folder):
        raise UserError(
            f"{folder} holds a run with another configuration; nothing was touched. Different (old -> new): "
            f"{differences(refused(changed) or changed)}. Give the old values to continue it"
            f"{ADVICE.format(folder=folder) if 'init_from' in settings else ', or another --workdir to start anew.'}"
        )


def claim(folder: epath.Path, settings: Mapping[str, Any], draft: epath.Path | None = None) -> None:
    """Makes the folder this run's, or goes on with the run that it holds.

    A run that has saved no checkpoint has nothing to lose. The folder may then be claimed with other settings, which
    replaces the files that the run wrote at its start; all other files stay.

    Args:
      folder: of the run or the study; it is made if needed. This process must hold its lock.
      settings: JSON: the experiment, the preset and the full configuration.
      draft: folder within it, of files that a new run starts with; they are moved into the run folder.

    Raises:
      UserError: the folder cannot be written, or as `check_claim`.
    """
    check_claim(folder, settings)
    if (folder / CONFIG).exists() and begun(folder, settings) and (changed := changes(folder, settings)):
        write_change(folder, max(_saved_steps(folder)), changed, sys.argv)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not is_remote(folder):  # there, drafts are elsewhere
            _remove_drafts(folder, keep=draft)
        if not begun(folder, settings):
            _remove_start(folder)
    write_json(folder / CONFIG, settings)
    write_json(folder / ENVIRONMENT, environment())
    if draft is not None:
        with writing(folder):
            for file in draft.iterdir():
                copy_file(file, folder / file.name) if is_remote(folder) else file.replace(folder / file.name)


def _names(folder: epath.Path) -> set[str]:
    """What is in a folder, without what comes and goes; empty if there is no such folder."""
    try:
        return {path.name for path in folder.iterdir() if path.name != lock.FILE and not is_draft(path)}
    except FileNotFoundError:
        return set()


def _saved_steps(folder: epath.Path, *places: str) -> list[int]:
    """The steps of the checkpoints of a run, in the named folders of it; in `CHECKPOINTS` if none is named."""
    kept = [folder / place for place in places or (CHECKPOINTS,)]
    return [
        int(path.name)
        for place in kept
        if place.is_dir()
        for path in place.iterdir()
        if path.name.isdecimal()
    ]


def _has_history(folder: epath.Path) -> bool:
    """Whether a run, or a run within its folder, has saved a checkpoint."""
    within = [path for path in folder.iterdir() if (path / CONFIG).exists()]
    return bool(_saved_steps(folder, CHECKPOINTS, DAMAGED)) or any(map(_has_history, within))


def _remove_drafts(folder: epath.Path, keep: epath.Path | None = None) -> None:
    """Removes the drafts that a crash has left in a run folder. Runs within it remove their own."""
    for path in folder.iterdir():
        if path == keep:
            continue
        if is_draft(path):
            path.rmtree() if path.is_dir() else path.unlink(missing_ok=True)
        elif path.is_dir() and path.name not in (CHECKPOINTS, DAMAGED) and not (path / CONFIG).exists():
            _remove_drafts(path)


def _remove_start(folder: epath.Path) -> None:
    """Removes what a run wrote before its first checkpoint, but for config.json, which still says what the rest is."""
    inside = _names(folder)
    for name in inside.intersection(OF_THE_START):
        (folder / name).unlink(missing_ok=True)
    if EVENTS in inside and (folder / EVENTS).is_dir():
        places = [folder / EVENTS, *(path for path in (folder / EVENTS).iterdir() if path.is_dir())]
        for path in (path for place in places for path in place.iterdir()):
            if path.name.startswith("events.out.tfevents."):
                path.unlink()


def refuse_links(folder: epath.Path) -> None:
    """Refuses a folder in which reading or writing could reach something outside.

    A run folder may come from somebody else, and an archive can hold links. Object stores (gs://) have none.

    Raises:
      UserError: below the folder is a link that leads out of it, or something that is neither a file nor a folder.
    """
    if is_remote(folder):
        return
    inside = Path(folder).resolve()
    pending = [inside]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    _refuse_link_out(folder, Path(entry.path), inside)
                elif entry.is_dir():
                    pending.append(Path(entry.path))
                elif not entry.is_file():
                    raise UserError(
                        f"{folder}: {Path(entry.path).relative_to(inside)} is neither a file nor a folder; remove it."
                    )


def _refuse_link_out(folder: epath.Path, link: Path, inside: Path) -> None:
    try:
        target = link.resolve()
    except (OSError, RuntimeError):  # it leads to itself
        target = None
    if target is None or not target.is_relative_to(inside):
        raise UserError(
            f"{folder}: {link.relative_to(inside)} is a link to {os.readlink(link)}, which is outside of this folder. "
            "Links out of a run folder are not followed: put a copy in its place, or remove it."
        )


class SavedData(NamedTuple):
    """What data.json says of the data of a run.

    Attributes:
      identity: what must not change between a run and its continuation.
      preprocessing: what decides the meaning of ids and pixels, for runs that start from this one.
    """

    identity: Mapping[str, str]
    preprocessing: Mapping[str, str]


def read_data(folder: epath.Path) -> SavedData:
    """Reads data.json of a run. Raises UserError if it is absent or damaged."""
    content = read_json(folder / DATA, dict[str, str | dict[str, str]])
    identity = {name: value for name, value in content.items() if name != PREPROCESSING}
    check_json(identity, dict[str, str], folder / DATA)
    return SavedData(identity, check_json(content.get(PREPROCESSING, {}), dict[str, str], folder / DATA))


def write_data(folder: epath.Path, data: SavedData) -> None:
    """Writes down what the data of a new run is. From then on the run has begun."""
    write_json(folder / DATA, {**data.identity, PREPROCESSING: dict(data.preprocessing)})


def check_data(folder: epath.Path, identity: Mapping[str, str]) -> None:
    """Checks that the data of a run is the one that it was started with.

    Raises:
      UserError: the identity has changed, or data.json is absent or damaged.
    """
    if changed := changed_values(read_data(folder).identity, dict(identity)):
        short = {name: (_abbreviated(old), _abbreviated(new)) for name, (old, new) in changed.items()}
        raise UserError(
            f"{folder}: the data is not what this run was started with (old -> new): {differences(short)}. "
            "Continuing would mix two curves. Bring the old files back, say with --data.source where they are now, or "
            "start anew with another --workdir."
        )


def _abbreviated(value: Any) -> Any:
    """The first eight digits of a hash; anything else as it is."""
    return f"{value[:8]}..." if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else value


def read_baselines(folder: epath.Path) -> dict[str, dict[str, float]]:
    """What the report of a run wrote to baselines.json, {} if it has none. Raises UserError if the file is damaged."""
    file = folder / BASELINES
    return read_json(file, dict[str, dict[str, float]]) if file.exists() else {}
