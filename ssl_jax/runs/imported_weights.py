"""Weights in Hugging Face's layout with their tokenizer, opened to be applied."""

from typing import Any, NamedTuple

from etils import epath

from ssl_jax.data.tokenizer_files import FILES, find_tokenizer
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.errors import UserError
from ssl_jax.files import read_json
from ssl_jax.hub.bart import load_bart
from ssl_jax.hub.bert import load_bert
from ssl_jax.hub.gpt2 import load_gpt2
from ssl_jax.hub.t5 import load_t5
from ssl_jax.method import Tree
from ssl_jax.training.folder import CONFIG

LOADERS = {
    "bert": load_bert,
    "albert": load_bert,
    "roformer": load_bert,
    "gpt2": load_gpt2,
    "bart": load_bart,
    "mbart": load_bart,
    "t5": load_t5,
}
"""By the `model_type` of config.json, `folder -> (configuration, parameters)`."""
CONTINUES, WRITES = ("gpt2",), ("gpt2", "bart", "mbart", "t5")
"""Types of models that continue a text, and that write one."""


class ImportedWeights(NamedTuple):
    """A model of another library.

    Attributes:
      folder: where it is.
      family: the `model_type` of its config.json.
      config: of the model here.
      params: of the model here.
      tokenizer: of its text.
    """

    folder: epath.Path
    family: str
    config: Any
    params: Tree
    tokenizer: Tokenizer


def tokenizer_of(folder: epath.Path) -> Tokenizer:
    """The tokenizer in a folder of weights, or of a run. Raises UserError if there is none."""
    file = find_tokenizer(folder)
    if file is None:
        raise UserError(f"{folder}: has no tokenizer; expected one of the files {', '.join(FILES)} in it.")
    return file.open()


def open_weights(folder: epath.Path) -> ImportedWeights:
    """Opens a folder of weights of a model of `LOADERS`: config.json, model.safetensors, the tokenizer.

    Raises:
      UserError: the weights are not of such a model, or have no tokenizer or that of another model.
    """
    family = read_json(folder / CONFIG, dict[str, Any]).get("model_type")
    if family not in LOADERS:
        raise UserError(
            f"{folder}: weights of a model of type {family!r:.80}; expected one of {', '.join(LOADERS)}."
        )
    tokenizer = tokenizer_of(folder)
    config, params = LOADERS[family](folder)
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"{folder}: its tokenizer has {tokenizer.vocab_size} tokens, its model {config.vocab_size}: they do not "
            "belong together. Put the files of the model's own tokenizer there."
        )
    return ImportedWeights(folder, family, config, params, tokenizer)
