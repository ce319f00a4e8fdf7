"""The noise of MASS: the encoder reads a text with a masked fragment, the decoder predicts the fragment.

The reference is arXiv:1905.02450. All shapes are fixed. It runs on the device inside the training step.
"""

import dataclasses

import jax
import jax.numpy as jnp

from ssl_jax.domains import PositiveShare, Probability, Settings
from ssl_jax.errors import UserError
from ssl_jax.transforms.denoising import Denoising
from ssl_jax.transforms.selection import uniform

FIRST_SHARE, LAST_SHARE = 0.2, 0.2
"""Shares of the fragments at the beginning and at the end of the text; the others are placed uniformly. From
github.com/microsoft/MASS."""


@dataclasses.dataclass(frozen=True)
class FragmentConfig(Settings):
    """The length of the fragment and its replacement; the defaults are those of MASS."""

    share: PositiveShare = 0.5
    """Length of the fragment as a share of the text's tokens; at least one token."""
    mask_prob: Probability = 0.8
    """Share of the fragment's tokens that the mask token replaces in the encoder's input."""
    random_prob: Probability = 0.1
    """Share that are replaced by a token drawn from the whole vocabulary; the others are not changed."""

    def check_relations(self) -> None:
        if self.mask_prob + self.random_prob > 1 + 1e-6:
            raise UserError(
                f"noise.mask_prob {self.mask_prob} and noise.random_prob {self.random_prob} must add up to at most 1; "
                "the remaining tokens are not changed."
            )

    def slots(self, length: int) -> int:
        """The number T of decoder slots for rows of `length` tokens: the longest possible fragment."""
        return max(1, round(self.share * length))


def mask_fragment_batch(
    rng: jax.Array,
    tokens: jax.Array,
    present: jax.Array,
    words: jax.Array,
    *,
    config: FragmentConfig,
    mask_id: int,
    pad_id: int,
    vocab_size: int | jax.Array,
) -> Denoising:
    """`mask_fragment` on a batch `[batch, length]`.

    Each row has its own key, so that the result does not depend on the number of devices. `vocab_size` may be
    `[batch]`, as in the batches of `ssl_jax.data`: only the data knows the size of a tokenizer that is trained first.
    """

    def row(
        rng: jax.Array, tokens: jax.Array, present: jax.Array, words: jax.Array, size: jax.Array
    ) -> Denoising:
        names = {"mask_id": mask_id, "pad_id": pad_id, "vocab_size": size}
        return mask_fragment(rng, tokens, present, words, config=config, **names)

    sizes = jnp.broadcast_to(jnp.asarray(vocab_size, jnp.uint32), tokens.shape[:1])
    return jax.vmap(row)(jax.random.split(rng, tokens.shape[0]), tokens, present, words, sizes)


def mask_fragment(
    rng: jax.Array,
    tokens: jax.Array,
    present: jax.Array,
    words: jax.Array,
    *,
    config: FragmentConfig,
    mask_id: int,
    pad_id: int,
    vocab_size: int | jax.Array,
) -> Denoising:
    """Masks a fragment of one row; the decoder predicts its tokens, each from the original token before it.

    S is `length` and T is `FragmentConfig.slots`. The positions of the decoder's inputs are those in the original text,
    so that the decoder knows the place of the fragment. Cross-attention does not attend to mask tokens; as in the
    reference, it does attend to tokens of the fragment that were replaced otherwise. Unlike the reference, [EOS] is
    never part of the fragment.

    Args:
      rng: a key.
      tokens, present, words: `[length]`, a row as defined in `ssl_jax.transforms.denoising`.
      config: length of the fragment and its replacement.
      mask_id: the mask token.
      pad_id: the padding token.
      vocab_size: number of tokens in the vocabulary, without unused rows of the embedding table.
    """
    length, slots = tokens.shape[0], config.slots(tokens.shape[0])
    # One draw: each split of a key costs as much as many random numbers.
    bits = jax.random.bits(rng, (2 * length + 2,), jnp.uint32)
    choice_bits, token_bits, (place_bits, start_bits) = jnp.split(bits, [length, 2 * length])

    size = jnp.sum(words >= 0, dtype=jnp.int32)
    fragment = _fragment_sizes(config, length)[size]
    first = _first_token(place_bits, start_bits, size - fragment)
    index = jnp.arange(length, dtype=jnp.int32)
    hidden = (index >= first) & (index < first + fragment)
    choice = uniform(choice_bits)
    masked = hidden & (choice < config.mask_prob)
    replaced = hidden & ~masked & (choice < config.mask_prob + config.random_prob)
    random = (token_bits % jnp.asarray(vocab_size, jnp.uint32)).astype(tokens.dtype)
    source = jnp.where(masked, mask_id, jnp.where(replaced, random, tokens))

    used = jnp.arange(slots, dtype=jnp.int32) < fragment
    target = jnp.where(used, first + jnp.arange(slots, dtype=jnp.int32), 0)
    before = jnp.maximum(target - 1, 0)
    return Denoising(
        source=jnp.where(present, source, pad_id),
        source_present=present.astype(bool),
        context_present=present & ~masked,
        inputs=jnp.where(used, tokens[before], pad_id),
        positions=before,
        targets=jnp.where(used, tokens[target], pad_id),
        weights=used.astype(jnp.float32),
    )


def _fragment_sizes(config: FragmentConfig, length: int) -> jax.Array:
    """int32 `[length + 1]`: tokens of the fragment by the number of tokens in the text, rounded as Python does."""
    return jnp.asarray([0, *(max(1, round(config.share * n)) for n in range(1, length + 1))], jnp.int32)


def _first_token(place_bits: jax.Array, start_bits: jax.Array, left: jax.Array) -> jax.Array:
    """The index of the fragment's first token if `left` tokens are outside it; the text begins at index 1."""
    place = uniform(place_bits)
    first = 1 + (start_bits % (left + 1).astype(jnp.uint32)).astype(left.dtype)
    first = jnp.where(place < FIRST_SHARE + LAST_SHARE, 1 + left, first)
    return jnp.where(place < FIRST_SHARE, 1, first)
