"""Top layers of a pretrained encoder that start at random (Zhang et al. 2020, arXiv:2006.05987).

The upper layers are the most specific to the task of the pretraining. On a small data set, fine-tuning that initialises
them and the pooler anew depends less on the seed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath
from jax.sharding import Mesh

from ssl_jax.errors import UserError
from ssl_jax.method import Method, Tree
from ssl_jax.models.bert import BertConfig
from ssl_jax.training.experiment import Start


def random_top(
    method: Method, model: BertConfig, batch: Mapping[str, jax.ShapeDtypeStruct], seed: int, layers: int
) -> Start:
    """Gives the top layers of `encoder`, and its pooler if there is one, the values that training from scratch has.

    It comes after the start that loads the encoder.

    Args:
      method: whose `init` has these values.
      model: sizes of the encoder.
      batch: shapes of what `init` takes.
      seed: of the run.
      layers: how many, at least 1.

    Raises:
      UserError: the encoder does not have so many layers, or they share their parameters.
    """
    if model.share_layers:
        raise UserError(
            f"encoder.reinitialised_layers {layers}: the layers of this encoder share their parameters (ALBERT), so "
            "that the top ones have none of their own; give 0."
        )
    if layers > model.layers:
        raise UserError(
            f"encoder.reinitialised_layers {layers}: the encoder has {model.layers} layers; give at most so many, or "
            "--from_scratch True to initialise the embeddings as well."
        )

    def replaced(encoder: Tree) -> Tree:
        zeros = {name: jnp.zeros(x.shape, x.dtype) for name, x in batch.items()}
        random = method.init(jax.random.key(seed), zeros)["params"]["encoder"]
        top = jax.tree.map(
            lambda own, new: own.at[-layers:].set(new[-layers:]), encoder["layers"], random["layers"]
        )
        pooler = {"pooler": random["pooler"]} if "pooler" in encoder else {}
        return {**encoder, "layers": top, **pooler}

    def load(
        variables: Mapping[str, Tree], folder: epath.Path, mesh: Mesh, log: Callable[[str], None]
    ) -> Mapping[str, Tree]:
        params: Any = variables["params"]
        encoder = params["encoder"]
        shardings = jax.tree.map(lambda x: x.sharding, encoder)
        replace = jax.jit(replaced, out_shardings=shardings)
        pooler = " and the pooler" if "pooler" in encoder else ""
        log(f"  encoder: the top {layers} of {model.layers} layers{pooler} are initialised at random")
        return {**variables, "params": {**params, "encoder": replace(encoder)}}

    return Start(f"random top layers ({layers})", load)
