"""Language models opened for generation: those of run folders, and imported weights."""

import itertools
from typing import Any

from etils import epath

from ssl_jax.data.tokenizers import SETTINGS
from ssl_jax.decoding.decoder import Decoder, causal_decoder, prepare, source_decoder
from ssl_jax.errors import UserError
from ssl_jax.evals.few_shot import LanguageModel
from ssl_jax.files import read_json
from ssl_jax.hub.safetensors import WEIGHTS
from ssl_jax.hub.tokenizer_files import ADD_BOS
from ssl_jax.method import Tree
from ssl_jax.models.encoder_decoder import EncoderDecoder
from ssl_jax.models.gpt2 import Gpt2
from ssl_jax.runs.imported_weights import CONTINUES, WRITES, ImportedWeights, open_weights, tokenizer_of
from ssl_jax.runs.opening import OpenedRun, open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.training.folder import CONFIG

MASK = "[MASK]"
"""Marks a gap in a source text."""


def open_language_model(source: str) -> LanguageModel:
    """Opens a model that generates text.

    Args:
      source: RUN, RUN@STEP (a run folder, its newest or another checkpoint), or a folder of GPT-2, BART, mBART
        or T5 weights: config.json, model.safetensors and the files of the tokenizer.

    Raises:
      UserError: there is no such folder or checkpoint, the folder has no tokenizer or that of another model, or the
        model generates no text.
    """
    reference = RunReference.parse(source)
    folder = reference.folder
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected a run folder, or one of GPT-2 or BART weights.")
    if (folder / "checkpoints").exists():
        return language_model_of_run(open_run(reference))
    if (folder / WEIGHTS).exists():
        return import_language_model(open_weights(folder))
    raise UserError(
        f"{folder}: neither a run folder (config.json, checkpoints/) nor imported weights (config.json, "
        "model.safetensors and the files of a tokenizer)."
    )


def encode_prompt(model: LanguageModel, text: str) -> list[int]:
    """The token ids of a prompt.

    For a model that continues text, they are the tokens that all its texts begin with, then the prompt; at least [BOS].
    For an encoder-decoder, the source text is between [BOS] and [EOS], and each "[MASK]" in it becomes the token of a
    gap (`Decoder.blanks`).

    Args:
      model: an opened model.
      text: what to continue, or the source text.

    Raises:
      UserError: a source text is empty.
    """
    encode, special = model.tokenizer.encode, model.tokenizer.special
    if not model.decoder.reads_source:
        return [*model.begin, *encode(text)] or [special.cls]
    if not text.strip():
        raise UserError(
            "the prompt is empty: this model writes what it makes of a source text; give it one, in which [MASK] "
            "stands for what is missing."
        )
    first, *rest = (encode(part) for part in text.split(MASK))
    blanks = itertools.chain(model.decoder.blanks, itertools.repeat(model.decoder.blanks[-1]))
    masked = [token for blank, part in zip(blanks, rest, strict=False) for token in (blank, *part)]
    return [*model.begin, *first, *masked, model.end]


def language_model_of_run(run: OpenedRun, params: Tree | None = None) -> LanguageModel:
    """The model of an opened run.

    Args:
      run: the run.
      params: its parameters, if they have been restored before.

    Raises:
      UserError: the model writes no text.
    """
    decoder = run.experiment.decoder
    if decoder is None:
        raise UserError(
            f"{run.folder}: the model of this experiment does not write text; those of gpt2, bart, mass, t5 and "
            "summarize do."
        )
    tokenizer = tokenizer_of(run.folder)
    params = prepare(decoder, run.restore()["params"] if params is None else params)
    decoder = decoder._replace(vocab_size=tokenizer.vocab_size)
    return LanguageModel(
        decoder, params, tokenizer, begin=(tokenizer.special.cls,), end=tokenizer.special.sep
    )


def import_language_model(weights: ImportedWeights) -> LanguageModel:
    """The model of opened weights.

    Raises:
      UserError: it writes no text, or its config.json names no token that a text begins with.
    """
    decoder, tokenizer = _decoder(weights), weights.tokenizer
    begin = (tokenizer.special.cls,) if decoder.reads_source or _adds_bos(weights.folder) else ()
    decoder = decoder._replace(vocab_size=tokenizer.vocab_size)
    return LanguageModel(decoder, prepare(decoder, weights.params), tokenizer, begin, tokenizer.special.sep)


def _adds_bos(folder: epath.Path) -> bool:
    """Whether texts begin with [BOS]: so it is in exported runs, and not with the released GPT-2."""
    file = folder / SETTINGS
    return file.is_file() and read_json(file, dict[str, Any]).get(ADD_BOS) is True


def _decoder(weights: ImportedWeights) -> Decoder:
    """How imported weights write text."""
    folder, family, config, tokenizer = weights.folder, weights.family, weights.config, weights.tokenizer
    if family not in WRITES:
        raise UserError(
            f"{folder}: a model of type {family!r} does not write text; expected "
            f"{', '.join(WRITES[:-1])} or {WRITES[-1]}."
        )
    if family in CONTINUES:
        return causal_decoder(Gpt2(config))
    special, sentinels = tokenizer.special, range(config.vocab_size - 1, tokenizer.vocab_size - 1, -1)
    usual, blanks = special.sep, (special.mask,)
    if family == "t5":
        usual, blanks = special.pad, tuple(sentinels) or blanks
    start = read_json(folder / CONFIG, dict[str, Any]).get("decoder_start_token_id")
    start = usual if start is None else start
    if type(start) is not int or not 0 <= start < config.vocab_size:
        raise UserError(
            f"{folder / CONFIG}: decoder_start_token_id is {start!r:.80}; expected the id of a token, from 0 to "
            f"{config.vocab_size - 1}."
        )
    return source_decoder(EncoderDecoder(config), start, blanks)
