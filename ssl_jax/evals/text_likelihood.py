"""The log-likelihood of texts under a language model, and their bits per byte."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssl_jax.data.next_token import document_windows
from ssl_jax.decoding.prompts import bucket_length, pad_right
from ssl_jax.decoding.scoring import continuation_log_likelihood
from ssl_jax.errors import UserError
from ssl_jax.evals.few_shot import LanguageModel


class _Window(NamedTuple):
    """Tokens that are predicted after tokens that are given, of the text with this number."""

    text: int
    given: list[int]
    predicted: list[int]


def text_log_likelihoods(
    model: LanguageModel,
    texts: Sequence[str],
    *,
    length: int | None = None,
    stride: int | None = None,
    batch_size: int = 32,
) -> dict[str, np.ndarray]:
    """Scores texts as the evaluation of a run scores held-out documents: the tokens of each, and that it ends there.

    A longer text than a window is scored in windows that slide over it; see `ssl_jax.data.next_token.NextTokenWindows`.

    Args:
      model: that continues text.
      texts: any number.
      length: tokens of a window; None for the model's context.
      stride: tokens between windows; None for the length.
      batch_size: windows at a time.

    Returns:
      Arrays `[texts]`: `log_likelihood` in nats (float64), `tokens` that are predicted, `bytes` of the text in UTF-8
      and `bits_per_byte` (NaN for an empty text).

    Raises:
      UserError: the model reads a source text.
    """
    if model.decoder.reads_source:
        raise UserError(
            "the likelihood of a text alone is that of a model that continues text, such as gpt2; this one writes a "
            "text after it has read another one."
        )
    length = model.decoder.positions if length is None else length
    stride = length if stride is None else stride
    special = model.tokenizer.special
    windows = []
    for number, ids in enumerate(model.tokenizer.encode_batch(list(texts))):
        tokens = [special.cls, *ids, special.sep]
        for piece, context in document_windows(number, len(tokens) - 1, length, stride):
            new = piece.start + context + 1
            windows.append(_Window(number, tokens[piece.start : new], tokens[new : piece.stop + 1]))
    nats, counts = np.zeros(len(texts)), np.zeros(len(texts), np.int64)
    windows.sort(key=lambda window: (len(window.given), len(window.predicted)))
    for first in range(0, len(windows), batch_size):
        batch = windows[first : first + batch_size]
        filled = batch + batch[:1] * (batch_size - len(batch))  # so that few programs are compiled
        arrays = []
        for side in ([window.given for window in filled], [window.predicted for window in filled]):
            arrays += pad_right(side, bucket_length(max(map(len, side)), length))
        found = np.asarray(continuation_log_likelihood(model.decoder, model.params, *arrays), np.float64)
        for window, row in zip(batch, found, strict=False):
            nats[window.text] += row.sum()
            counts[window.text] += len(window.predicted)
    size = np.array([len(text.encode()) for text in texts], np.int64)
    bits = np.full(len(texts), np.nan)
    np.divide(-nats / np.log(2), size, out=bits, where=size > 0)
    return {"log_likelihood": nats, "tokens": counts, "bytes": size, "bits_per_byte": bits}
