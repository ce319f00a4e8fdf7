"""The output of every layer of BERT's encoder."""

import jax
import jax.numpy as jnp

from ssl_jax.method import Tree
from ssl_jax.models.attention import packed_mask
from ssl_jax.models.bert import BertConfig, BertEmbeddings
from ssl_jax.models.transformer import Layer, unstack


def layer_outputs(
    config: BertConfig, encoder: Tree, tokens: jax.Array, token_type_ids: jax.Array, segment_ids: jax.Array
) -> jax.Array:
    """The embeddings and the output of each layer, without dropout: `[layers + 1, batch, length, width]`.

    Args:
      config: of the encoder.
      encoder: its parameters, those of a `BertEncoder`.
      tokens, token_type_ids, segment_ids: as of `BertEncoder`.

    Raises:
      UserError: the rows are longer than the positions of the encoder.
    """
    embeddings = BertEmbeddings(config).apply(
        {"params": encoder["embeddings"]}, tokens, token_type_ids, None, True
    )
    outputs, mask = [embeddings.astype(config.dtype)], packed_mask(segment_ids)
    layer = Layer(config.transformer, deterministic=True, parent=None)
    for own in unstack(encoder["layers"], config.transformer):
        output, _ = layer.apply({"params": own}, outputs[-1], None, mask, None, None, None)
        outputs.append(output)
    return jnp.stack(outputs)
