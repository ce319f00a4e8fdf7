"""The settings of text for pretraining: the corpus, its tokenizer, and what of it is held out."""

from dataclasses import dataclass

from ssl_jax.data.sources import Source, TextFormat, open_source
from ssl_jax.data.tokenizer_files import TokenizerConfig
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.domains import NonEmptyText, PositiveInt, ProperShare, Text
from ssl_jax.errors import UserError


@dataclass(frozen=True)
class CorpusConfig(TokenizerConfig):
    """Text, its tokenizer, and what of it is held out."""

    source: NonEmptyText = "pydocs"
    """pydocs (documentation inside the installed Python packages); tfds:name/config[:split]; a text file, folder or
    glob pattern; a .tsv or .jsonl file; in experiments prepared:FOLDER, made by python -m ssl_jax.prepare."""
    format: TextFormat = "lines"
    """Of text files. lines: one sentence per line, a blank line between documents; raw: prose, split into sentences by
    rules; verbatim: the text as it is, with its line breaks, of tfds: and .tsv too. lines and raw join lines by spaces;
    verbatim needs a tokenizer that changes nothing: bytes, characters, or a byte-level BPE."""
    separator: Text = ""
    """Of verbatim text files: what ends a document, such as "\\n\\n", where \\n is a line break. It remains part
    of the text. Empty: each file is a document."""
    column: NonEmptyText = "text"
    """Column of a .tsv file, or field of the objects of .jsonl."""
    heldout_source: Text = ""
    """Another source to evaluate on, such as a validation split; empty: whole documents of the corpus are held out."""
    heldout_share: ProperShare = 0.05
    """Share of the documents to hold out if heldout_source is empty."""

    def check_relations(self) -> None:
        super().check_relations()
        if self.separator and self.format != "verbatim":
            raise UserError(
                f"data.separator {self.separator!r}: is of data.format verbatim, not of {self.format}, whose documents "
                "blank lines separate; leave it out, or give --data.format verbatim."
            )

    def open(self, spec: str) -> Source:
        """Opens one of the sources; see `open_source`."""
        return open_source(spec, self.format, self.column, self.separator.replace("\\n", "\n"))

    def check_verbatim(self, tokenizer: Tokenizer | None) -> None:
        """Checks that a tokenizer, None for a SentencePiece yet to be trained, keeps what is to be kept.

        Raises:
          UserError: otherwise.
        """
        if self.format == "verbatim" and not (tokenizer and tokenizer.keeps_text):
            kind = tokenizer.kind if tokenizer else "SentencePiece, which --data.tokenizer train trains,"
            raise UserError(
                f"data.format verbatim: a tokenizer of the kind {kind} changes the text before it splits it (white "
                "space, line breaks, case or characters). Give --data.tokenizer bytes, characters, or the "
                "tokenizer.json of a byte-level BPE without normalisation, or another data.format."
            )


@dataclass(frozen=True)
class TextConfig(CorpusConfig):
    """The corpus of an experiment."""

    heldout_rows: PositiveInt = 512
    """Largest number of rows in an evaluation."""
