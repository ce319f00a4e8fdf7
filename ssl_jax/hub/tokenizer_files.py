"""Exports tokenizers to Hugging Face's layout, in which `AutoTokenizer` of transformers reads them."""

from collections.abc import Sequence
from typing import Any, Literal

import tokenizers
from etils import epath
from tokenizers import processors

from ssl_jax.data.tokenizers import SETTINGS, Tokenizer
from ssl_jax.files import write_json, write_whole

ADD_BOS = "add_bos_token"
"""Of `tokenizer_config.json`: whether a text that the model continues begins with [BOS], as in runs here."""
_ROLES = ("pad", "unk", "cls", "sep", "mask")
Form = Literal["pair", "text", "prompt"]
"""How `AutoTokenizer` makes a row. pair: [CLS] before a text and [SEP] behind each of two, whose segments are numbered
(BERT). text: likewise, without segments (encoder-decoders). prompt: [CLS] before a text, which the model continues."""


def save_tokenizer(
    folder: epath.Path,
    tokenizer: Tokenizer,
    positions: int,
    *,
    form: Form = "pair",
    more: Sequence[str] = (),
) -> None:
    """Writes the files of a tokenizer: its own, which `find_tokenizer` finds, and those that `AutoTokenizer` reads.

    The latter reads the names of special tokens in a text as these tokens, which encoding here never does.

    Args:
      folder: the folder.
      tokenizer: any.
      positions: tokens of the longest row that the model can read.
      form: how a row is made.
      more: names of further special tokens, whose ids follow those of the tokenizer.

    Raises:
      UserError: the folder cannot be written, or the tokenizer has an algorithm that transformers lacks.
    """
    exported = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    ids = {role: getattr(tokenizer.special, role) for role in _ROLES}
    names = {role: exported.id_to_token(token) for role, token in ids.items()}
    exported.add_special_tokens([*dict.fromkeys(names.values()), *more])
    cls, sep = names["cls"], names["sep"]
    second = int(form == "pair")
    end = "" if form == "prompt" else f" {sep}:0"
    exported.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0{end}",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:{second}{end and f' {sep}:{second}'}",
        special_tokens=list({cls: ids["cls"], sep: ids["sep"]}.items()),
    )
    tokenizer.save(folder)
    write_whole(folder / "tokenizer.json", exported.to_str())
    settings: dict[str, Any] = {f"{role}_token": name for role, name in names.items()}
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": positions}
    if form == "pair":
        # Otherwise transformers 5 makes no token_type_ids, and its models read both texts of a pair as the first.
        settings |= {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    else:
        settings |= {"bos_token": names["cls"], "eos_token": names["sep"]}
        settings |= {"model_input_names": ["input_ids", "attention_mask"]}
    if form == "prompt":
        settings[ADD_BOS] = True
    # Of a vocab.txt, this is what tells `find_tokenizer` whether case is folded.
    settings |= {"do_lower_case": tokenizer.folds_case}
    write_json(folder / SETTINGS, settings)


def token_ids(tokenizer: Tokenizer, decoder_start: int | None = None) -> dict[str, int]:
    """The ids of special tokens in a config.json of a model that writes text.

    Args:
      tokenizer: of the model.
      decoder_start: first token that the decoder of an encoder-decoder reads.
    """
    special = tokenizer.special
    found = {"pad_token_id": special.pad, "bos_token_id": special.cls, "eos_token_id": special.sep}
    return found if decoder_start is None else {**found, "decoder_start_token_id": decoder_start}
