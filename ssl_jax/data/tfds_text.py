"""TFDS data sets as documents, through `tfds.data_source` (ArrayRecord: random access, and no TensorFlow)."""

import hashlib
import logging
import re

from ssl_jax.data.sentences import split_sentences
from ssl_jax.errors import UserError

_SPLIT = re.compile(r"(.+?):([A-Za-z_]\w*(?:\[.*)?)")
_BLANK_LINES = re.compile(r"\n\s*\n")
# Wiki-40B marks up its articles. BERT's text is the passages only, without titles and headers (arXiv:1810.04805, 3.1).
_WIKI40B_HEADER = re.compile(r"\n?_START_(?:ARTICLE|SECTION)_\n[^\n]*")


class TfdsText:
    """The `text` field of a prepared TFDS data set as documents, each a list of sentences split by rule.

    Args:
      spec: `name[/config[:version]][:split]`; the split is "train" unless given, and may be a slice, "train[:10%]".

    Raises:
      UserError: the data set is unknown or not prepared, it has no such split, or no field `text`.
    """

    def __init__(self, spec: str):
        import tensorflow_datasets as tfds  # takes a while, and few runs need it

        self.name = f"tfds:{spec}"
        logging.getLogger("absl").addFilter(_not_about_missing_info)
        name, split = _name_and_split(spec)
        try:
            builder = tfds.builder(name)
            self._records = builder.as_data_source(split)
        except (tfds.core.registered.DatasetNotFoundError, NotImplementedError, AssertionError) as error:
            raise UserError(_how_to_prepare(self.name, name, str(tfds.core.constants.DATA_DIR))) from error
        except ValueError as error:
            raise UserError(f"data source {self.name!r}: {str(error).splitlines()[0]}") from error
        if "text" not in builder.info.features:
            raise UserError(
                f"data source {self.name!r}: expected a field 'text'; it has {', '.join(builder.info.features)}."
            )
        description = (
            builder.info.full_name,
            split,
            len(self._records),
            builder.info.splits.total_num_examples,
        )
        self.fingerprint = hashlib.sha256(repr(description).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> list[str]:
        return [
            s for paragraph in paragraphs(_text(self._records[index])) for s in split_sentences(paragraph)
        ]


def paragraphs(text: str) -> list[str]:
    """Paragraphs of an article, between blank lines or in Wiki-40B's markup."""
    if "_START_ARTICLE_" not in text:
        return _BLANK_LINES.split(text)
    text = _WIKI40B_HEADER.sub("\n", text)
    return [p for p in re.split(r"_START_PARAGRAPH_|_NEWLINE_", text) if p.strip()]


def _text(record: dict[str, bytes | str]) -> str:
    text = record["text"]
    return text.decode("utf-8") if isinstance(text, bytes) else text


def _name_and_split(spec: str) -> tuple[str, str]:
    """Tells `:split` from `:1.2.0`, a version, which also follows a colon."""
    match = _SPLIT.fullmatch(spec)
    return (match[1], match[2]) if match else (spec, "train")


def _how_to_prepare(source: str, name: str, folder: str) -> str:
    return (
        f"data source {source!r}: unknown, or not prepared as ArrayRecord under {folder}. Prepare it where the "
        'network and its dependencies are at hand: python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', file_format='array_record').download_and_prepare()\". "
        "TFDS_DATA_DIR names another folder."
    )


def _not_about_missing_info(record: logging.LogRecord) -> bool:
    return "has no dataset_info.json" not in record.getMessage()
