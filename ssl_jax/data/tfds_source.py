"""Prepared TFDS data sets by name, through `tfds.data_source` (ArrayRecord: random access, without TensorFlow)."""

import contextlib
import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ssl_jax.errors import UserError

_DATA_SET = re.compile(r"\w+(/[\w.+-]+)?(:[\w.*]+)?")
"""A name in the library's own list. TFDS would take a path or a collection on the network, too: their files may name
Python modules, which are then imported, and a configuration may come from a stranger."""
_SPLIT = re.compile(r"(.+?):([A-Za-z_]\w*(?:\[.*)?)")


class TfdsSource:
    """A TFDS data set.

    Args:
      spec: `name[/config[:version]][:split]`; the split may be a slice, "train[:10%]".

    Attributes:
      name: name in messages.
      split: split in `spec`, or "".
      builder: builder of TFDS.

    Raises:
      UserError: the data set is unknown.
    """

    def __init__(self, spec: str):
        self.name = f"tfds:{spec}"
        logging.getLogger("absl").addFilter(_not_about_missing_info)
        self._data_set, self.split = _name_and_split(spec)
        if not _DATA_SET.fullmatch(self._data_set) or ".." in self._data_set:
            raise UserError(
                f"data source {self.name!r}: expected tfds:NAME, tfds:NAME/CONFIG or tfds:NAME:SPLIT."
            )

        import tensorflow_datasets as tfds  # slow to import, and few runs need it

        self._tfds = tfds
        with self._user_errors():
            self.builder = tfds.builder(self._data_set)

    def records(self, split: str, decoders: Mapping[str, Any] | None = None) -> Sequence[dict[str, Any]]:
        """The records of a split, with random access.

        Raises:
          UserError: the split is not prepared or does not exist.
        """
        with self._user_errors():
            return self.builder.as_data_source(split, decoders=decoders)

    def fingerprint(self, split: str, records: Sequence[dict[str, Any]]) -> str:
        """Changes when the records may have changed."""
        info = self.builder.info
        description = (info.full_name, split, len(records), info.splits.total_num_examples)
        return hashlib.sha256(repr(description).encode()).hexdigest()

    def require(self, field: str) -> None:
        """Checks that the records have a field.

        Raises:
          UserError: the field does not exist; the message lists the existing fields.
        """
        fields = self.builder.info.features
        if field not in fields:
            raise UserError(
                f"data source {self.name!r}: expected a field {field!r}; it has {', '.join(fields)}."
            )

    @contextlib.contextmanager
    def _user_errors(self) -> Iterator[None]:
        core = self._tfds.core
        try:
            yield
        except (core.registered.DatasetNotFoundError, NotImplementedError, AssertionError) as error:
            folder = str(core.constants.DATA_DIR)
            raise UserError(_how_to_prepare(self.name, self._data_set, folder)) from error
        except ValueError as error:
            raise UserError(f"data source {self.name!r}: {str(error).splitlines()[0]}") from error


def _name_and_split(spec: str) -> tuple[str, str]:
    """Splits a spec into (data set, split). A version, `:1.2.0`, also follows a colon."""
    match = _SPLIT.fullmatch(spec)
    return (match[1], match[2]) if match else (spec, "")


def _how_to_prepare(source: str, name: str, folder: str) -> str:
    return (
        f"data source {source!r}: unknown, or not prepared as ArrayRecord under {folder}. Prepare it on a machine "
        'with network access and its dependencies: python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', file_format='array_record').download_and_prepare()\". "
        "TFDS_DATA_DIR names another folder."
    )


def _not_about_missing_info(record: logging.LogRecord) -> bool:
    return "has no dataset_info.json" not in record.getMessage()
