"""Files and folders of images or recordings that a user names for a trained model."""

from collections.abc import Sequence
from pathlib import Path

from ssl_jax.data import image_files, speech_files
from ssl_jax.data.folders import list_files
from ssl_jax.errors import UserError

SUFFIXES = {"images": image_files.SUFFIXES, "speech": speech_files.SUFFIXES}
"""Of the files in a folder, by what the model reads."""


def named_files(names: Sequence[str], reads: str) -> list[str]:
    """The paths of the files, in the order in which they are named; those of a folder and its subfolders by name.

    Args:
      names: files and folders. A file that is named itself may have any suffix.
      reads: "images" or "speech".

    Raises:
      UserError: there is no such file or folder, or a folder has no file of the right kind.
    """
    found: list[str] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = [str(path / file.path) for file in list_files(path, SUFFIXES[reads])]
            if not inside:
                raise UserError(
                    f"{name}: no files below this folder that end with {', '.join(SUFFIXES[reads])}."
                )
            found += inside
        elif path.is_file():
            found.append(str(path))
        else:
            raise UserError(f"{name}: no such file or folder.")
    return found
