"""The encoder of a BERT run, or of a folder of BERT weights, opened to be applied."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from etils import epath
from jax.sharding import Mesh

from ssl_jax.data.tokenizer_files import FILES, find_tokenizer
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.errors import UserError
from ssl_jax.hub.bert import load_bert
from ssl_jax.method import Tree
from ssl_jax.models.bert import BertConfig, BertEncoder
from ssl_jax.runs.encoders import read_encoder
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.training.sharding import MeshConfig, make_mesh


class PretrainedEncoder(NamedTuple):
    """An encoder with its weights.

    Attributes:
      config: its sizes.
      params: of `BertEncoder`; the pooler may be absent.
      tokenizer: that it was trained with.
      mesh: of the devices that it is on.
    """

    config: BertConfig
    params: Tree
    tokenizer: Tokenizer
    mesh: Mesh

    def at_random(self, seed: int) -> "PretrainedEncoder":
        """An untrained encoder of the same sizes."""
        token = jnp.zeros((1, 1), jnp.int32)
        init = jax.jit(BertEncoder(self.config).init)
        params = jax.device_get(init(jax.random.key(seed), token, token, token))
        return self._replace(params=params["params"])


def check_encoder(source: str, option: str) -> tuple[BertConfig, Tokenizer]:
    """The sizes and the tokenizer of an encoder that can be opened.

    Args:
      source: RUN, RUN@STEP, RUN@best, or a folder of weights in Hugging Face's layout.
      option: with which the user named it, for messages.

    Raises:
      UserError: it is not there, has no BERT encoder or no such checkpoint, or has no tokenizer or that of another
        model.
    """
    reference = RunReference.parse(source)
    folder = reference.folder
    config = read_encoder(folder, source, option)
    if _is_run(folder):
        open_run(reference)
    file = find_tokenizer(folder)
    if file is None:
        raise UserError(
            f"{option} {source}: has no tokenizer; expected one of the files {', '.join(FILES)} in it. Put the "
            "tokenizer of the model there."
        )
    tokenizer = file.open()
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"{option} {source}: its tokenizer has {tokenizer.vocab_size} pieces, its model {config.vocab_size}: they "
            "do not belong together. Put the tokenizer of the model there."
        )
    return config, tokenizer


def open_encoder(source: str, option: str) -> PretrainedEncoder:
    """Opens an encoder; arguments and errors are those of `check_encoder`. It computes in float32."""
    config, tokenizer = check_encoder(source, option)
    config = dataclasses.replace(config, dtype="float32", remat="none")
    reference = RunReference.parse(source)
    if not _is_run(reference.folder):
        params = load_bert(reference.folder)[1]["encoder"]
        return PretrainedEncoder(config, params, tokenizer, make_mesh(MeshConfig()))
    run = open_run(reference)
    return PretrainedEncoder(config, run.restore()["params"]["encoder"], tokenizer, run.mesh)


def _is_run(folder: epath.Path) -> bool:
    return (folder / "checkpoints").exists()
