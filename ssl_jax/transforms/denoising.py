"""What every noise for sequence-to-sequence pretraining takes and gives, so that one method trains on all of them.

A row of text, all `[length]`:

- tokens, int32: [BOS], the text, [EOS], then padding. A row may be empty, or hold [BOS] and [EOS] only.
- present, bool: not padding.
- words, int32: the number of the word that each token belongs to, ascending; -1 for [BOS], [EOS] and padding. What has
  a word is the text; nothing else is ever corrupted, moved or removed.
- sentences, int32: the number of the sentence that each token belongs to, from 0 on; -1 where there is no text.

The noises: `noise_batch` (BART) in noise.py, `mask_fragment_batch` (MASS) in mass.py and `corrupt_spans_batch` (T5) in
spans.py. Each works on a batch of rows, each row from its own key, so that the result does not depend on the number of
devices; shapes depend on the configuration and `length` alone.
"""

from typing import NamedTuple

import jax


class Denoising(NamedTuple):
    """A row to restore: S slots in the encoder, T in the decoder. Functions on a batch put `[batch]` in front.

    The slots in use come first in both; the others hold padding, and weight 0.
    """

    source: jax.Array  # [S] int32, the corrupted text that the encoder reads
    source_present: jax.Array  # [S] bool, what the encoder sees: no padding
    context_present: jax.Array  # [S] bool, what the decoder sees of it: in MASS, no masks either
    inputs: jax.Array  # [T] int32, what the decoder reads: the token before each target
    positions: jax.Array  # [T] int32, of each input: 0, 1, ..., but in MASS its place in the original
    targets: jax.Array  # [T] int32, what the decoder writes
    weights: jax.Array  # [T] float32, 1 for a target, 0 for padding
