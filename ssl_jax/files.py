"""Files written whole or not at all, and JSON read with a check of its types. Local, or on gs://."""

import contextlib
import errno
import json
import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import typeguard
from etils import epath

from ssl_jax import bucket_path  # noqa: F401  from here on, epath.Path("gs://...") is one of ours
from ssl_jax.bucket import is_remote
from ssl_jax.errors import UserError

Kind = TypeVar("Kind")
AnyPath = TypeVar("AnyPath", Path, epath.Path)

DEPTH = 50
"""Levels of nesting in a file of JSON; ours have fewer than ten."""


@contextlib.contextmanager
def writing(path: epath.Path) -> Iterator[None]:
    """Turns a full disk, a read-only folder and their like into a UserError that names `path` without its drafts."""
    try:
        yield
    except OSError as error:
        shown = epath.Path(*(part for part in path.parts if not is_draft(epath.Path(part))))
        raise UserError(
            f"{shown} cannot be written ({error.strerror or error}). What was there before is unchanged: free some "
            "space or give write permission and run the same command again, or choose another folder."
        ) from error


@contextlib.contextmanager
def whole(file: epath.Path) -> Iterator[epath.Path]:
    """Yields the path of a draft of a file, and puts it in its place when the block ends without an error.

    The folder is made if it is not there. After an error, or a crash at any time, the file has its previous content.
    The draft lies beside the file and is renamed to it; for a file on gs:// it is local, and sent as a whole. Its name
    is a new one each time, so that two processes never write the same draft, and none follows a link that was put in
    its place.

    Raises:
      UserError: the folder cannot be written, or the disk is full.
    """
    if is_remote(file):
        with writing(file), _local_folder() as local:
            draft = local / file.name
            yield draft
            file.write_bytes(draft.read_bytes())
        return
    draft = draft_of(file)
    with writing(file):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            yield draft
            draft.replace(file)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def draft_folder(folder: epath.Path) -> Iterator[epath.Path]:
    """Yields a new, empty folder for files that will be moved into a folder, and removes it when the block ends.

    It lies within the folder, or in a local place if the folder is on gs://.

    Raises:
      UserError: the folder cannot be written, or the disk is full.
    """
    if is_remote(folder):
        with _local_folder() as local:
            yield local
        return
    draft = draft_of(folder / "draft")
    with writing(folder):
        draft.mkdir(parents=True)
    try:
        yield draft
    finally:
        draft.rmtree(missing_ok=True)


@contextlib.contextmanager
def whole_folder(folder: epath.Path) -> Iterator[epath.Path]:
    """Yields a new, empty folder for files, and gives it the name of a folder when the block ends without an error.

    A folder that has exactly these files already is left as it is. After an error, or a crash at any time, there is no
    folder of this name. On gs://, where a folder has no name of its own, its files are written one after the other.

    Raises:
      UserError: the folder has other files, or cannot be written.
    """
    with contextlib.ExitStack() as stack:
        if is_remote(folder):
            draft = stack.enter_context(_local_folder())
        else:
            draft = draft_of(folder)
            stack.callback(draft.rmtree, missing_ok=True)
            with writing(folder):
                draft.mkdir(parents=True)
        try:
            yield draft
        except UserError as error:  # which may name a file in the draft
            raise UserError(str(error).replace(str(draft), str(folder))) from error
        with writing(folder):
            there = _contents(folder)
            if there == _contents(draft):
                return
            if there:
                raise UserError(
                    f"{folder}: it has other files already, such as {sorted(there)[0]}. They are unchanged: name a "
                    "folder that is not there yet, or remove this one."
                )
            if is_remote(folder):
                for file in draft.iterdir():
                    copy_file(file, folder / file.name)
            else:
                draft.replace(folder)


def _contents(folder: epath.Path) -> dict[str, bytes]:
    """The contents of the files in a folder, by name; of folders within it, nothing. Empty if it is not there."""
    if not folder.exists():
        return {}
    return {path.name: path.read_bytes() if path.is_file() else b"" for path in folder.iterdir()}


@contextlib.contextmanager
def _local_folder() -> Iterator[epath.Path]:
    """A folder for drafts of what is on gs://."""
    with tempfile.TemporaryDirectory(prefix="ssl_jax_draft_") as folder:
        yield epath.Path(folder)


def draft_of(file: AnyPath) -> AnyPath:
    """A new name beside a file or a folder, for what is then renamed to it; `is_draft` knows it."""
    return file.with_name(f".{file.name}.{uuid.uuid4().hex}")


def is_draft(path: epath.Path) -> bool:
    """Whether a path is a draft of `whole` or `draft_folder`, which a crash may leave behind."""
    return re.fullmatch(r"\..+\.[0-9a-f]{32}", path.name) is not None


def check_writable(file: epath.Path) -> None:
    """Raises UserError if a file cannot be written, before anything is computed for it. Its folder is made."""
    draft = draft_of(file)
    with writing(file):
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(b"")
        draft.unlink()


def check_output_folder(folder: epath.Path) -> None:
    """Raises UserError if no file can be written into a folder, which is made, before anything is computed for it."""
    try:
        check_writable(folder / "output")
    except UserError as error:
        raise UserError(f"--output: {error}") from error.__cause__


def write_whole(file: epath.Path, content: bytes | str) -> None:
    """Writes a file; text as UTF-8. Raises UserError as `whole` does."""
    content = content.encode() if isinstance(content, str) else content
    if is_remote(file):
        with writing(file):
            file.write_bytes(content)
        return
    with whole(file) as draft:
        draft.write_bytes(content)


def copy_file(source: epath.Path, target: epath.Path) -> None:
    """Copies a file; either may be on gs://. OSError or UserError if it cannot be read or written."""
    if is_remote(source) == is_remote(target):
        source.copy(target)
    else:
        write_whole(target, source.read_bytes())


def write_json(file: epath.Path, content: Any) -> None:
    """Writes a file of JSON. Raises UserError as `whole` does."""
    write_whole(file, json.dumps(content, indent=2) + "\n")


def read_json(file: epath.Path, kind: type[Kind], absent: str | None = None) -> Kind:
    """Reads a file of JSON.

    Args:
      file: the file.
      kind: type that its content must have: any annotation, such as a TypedDict, whose keys are then required.
      absent: what to say if there is no such file; None for a message that names the file.

    Raises:
      UserError: the file is absent, cannot be read, is not JSON, or has a content of another type; the message names
        the file and the key.
    """
    try:
        content = json.loads(file.read_bytes().decode())
        if _is_deep(content):
            raise ValueError(f"nested more than {DEPTH} times")
    except FileNotFoundError:
        raise UserError(absent or f"{file}: no such file.") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or error}).") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested too deeply
        raise UserError(f"{file}: not JSON ({error}); bring back the file as it was written.") from None
    return check_json(content, kind, file)


def _is_deep(content: Any) -> bool:
    """Whether JSON is nested so deeply that functions that call themselves could fail on it."""
    level = [content] if isinstance(content, dict | list) else []
    for _ in range(DEPTH):
        inner = (outer.values() if isinstance(outer, dict) else outer for outer in level)
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
    return bool(level)


def check_json(content: Any, kind: type[Kind], place: object) -> Kind:
    """The content, if it has the type that is expected; `place` names where it is from.

    Raises:
      UserError: it has another type; the message names the key.
    """
    try:
        return typeguard.check_type(
            content, kind, collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS
        )
    except typeguard.TypeCheckError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{place}: {reason}; bring back the file as it was written.") from None
