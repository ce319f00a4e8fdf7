"""What a prepared folder is for, and which of its files are finished: notes within it while it is made."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etils import epath

from ssl_jax.data.prepared.manifest import FILE, Shard
from ssl_jax.data.prepared.records import RecordFile, is_intact
from ssl_jax.errors import UserError
from ssl_jax.files import is_draft, read_json, write_json

WORK = "work"
"""Folder of what is not finished, within the output."""
RERUN = "Run the same command again."
"""What to do about a damaged file while others are made of it."""
_ASKED = "asked.json"


def is_prepared(folder: epath.Path) -> bool:
    """Whether a folder was made by `ssl_jax.prepare`, finished or not."""
    return (folder / _ASKED).exists()


def check_same(folder: epath.Path, asked: Mapping[str, Any], called: Mapping[str, str]) -> None:
    """Notes what a folder is for, or compares it.

    Args:
      folder: the folder.
      asked: what is asked for, in words and numbers that can be compared; those of "settings" are named one by one.
      called: what the others are called in a message, where it does not show their values.

    Raises:
      UserError: the folder was begun for something else.
    """
    file = folder / _ASKED
    if not file.exists():
        if (folder / FILE).exists():
            raise UserError(
                f"{folder}: {_ASKED} is missing, which says what it was made for; name another folder."
            )
        write_json(file, asked)
        return
    before, now = _flat(read_json(file, dict[str, Any])), _flat(asked)
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        differences = ", ".join(
            called.get(name, f"{name} ({before.get(name)} there, {now.get(name)} here)") for name in changed
        )
        raise UserError(
            f"{folder}: was begun with other settings: {differences}. Give the same ones to continue, or another "
            "--output."
        )


def _flat(asked: Mapping[str, Any]) -> dict[str, Any]:
    settings = asked.get("settings")
    others = {name: value for name, value in asked.items() if name != "settings"}
    return {**others, **settings} if isinstance(settings, dict) else others


def is_complete(folder: epath.Path, files: Sequence[RecordFile], log: Callable[[str], None]) -> bool:
    """Whether all files of a manifest are as they were written; otherwise notes which of them are."""
    intact = [is_intact(folder, file) for file in files]
    if all(intact):
        log(f"{folder} is complete, and all of its files are intact")
        return True
    for file, sound in zip(files, intact, strict=True):
        if sound:
            describe(folder, file)
        else:
            log(f"{folder / file['name']} is missing or damaged; it is made again")
    return False


def finish(folder: epath.Path, manifest: Mapping[str, Any]) -> None:
    """Writes the manifest, and removes what is no longer needed."""
    write_json(folder / FILE, manifest)
    (folder / WORK).rmtree()
    for path in folder.iterdir():
        if is_draft(path):  # of a process that was killed
            path.unlink()


def is_done(folder: epath.Path, name: str) -> bool:
    """Whether a file is there as it was described when it was finished; all of it is read."""
    description = _description(folder, name)
    return description.exists() and is_intact(folder, read_json(description, Shard))


def describe(folder: epath.Path, file: RecordFile) -> None:
    """Notes that a file is finished."""
    write_json(_description(folder, file["name"]), file)


def read_description(folder: epath.Path, name: str) -> Shard:
    """The description of a file that is done."""
    return read_json(_description(folder, name), Shard)


def descriptions(folder: epath.Path) -> epath.Path:
    """The folder of the descriptions of finished files, within that of the files."""
    return folder / WORK / "shards"


def _description(folder: epath.Path, name: str) -> epath.Path:
    return descriptions(folder) / f"{name}.json"
