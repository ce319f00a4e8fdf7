"""Exports tokenizers to Hugging Face's layout, in which `AutoTokenizer` of transformers reads them."""

from typing import Any

import tokenizers
from etils import epath
from tokenizers import processors

from ssl_jax.data.tokenizers import SETTINGS, Tokenizer
from ssl_jax.files import write_json, write_whole

_ROLES = ("pad", "unk", "cls", "sep", "mask")


def save_tokenizer(folder: epath.Path, tokenizer: Tokenizer, positions: int) -> None:
    """Writes the files of a tokenizer: its own, which `find_tokenizer` finds, and those that `AutoTokenizer` reads.

    The latter puts [CLS] before a text, [SEP] behind each of two, and numbers their segments. It reads the names of
    special tokens in a text as these tokens, which encoding here never does.

    Args:
      folder: the folder.
      tokenizer: any.
      positions: tokens of the longest row that the model can read.

    Raises:
      UserError: the folder cannot be written, or the tokenizer has an algorithm that transformers lacks.
    """
    exported = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    ids = {role: getattr(tokenizer.special, role) for role in _ROLES}
    names = {role: exported.id_to_token(token) for role, token in ids.items()}
    exported.add_special_tokens(list(dict.fromkeys(names.values())))
    cls, sep = names["cls"], names["sep"]
    exported.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=list({cls: ids["cls"], sep: ids["sep"]}.items()),
    )
    tokenizer.save(folder)
    write_whole(folder / "tokenizer.json", exported.to_str())
    settings: dict[str, Any] = {f"{role}_token": name for role, name in names.items()}
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": positions}
    # Otherwise transformers 5 makes no token_type_ids, and its models read both texts of a pair as the first.
    settings |= {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    # Of a vocab.txt, this is what tells `find_tokenizer` whether case is folded.
    settings |= {"do_lower_case": tokenizer.folds_case}
    write_json(folder / SETTINGS, settings)
