"""A pointer-generator: an encoder-decoder that also copies tokens of its source (See et al. 2017, arXiv:1704.04368)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.attention import Cache
from ssl_jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from ssl_jax.models.layers import Dense
from ssl_jax.ops.attention import masked_softmax

IMPOSSIBLE = -1e9
"""Log-probability of tokens that are never written: finite, so that gradients stay finite."""
_TINY = 1e-20


class PointerGenerator(nn.Module):
    """The next token is generated from the vocabulary or copied from the source, by a mixture of two distributions.

    The parameters of the encoder-decoder are at `model`, those of `EncoderDecoder`.
    """

    config: EncoderDecoderConfig

    def setup(self) -> None:
        c = self.config
        self.model = EncoderDecoder(c)
        self.copy_query = Dense((c.width,), c.initializer_stddev, c.dtype)
        self.copy_key = Dense((c.width,), c.initializer_stddev, c.dtype)
        self.gate = Dense((1,), c.initializer_stddev, c.dtype)

    def __call__(
        self, source: jax.Array, present: jax.Array, inputs: jax.Array, allowed: jax.Array | None = None
    ) -> jax.Array:
        """Log-probabilities of each token of a target, given the source and the tokens before it.

        Args:
          source: int `[batch, source]`, or float `[batch, source, vocab_size]`, a share of every token at each place.
          present: `[batch, source]`, zero for padding.
          inputs: int `[batch, target]`, at each position the token before the one to predict.
          allowed: see `log_probabilities`.

        Returns:
          float32 `[batch, target, vocab_size]`.
        """
        context = self.encode(source, present)
        hidden, _ = self.decode(inputs, context, present)
        return self.log_probabilities(hidden, context, source, present, allowed)

    def encode(self, source: jax.Array, present: jax.Array) -> jax.Array:
        """The context `[batch, source, width]`."""
        return self.model.encode(source, present)

    def decode(
        self, tokens: jax.Array, context: jax.Array | None, present: jax.Array, cache: Cache | None = None
    ) -> tuple[jax.Array, Cache | None]:
        """Hidden states `[batch, target, width]` and the cache; see `EncoderDecoder.decode`."""
        return self.model.decode(tokens, context, present, cache=cache)

    def log_probabilities(
        self,
        hidden: jax.Array,
        context: jax.Array,
        source: jax.Array,
        present: jax.Array,
        allowed: jax.Array | None,
    ) -> jax.Array:
        """The mixture.

        Args:
          hidden: `[batch, target, width]` of `decode`.
          context: `[batch, source, width]` of `encode`.
          source: int `[batch, source]`, or float `[batch, source, vocab_size]`.
          present: `[batch, source]`, zero for padding.
          allowed: bool, broadcastable to `[batch, target, vocab_size]`, the tokens that may be written; None for all.
              Needs a source of whole tokens.

        Returns:
          float32 `[batch, target, vocab_size]`, `IMPOSSIBLE` for tokens that are not allowed.
        """
        keys, queries = self.copy_key(context), self.copy_query(hidden) * self.config.width**-0.5
        scores = jnp.einsum("btd,bsd->bts", queries, keys, preferred_element_type=jnp.float32)
        copyable = (present.astype(jnp.int32) != 0)[:, None]
        if allowed is not None:
            everywhere = jnp.broadcast_to(allowed, (*scores.shape[:2], allowed.shape[-1]))
            places = jnp.broadcast_to(source[:, None], scores.shape)
            copyable = copyable & jnp.take_along_axis(everywhere, places, axis=-1)
        weights = masked_softmax(scores, copyable)
        soft = jnp.issubdtype(source.dtype, jnp.floating)
        # As a product, because a scattered sum has no order, and so no bits of its own, on some devices.
        words = source if soft else jax.nn.one_hot(source, self.config.vocab_size, dtype=jnp.float32)
        copied = jnp.einsum("bts,bsv->btv", weights, words)
        generated = masked_softmax(self.model.logits(hidden), allowed)
        share = jax.nn.sigmoid(self.gate(hidden).astype(jnp.float32))
        mixture = jnp.log(share * generated + (1 - share) * copied + _TINY)
        return mixture if allowed is None else jnp.where(allowed, mixture, IMPOSSIBLE)
