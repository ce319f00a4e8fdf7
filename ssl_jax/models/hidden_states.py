"""The hidden states of all layers of a BERT, whose encoder itself gives those of the last one."""

import jax
import jax.numpy as jnp

from ssl_jax.method import Tree
from ssl_jax.models.attention import packed_mask
from ssl_jax.models.bert import BertConfig, BertEmbeddings
from ssl_jax.models.transformer import Layer, known_positions, relative_positions, unstack


def hidden_states(
    config: BertConfig,
    params: Tree,
    tokens: jax.Array,
    token_type_ids: jax.Array,
    segment_ids: jax.Array,
    positions: jax.Array | None = None,
) -> jax.Array:
    """What the encoder computes, `[layers + 1, batch, length, width]`: the embeddings first, then each layer's output.

    Args:
      config: of the encoder.
      params: of a `BertEncoder`.
      tokens, token_type_ids, segment_ids, positions: as `BertEncoder` takes them.

    Raises:
      UserError: the sequence is longer than `config.positions`.
    """
    embeddings = {"params": params["embeddings"]}
    x = BertEmbeddings(config).apply(embeddings, tokens, token_type_ids, positions, True)
    layer, states, mask = Layer(config.transformer, deterministic=True), [x], packed_mask(segment_ids)
    rows = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
    where = known_positions(
        config.transformer,
        rows,
        rows,
        lambda *rows: relative_positions(config.transformer).apply({"params": params["relative"]}, *rows),
    )
    for own in unstack(params["layers"], config.transformer):
        x, _ = layer.apply({"params": own}, x.astype(config.dtype), None, mask, None, None, None, *where)
        states.append(x)
    return jnp.stack(states)
