"""Opens a prepared folder: rows by number, held-out documents and their text, and a sample for baselines."""

from collections.abc import Sequence

import numpy as np
from etils import epath

from ssl_jax.data.corpus import TokenizedCorpus, token_dtype
from ssl_jax.data.passages import PreparedPassages
from ssl_jax.data.prepared.documents import decode_documents
from ssl_jax.data.prepared.manifest import CURE, Manifest, RowKind, fingerprint, read_manifest
from ssl_jax.data.prepared.pairs import PreparedPairs
from ssl_jax.data.prepared.records import RecordFile, Records, check_sizes
from ssl_jax.data.prepared.shards import read_heldout
from ssl_jax.data.prepared.streams import PreparedStream
from ssl_jax.data.tokenizer_files import find_tokenizer
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.errors import UserError


class HeldoutText:
    """The text of the held-out documents, as a source of one text each."""

    def __init__(self, name: str, texts: Sequence[str], fingerprint: str):
        self.name, self._texts, self.fingerprint = name, texts, fingerprint

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> list[str]:
        return [self._texts[index]]


class Prepared:
    """A prepared folder. Nothing is copied; files are read where they lie.

    Args:
      folder: local or gs://.

    Attributes:
      name: of the source, in messages.
      manifest: what was prepared.
      fingerprint: of all rows.
      tokenizer: the one that the text was tokenised with.

    Raises:
      UserError: it is no prepared folder, of another version, or a file is missing or has another size.
    """

    def __init__(self, folder: str):
        self._folder = epath.Path(folder).expanduser()
        self.name = f"prepared:{folder}"
        self.manifest: Manifest = read_manifest(self._folder)
        manifest = self.manifest
        files = [*manifest["shards"], manifest["heldout_file"], manifest["sample_file"]]
        check_sizes(self._folder, files, CURE)
        self.fingerprint = fingerprint(manifest)
        found = find_tokenizer(self._folder)
        tokenizer = found and found.open()
        if tokenizer is None or tokenizer.fingerprint != manifest["settings"]["tokenizer"]:
            raise UserError(
                f"data source {self.name!r}: the tokenizer in this folder is missing or not the one that the text was "
                f"tokenised with. {CURE}"
            )
        self.tokenizer: Tokenizer = tokenizer
        self._dtype = token_dtype(tokenizer)

    def check_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Raises UserError if a run has another tokenizer than the text was tokenised with."""
        if tokenizer.fingerprint != self.tokenizer.fingerprint:
            raise UserError(
                f"data source {self.name!r}: was tokenised with another tokenizer than this run has. Leave "
                "--data.tokenizer at train, which takes the one in the folder, or prepare the text with the run's "
                "tokenizer."
            )

    def _records(self, files: Sequence[RecordFile]) -> Records:
        return Records(self._folder, files, CURE)

    def _rows(self, kind: RowKind, length: int) -> Records:
        settings = self.manifest["settings"]
        if (settings["rows"], settings["length"]) != (kind, length):
            of = f" of {settings['length']} tokens" if settings["length"] else ""
            wanted = f" --length {length}" if length else ""
            raise UserError(
                f"data source {self.name!r}: holds {settings['rows']}{of}; this run needs others. Prepare them in "
                f"another folder with --rows {kind}{wanted}."
            )
        return self._records(self.manifest["shards"])

    def stream(self, kind: RowKind, length: int) -> PreparedStream:
        """Rows of `length` tokens: "next_token" or "packed".

        Raises:
          UserError: other rows were prepared. So do the methods below.
        """
        positions = length - (kind == "packed")
        return PreparedStream(self._rows(kind, length), positions, self._dtype, self.tokenizer.special.sep)

    def passages(self, length: int) -> PreparedPassages:
        """Rows of `Passages`."""
        tokenizer = self.tokenizer
        records = self._rows("passages", length)
        return PreparedPassages(records, self._dtype, length, tokenizer.special, tokenizer.starts_word)

    def pairs(self, length: int, objective: str) -> PreparedPairs:
        """Rows of `SegmentPairs`."""
        tokenizer, shards = self.tokenizer, self.manifest["shards"]
        shape = (length, tokenizer.special, tokenizer.starts_word)
        return PreparedPairs(self._rows("pairs", 0), shards, self._dtype, *shape, objective)

    def sample(self) -> TokenizedCorpus:
        """A random sample of the training documents, of five million tokens at most but for its last document."""
        records = self._records([self.manifest["sample_file"]])
        return decode_documents(records.range(0, 1), self._dtype, f"{self.name} (a sample)")

    def heldout(self) -> tuple[TokenizedCorpus, HeldoutText]:
        """The held-out documents in the order of the source, and their text.

        Raises:
          UserError: there are none.
        """
        file = self.manifest["heldout_file"]
        if not file["records"]:
            raise UserError(
                f"data source {self.name!r}: no document is held out; prepare more text, or with a larger "
                "--heldout_share."
            )
        corpus, texts = read_heldout(self._folder, file, self._dtype, self.name, CURE)
        corpus = corpus._replace(source_index=np.arange(len(texts)), fingerprint=file["sha256"])
        return corpus, HeldoutText(self.name, texts, file["sha256"])
