"""Atomic writes: after a write, a file has its old or its new content, whatever interrupts the write."""

import uuid

from etils import epath

from ssl_jax.errors import UserError


def write_whole(file: epath.Path, content: bytes) -> None:
    """Writes a file in the same folder under another name, and then renames it.

    Raises:
      UserError: the folder cannot be written or the disk is full. The previous content is unchanged.
    """
    draft = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        try:
            draft.write_bytes(content)
            draft.replace(file)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(
            f"{file} cannot be written ({error.strerror or error}). Free some space there or give write permission, "
            "then run the same command again."
        ) from error
