"""Recordings that a user gives to a trained model, as files or as arrays, in the form of the rows of a run."""

import os
from collections.abc import Iterable

import numpy as np

from ssl_jax.data.folders import existing_file
from ssl_jax.data.speech import SpeechConfig
from ssl_jax.data.speech_files import Reading, Unsuitable, prepare, read_audio
from ssl_jax.data.utterances import FULL_SCALE, as_int16
from ssl_jax.errors import UserError

GivenRecording = np.ndarray | str | os.PathLike
"""An array or the path of a file."""
FILE = "a wav or flac file, or an array of samples"
"""What is expected of a path."""


class GivenRecordings:
    """Rows `{"waveform", "samples"}` as `SpeechRows` has them, in the order in which recordings are given.

    A recording that is longer than a row is cut off at its end. Files are decoded when they are read.

    Args:
      recordings: paths of wav or flac files of any rate; or arrays, float `[samples]` in [-1, 1) at the rate of the
        run.
      config: rate and length of the rows.

    Raises:
      UserError: a file does not exist, or an array is no waveform; and, when it is read, a recording cannot be used.
    """

    def __init__(self, recordings: Iterable[GivenRecording], config: SpeechConfig):
        self._config = config
        self._recordings = [
            _waveform(one, number) if isinstance(one, np.ndarray) else existing_file(one, FILE)
            for number, one in enumerate(recordings, 1)
        ]

    def __len__(self) -> int:
        return len(self._recordings)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        recording, config = self._recordings[index], self._config
        given = isinstance(recording, np.ndarray)
        try:
            found, rate = (recording[:, None], config.rate) if given else read_audio(recording)
            mono = prepare(found, rate, Reading(config.rate, config.shortest, "stop"))
        except Unsuitable as problem:
            name = f"recording {index + 1}" if given else repr(str(recording))
            raise UserError(f"{name}: cannot be used ({problem}). Remove or replace it.") from problem
        # Rows of the run are stored in 16 bits, too.
        mono = as_int16(mono[: config.samples]).astype(np.float32) / FULL_SCALE
        waveform = np.zeros(config.samples, np.float32)
        waveform[: len(mono)] = mono
        return {"waveform": waveform, "samples": np.int32(len(mono))}


def _waveform(array: np.ndarray, number: int) -> np.ndarray:
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.floating):
        raise UserError(
            f"recording {number} is an array of shape {array.shape} and dtype {array.dtype}; expected floating-point "
            "numbers [samples] in [-1, 1) at the rate of the run. Give a list of recordings."
        )
    return array.astype(np.float32)
