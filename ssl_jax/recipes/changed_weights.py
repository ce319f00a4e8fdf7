"""Changes of a pretrained encoder before it is fine-tuned, which tell what of its pretraining helps.

With its entries permuted within each tensor, an encoder keeps the distribution of its weights and loses all that it has
learnt. With new word embeddings, it keeps what its layers have learnt.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from etils import epath
from jax.sharding import Mesh

from ssl_jax.method import Method, Tree
from ssl_jax.models.bert import BertConfig
from ssl_jax.training.experiment import Start
from ssl_jax.training.paths import path_name

Change = Literal["shuffled", "new_embeddings"]
SHUFFLED: Change = "shuffled"
LAYERS = "layers/"
"""Where the tensors of all layers are, stacked on the first axis."""


def changed_encoder(
    change: Change,
    method: Method,
    model: BertConfig,
    batch: Mapping[str, jax.ShapeDtypeStruct],
    seed: int,
) -> Start:
    """Changes `encoder`. It comes after the start that loads it.

    Args:
      change: shuffled permutes the entries of each tensor, layer by layer; new_embeddings gives the table of word
        embeddings the values that it has in training from scratch.
      method: whose `init` has these values.
      model: sizes of the encoder.
      batch: shapes of what `init` takes.
      seed: of the run.
    """

    def new_embeddings(encoder: Tree) -> Tree:
        zeros = {name: jnp.zeros(x.shape, x.dtype) for name, x in batch.items()}
        random = method.init(jax.random.key(seed), zeros)["params"]["encoder"]
        return {**encoder, "embeddings": {**encoder["embeddings"], "token": random["embeddings"]["token"]}}

    def changed(encoder: Tree) -> Tree:
        return shuffled(encoder, seed, model) if change == SHUFFLED else new_embeddings(encoder)

    def load(
        variables: Mapping[str, Tree], folder: epath.Path, mesh: Mesh, log: Callable[[str], None]
    ) -> Mapping[str, Tree]:
        params: Any = variables["params"]
        shardings = jax.tree.map(lambda x: x.sharding, params["encoder"])
        replace = jax.jit(changed, out_shardings=shardings)
        log(f"  encoder: {_TOLD[change]}")
        return {**variables, "params": {**params, "encoder": replace(params["encoder"])}}

    return Start(_NAMES[change], load)


def shuffled(encoder: Tree, seed: int, model: BertConfig) -> Tree:
    """The encoder with the entries of each tensor permuted; those of a layer stay in that layer.

    Args:
      encoder: parameters of the encoder.
      seed: of the permutations.
      model: sizes of the encoder.
    """
    keys = iter(jax.random.split(jax.random.key(seed), len(jax.tree.leaves(encoder))))

    def permuted(key: jax.Array, values: jax.Array) -> jax.Array:
        return jax.random.permutation(key, values.reshape(-1)).reshape(values.shape)

    def each(path: tuple, values: jax.Array) -> jax.Array:
        key = next(keys)
        if path_name(path).startswith(LAYERS) and not model.share_layers:
            return jax.vmap(permuted)(jax.random.split(key, model.layers), values)
        return permuted(key, values)

    return jax.tree_util.tree_map_with_path(each, encoder)


_NAMES = {"shuffled": "its shuffled weights", "new_embeddings": "new word embeddings"}
_TOLD = {
    "shuffled": "the entries of each tensor are permuted, layer by layer",
    "new_embeddings": "the word embeddings are initialised at random",
}
