"""Cached folders of derived data, written atomically, by any number of processes at once."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ssl_jax.errors import UserError


def default_cache() -> Path:
    """`$SSL_JAX_CACHE` if set, otherwise `ssl_jax` in the user's cache folder."""
    if "SSL_JAX_CACHE" in os.environ:
        return Path(os.environ["SSL_JAX_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ssl_jax"


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path` and renames it to `path` when the block ends without an error.

    If another process has created `path` meanwhile, its folder is kept: both have the same content.

    Raises:
      UserError: the folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        yield temporary
        try:
            os.rename(temporary, path)
        except OSError:
            if not path.is_dir():
                raise
    except OSError as error:
        raise UserError(
            f"cache folder {str(path.parent)!r} cannot be written ({error}). Free some space there, or set "
            "SSL_JAX_CACHE to another folder."
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
