"""The tokenizer in the configuration of a run: where it is configured, and which one is taken."""

import dataclasses

from etils import epath

from ssl_jax.data.tokenizer_files import FILES, TokenizerConfig, TokenizerFile, find_tokenizer
from ssl_jax.errors import UserError
from ssl_jax.runs.configuration import Config


def tokenizer_config(config: Config) -> TokenizerConfig | None:
    """The part of an experiment's configuration that names a tokenizer; None if the experiment has no text."""
    name = _field(config)
    return getattr(config, name) if name else None


def with_tokenizer(config: Config, file: TokenizerFile) -> Config:
    """The configuration of an experiment on text with another tokenizer."""
    name = _field(config)
    return dataclasses.replace(config, **{name: file.configure(getattr(config, name))})


def with_own_tokenizer(config: Config, folder: epath.Path, *, required: bool = False) -> Config:
    """The configuration of a run with the tokenizer in its own folder, if it has one.

    So a run folder can be used when the file that its tokenizer came from is gone, and an experiment knows the special
    tokens of a tokenizer that a warm start has brought.

    Args:
      config: of the run.
      folder: of the run.
      required: whether the folder must have one if the experiment has text, as that of a run that has a checkpoint. A
        run folder of a stranger then makes the program read no file outside of it.

    Raises:
      UserError: a tokenizer is required and is not there.
    """
    asked = tokenizer_config(config)
    own = find_tokenizer(folder, asked.lowercase) if asked else None
    if required and asked and own is None:
        raise UserError(f"{folder}: has no tokenizer; expected one of the files {', '.join(FILES)} in it.")
    return with_tokenizer(config, own) if own else config


def _field(config: Config) -> str | None:
    names = (field.name for field in dataclasses.fields(config))
    return next((name for name in names if isinstance(getattr(config, name), TokenizerConfig)), None)
