"""A critic of texts: a causal transformer that scores every prefix."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.layers import Dense, Table
from ssl_jax.models.transformer import Transformer, TransformerConfig
from ssl_jax.ops.flash_attention import Segments
from ssl_jax.placement import along_batch


class Critic(nn.Module):
    """Scores of prefixes: how much the tokens up to each position look like the beginning of a real sentence.

    Attributes:
      layers: of the transformer; causal, without cross-attention.
      vocab_size: number of tokens.
      positions: length of the longest text.
    """

    layers: TransformerConfig
    vocab_size: int
    positions: int

    @nn.compact
    def __call__(self, tokens: jax.Array, present: jax.Array) -> jax.Array:
        """float32 `[batch, length]`.

        Args:
          tokens: int `[batch, length]`, or float `[batch, length, vocab_size]`, a share of every token at each place.
          present: `[batch, length]`, zero for padding.
        """
        c = self.layers
        table = Table(self.vocab_size, c.width, c.initializer_stddev, name="token")
        shares = jnp.issubdtype(tokens.dtype, jnp.floating)
        embedded = table.average(tokens) if shares else table(tokens)
        position = Table(self.positions, c.width, c.initializer_stddev, name="position")
        x = along_batch(embedded) + position(jnp.arange(tokens.shape[1], dtype=jnp.int32)[None])
        x, _ = Transformer(c, name="transformer")(x, Segments(keys=present))
        return Dense((1,), c.initializer_stddev, c.dtype, name="score")(x)[..., 0].astype(jnp.float32)
