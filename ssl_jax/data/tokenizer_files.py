"""The files of a tokenizer: in a run folder, which has its own copy, and beside imported weights."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from etils import epath

from ssl_jax.data import characters
from ssl_jax.data.tokenizers import (
    SENTENCEPIECE,
    SETTINGS,
    WORDPIECE,
    SpecialTokens,
    Tokenizer,
    open_tokenizer,
)
from ssl_jax.domains import NonEmptyText, Settings
from ssl_jax.errors import UserError
from ssl_jax.files import read_json

FILES = ("tokenizer.model", "vocab.txt", characters.FILE, "tokenizer.json", "vocab.json")
"""Names of the files that are read. Weights often have a tokenizer.json beside another file. It is read only if it is a
byte-level BPE, which has none of the files before it in this list."""
_REFUSED = ("spiece.model", "sentencepiece.bpe.model")
"""Files of ALBERT, T5 and mBART beside their weights, whose ids are not always those of the file."""
TRAINED = ("train", "characters")
"""Values of `TokenizerConfig.tokenizer` that make a tokenizer of the corpus."""


@dataclasses.dataclass(frozen=True)
class TokenizerConfig(Settings):
    """The tokenizer of a run."""

    tokenizer: NonEmptyText = "train"
    """train (SentencePiece on the corpus; with --init_from, the tokenizer of the source); characters (the most frequent
    characters of the corpus, as many as the model has room for); bytes (of UTF-8); or the path of a SentencePiece
    .model (with the pieces [CLS] [SEP], or <s> </s>, or one of the two), a WordPiece vocab.txt, a byte-level BPE's
    tokenizer.json (or vocab.json, with merges.txt beside it), or characters.json of another run."""
    lowercase: bool = True
    """Fold case: for a SentencePiece that is trained, and for a vocab.txt. Other files determine it themselves; bytes
    and characters stay as they are."""
    byte_fallback: bool = False
    """256 ids of a trained SentencePiece are single bytes, so that no character is unknown."""

    @property
    def special(self) -> SpecialTokens:
        """Ids of the special tokens, known before training; those of other libraries are read from the file."""
        if self.tokenizer in (*TRAINED, "bytes"):
            return SENTENCEPIECE
        return WORDPIECE if self.tokenizer.endswith(".txt") else open_tokenizer(self.tokenizer).special

    @property
    def special_with_mask(self) -> SpecialTokens:
        """As `special`, for an objective that masks tokens.

        Raises:
          UserError: the tokenizer has no mask token.
        """
        special = self.special
        if not special.has_mask:
            raise UserError(
                f"data.tokenizer {self.tokenizer}: has no mask token ([MASK] or <mask>), which this objective needs; "
                "give another tokenizer, or train."
            )
        return special


class TokenizerFile(NamedTuple):
    """The file of a tokenizer.

    Attributes:
      path: the file.
      lowercase: whether case is folded; used only for a vocab.txt.
    """

    path: epath.Path
    lowercase: bool

    def open(self) -> Tokenizer:
        """Opens the tokenizer.

        Raises:
          UserError: as `open_tokenizer`, or it is one that is not read from beside weights.
        """
        if self.path.name in _REFUSED:
            raise UserError(
                f"tokenizer {str(self.path)!r}: its ids are not always those of the weights beside it, and it cannot "
                "be used with them. Give it by name, with --data.tokenizer, to train a model from scratch."
            )
        return open_tokenizer(self.path, self.lowercase)

    def configure(self, config: TokenizerConfig) -> TokenizerConfig:
        """A configuration with this tokenizer."""
        return dataclasses.replace(config, tokenizer=str(self.path), lowercase=self.lowercase)


def find_tokenizer(folder: epath.Path, lowercase: bool = True) -> TokenizerFile | None:
    """The tokenizer in a folder; None if there is none.

    Args:
      folder: folder of a run, or of weights with the files of their tokenizer.
      lowercase: whether a vocab.txt folds case, if tokenizer_config.json in the folder does not determine it.

    Raises:
      UserError: tokenizer_config.json is invalid.
    """
    for name in (*FILES[:3], *_REFUSED, *FILES[3:]):
        if (folder / name).is_file():
            return TokenizerFile(folder / name, _folds_case(folder, lowercase))
    return None


def _folds_case(folder: epath.Path, otherwise: bool) -> bool:
    file = folder / SETTINGS
    if not (folder / "vocab.txt").is_file() or not file.is_file():
        return otherwise
    folds = read_json(file, dict[str, Any]).get("do_lower_case", otherwise)
    if not isinstance(folds, bool):
        raise UserError(f"{file}: do_lower_case is {folds!r}; expected true or false.")
    return folds


def open_run_tokenizer(
    config: TokenizerConfig, folder: epath.Path, train: Callable[[], Tokenizer]
) -> Tokenizer:
    """Opens the tokenizer of a run and saves its files in the run folder.

    Args:
      config: names a file, or asks for training.
      folder: run folder.
      train: trains a tokenizer; called if no file is named and the run folder has no tokenizer.

    Raises:
      UserError: the file is not a tokenizer, or the run folder has another tokenizer.
    """
    folder = epath.Path(folder)
    saved = find_tokenizer(folder, config.lowercase)
    if config.tokenizer in TRAINED:
        if saved:
            return saved.open()
        tokenizer = train()
    else:
        tokenizer = open_tokenizer(config.tokenizer, config.lowercase)
        if saved:
            if saved.open().fingerprint != tokenizer.fingerprint:
                raise UserError(
                    f"data.tokenizer {config.tokenizer}: is not the tokenizer that {folder} was started with, "
                    f"{saved.path}. Give that one to continue the run, or another --workdir for a new run."
                )
            return tokenizer
    tokenizer.save(folder)
    return tokenizer


def preprocessing(tokenizer: Tokenizer) -> dict[str, str]:
    """The settings that determine the text of the ids, by name, for `training.experiment.Data`."""
    special = tokenizer.special._asdict()
    special.pop("first_regular")
    return {
        "tokenizer": tokenizer.fingerprint,
        "vocabulary": _vocabulary(tokenizer),
        "case": _case(tokenizer),
        "byte_fallback": str(tokenizer.byte_fallback),
        "special_tokens": ", ".join(f"{name} {token}" for name, token in special.items()),
    }


def describe(tokenizer: Tokenizer) -> str:
    """A description of a tokenizer for messages."""
    return f"{_vocabulary(tokenizer)}, case {_case(tokenizer)}"


def _vocabulary(tokenizer: Tokenizer) -> str:
    return f"{tokenizer.kind} of {tokenizer.vocab_size} pieces"


def _case(tokenizer: Tokenizer) -> str:
    return "folded" if tokenizer.folds_case else "kept"
