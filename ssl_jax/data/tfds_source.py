"""Prepared TFDS data sets by name, through `tfds.data_source` (ArrayRecord: random access, and no TensorFlow)."""

import contextlib
import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ssl_jax.errors import UserError

_SPLIT = re.compile(r"(.+?):([A-Za-z_]\w*(?:\[.*)?)")


class TfdsSource:
    """A TFDS data set.

    Args:
      spec: `name[/config[:version]][:split]`; the split may be a slice, "train[:10%]".

    Attributes:
      name: what the user calls it. split: the one that `spec` names, or "". builder: TFDS's.

    Raises:
      UserError: the data set is unknown.
    """

    def __init__(self, spec: str):
        import tensorflow_datasets as tfds  # takes a while, and few runs need it

        self.name = f"tfds:{spec}"
        logging.getLogger("absl").addFilter(_not_about_missing_info)
        self._data_set, self.split = _name_and_split(spec)
        self._tfds = tfds
        with self._explained():
            self.builder = tfds.builder(self._data_set)

    def records(self, split: str, decoders: Mapping[str, Any] | None = None) -> Sequence[dict[str, Any]]:
        """The records of a split, at random. UserError if it is not prepared, or has no such split."""
        with self._explained():
            return self.builder.as_data_source(split, decoders=decoders)

    def fingerprint(self, split: str, records: Sequence[dict[str, Any]]) -> str:
        """Changes when the records may have changed."""
        info = self.builder.info
        description = (info.full_name, split, len(records), info.splits.total_num_examples)
        return hashlib.sha256(repr(description).encode()).hexdigest()

    def require(self, field: str) -> None:
        """UserError, with the fields there are, if this one is not among them."""
        fields = self.builder.info.features
        if field not in fields:
            raise UserError(
                f"data source {self.name!r}: expected a field {field!r}; it has {', '.join(fields)}."
            )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        core = self._tfds.core
        try:
            yield
        except (core.registered.DatasetNotFoundError, NotImplementedError, AssertionError) as error:
            folder = str(core.constants.DATA_DIR)
            raise UserError(_how_to_prepare(self.name, self._data_set, folder)) from error
        except ValueError as error:
            raise UserError(f"data source {self.name!r}: {str(error).splitlines()[0]}") from error


def _name_and_split(spec: str) -> tuple[str, str]:
    """Tells `:split` from `:1.2.0`, a version, which also follows a colon."""
    match = _SPLIT.fullmatch(spec)
    return (match[1], match[2]) if match else (spec, "")


def _how_to_prepare(source: str, name: str, folder: str) -> str:
    return (
        f"data source {source!r}: unknown, or not prepared as ArrayRecord under {folder}. Prepare it where the "
        'network and its dependencies are at hand: python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', file_format='array_record').download_and_prepare()\". "
        "TFDS_DATA_DIR names another folder."
    )


def _not_about_missing_info(record: logging.LogRecord) -> bool:
    return "has no dataset_info.json" not in record.getMessage()
