"""Writes waveforms as wav files."""

import io
import wave

import numpy as np
from etils import epath

from ssl_jax.data.utterances import FULL_SCALE
from ssl_jax.files import write_whole


def write_wav(file: epath.Path, waveform: np.ndarray, rate: int) -> int:
    """Writes one channel of 16 bits, and returns how many samples had to be limited to [-1, 1): tell the user.

    Args:
      file: the file, local or on gs://.
      waveform: float `[samples]`.
      rate: samples per second.

    Raises:
      UserError: the file cannot be written.
    """
    scaled = np.rint(waveform * FULL_SCALE)
    values = np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1)
    content = io.BytesIO()
    with wave.open(content, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(values.astype("<i2").tobytes())
    write_whole(file, content.getvalue())
    return int((values != scaled).sum())
