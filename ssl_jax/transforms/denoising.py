"""The input and output of every noise for sequence-to-sequence pretraining; one method trains on all of them.

A row of text has four arrays of shape `[length]`:

- tokens, int32: [BOS], the text, [EOS], then padding. A row may be empty, or hold [BOS] and [EOS] only.
- present, bool: False for padding.
- words, int32: the index of the word that each token belongs to, ascending; -1 for [BOS], [EOS] and padding. Tokens
  with a word are the text. Nothing else is ever corrupted, moved or removed.
- sentences, int32: the index of the sentence that each token belongs to, from 0; -1 outside the text.

The noises are `noise_batch` (BART) in noise.py, `mask_fragment_batch` (MASS) in mass.py and `corrupt_spans_batch` (T5)
in spans.py. Each works on a batch of rows and corrupts each row with its own key, so that the result does not depend on
the number of devices. Shapes depend on the configuration and `length` only.
"""

from typing import NamedTuple

import jax


class Denoising(NamedTuple):
    """A corrupted row and its targets, with S slots in the encoder and T in the decoder.

    Functions on a batch add a leading axis `[batch]`. The used slots come first; the others hold padding and have
    weight 0.

    Attributes:
      source: int32 `[S]`, the corrupted text, input of the encoder.
      source_present: bool `[S]`, False for padding; the attention mask of the encoder.
      context_present: bool `[S]`, the attention mask of the decoder's cross-attention. In MASS it also hides masked
        tokens.
      inputs: int32 `[T]`, input of the decoder: the token before each target.
      positions: int32 `[T]`, position of each input: 0, 1, ...; in MASS its position in the original text.
      targets: int32 `[T]`, tokens that the decoder predicts.
      weights: float32 `[T]`, 1 for a target, 0 for padding.
    """

    source: jax.Array
    source_present: jax.Array
    context_present: jax.Array
    inputs: jax.Array
    positions: jax.Array
    targets: jax.Array
    weights: jax.Array
