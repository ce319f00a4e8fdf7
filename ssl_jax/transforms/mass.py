"""The noise of MASS: the encoder reads a text with a fragment masked, the decoder writes that fragment.

MASS (arXiv:1905.02450). Fixed shapes, on the device, inside the training step.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from ssl_jax.errors import UserError
from ssl_jax.transforms.denoising import Denoising
from ssl_jax.transforms.selection import uniform

FIRST_SHARE, LAST_SHARE = 0.2, 0.2
"""Of the fragments, those that begin or end the text; the others lie anywhere. From github.com/microsoft/MASS."""


@dataclasses.dataclass(frozen=True)
class FragmentConfig:
    """Which fragment is masked, and with what; the defaults are those of MASS."""

    share: float = 0.5
    """Share of the text's tokens that the fragment has; it has one at least."""
    mask_prob: float = 0.8
    """Share of the fragment's tokens that the encoder reads as the mask token."""
    random_prob: float = 0.1
    """Share that it reads as a token drawn from the whole vocabulary; the rest stay as they are."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UserError(f"noise.share {self.share} must be above 0 and at most 1; MASS uses 0.5.")
        if min(self.mask_prob, self.random_prob) < 0 or self.mask_prob + self.random_prob > 1 + 1e-6:
            raise UserError(
                f"noise.mask_prob {self.mask_prob} and noise.random_prob {self.random_prob} must not be negative and "
                "may add up to 1 at most; what is missing to 1 is the share of tokens kept."
            )

    def slots(self, length: int) -> int:
        """The decoder's slots T for rows of `length` tokens: no fragment is longer."""
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
    vocab_size: int,
) -> Denoising:
    """`mask_fragment` on a batch [batch, length]: each row from its own key, whatever the number of devices."""
    row = functools.partial(
        mask_fragment, config=config, mask_id=mask_id, pad_id=pad_id, vocab_size=vocab_size
    )
    return jax.vmap(row)(jax.random.split(rng, tokens.shape[0]), tokens, present, words)


def mask_fragment(
    rng: jax.Array,
    tokens: jax.Array,
    present: jax.Array,
    words: jax.Array,
    *,
    config: FragmentConfig,
    mask_id: int,
    pad_id: int,
    vocab_size: int,
) -> Denoising:
    """Masks a fragment of one row; the decoder predicts its tokens, each from the original token before.

    S is `length`, T is `FragmentConfig.slots`. Positions are those of the inputs in the original, so that the decoder
    knows where it writes. Its cross-attention does not see the slots that hold the mask token; as in the reference, it
    does see those of the fragment that hold another. Unlike there, [EOS] is never part of the fragment.

    Args:
      rng: a key.
      tokens, present, words: [length], a row as in `ssl_jax.transforms.denoising`.
      mask_id: the mask token.
      pad_id: fills what is empty.
      vocab_size: number of tokens in the vocabulary, without any padding of the embedding table.
    """
    length, slots = tokens.shape[0], config.slots(tokens.shape[0])
    # One draw, as each split of a key costs as much as many random numbers.
    bits = jax.random.bits(rng, (2 * length + 2,))
    choice_bits, token_bits, (place_bits, start_bits) = jnp.split(bits, [length, 2 * length])

    size = jnp.sum(words >= 0)
    fragment = _fragment_sizes(config, length)[size]
    first = _first_token(place_bits, start_bits, size - fragment)
    index = jnp.arange(length)
    hidden = (index >= first) & (index < first + fragment)
    choice = uniform(choice_bits)
    masked = hidden & (choice < config.mask_prob)
    replaced = hidden & ~masked & (choice < config.mask_prob + config.random_prob)
    random = (token_bits % jnp.uint32(vocab_size)).astype(tokens.dtype)
    source = jnp.where(masked, mask_id, jnp.where(replaced, random, tokens))

    used = jnp.arange(slots) < fragment
    target = jnp.where(used, first + jnp.arange(slots), 0)
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
    """[length + 1] int32: tokens of the fragment by the number of tokens in the text, rounded as Python rounds."""
    return jnp.asarray([0, *(max(1, round(config.share * n)) for n in range(1, length + 1))], jnp.int32)


def _first_token(place_bits: jax.Array, start_bits: jax.Array, left: jax.Array) -> jax.Array:
    """Where the fragment begins if `left` tokens of the text stay; the text begins at 1."""
    place = uniform(place_bits)
    first = 1 + (start_bits % (left + 1).astype(jnp.uint32)).astype(left.dtype)
    first = jnp.where(place < FIRST_SHARE + LAST_SHARE, 1 + left, first)
    return jnp.where(place < FIRST_SHARE, 1, first)
