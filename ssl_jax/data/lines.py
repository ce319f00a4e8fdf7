"""The lines of a text file."""

import os
from pathlib import Path

from ssl_jax.data.encodings import not_utf8, require_utf8
from ssl_jax.errors import UserError


def read_lines(name: str) -> list[str]:
    """The lines of a UTF-8 file, without a byte order mark and without their ends, "\\n" or "\\r\\n".

    Other line separators of Unicode are characters like others.

    Args:
      name: path of the file.

    Raises:
      UserError: it is no file, cannot be read, or is not UTF-8.
    """
    return decode_lines(name, read_source(name))


def read_text_lines(name: str) -> list[str]:
    """As `read_lines`, of a file with a text a line: without the empty line after the end of the last one."""
    lines = read_lines(name)
    return lines[:-1] if lines[-1] == "" else lines


def read_source(name: str) -> bytes:
    """The bytes of a file of text. UserError if it is no file, cannot be read, or is evidently not UTF-8."""
    path = Path(os.path.expanduser(name))
    try:
        if not path.is_file():
            found = "is not a file" if path.exists() else "no such file"
            raise UserError(f"data source {name!r}: {found}.")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"data source {name!r}: cannot be read ({error.strerror or error}).") from error
    require_utf8(name, data)
    return data


def decode_lines(name: str, data: bytes) -> list[str]:
    """The lines of what `read_source` gives; for them and for errors see `read_lines`."""
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise not_utf8(name, error.start, error.reason) from error
    return [line.removesuffix("\r") for line in lines]
