"""Wav files are what is read back from them, and samples beyond full scale are counted."""

import numpy as np
from etils import epath
from scipy.io import wavfile

from ssl_jax.data.wav import write_wav


def test_a_waveform_is_written_in_16_bits_and_clipped_samples_are_counted(tmp_path):
    waveform = np.array([0.0, 0.5, -1.0, 1.5, -2.0, 32767 / 32768], np.float32)
    assert write_wav(epath.Path(tmp_path / "new" / "a.wav"), waveform, 8_000) == 2
    rate, values = wavfile.read(tmp_path / "new" / "a.wav")
    assert rate == 8_000
    assert values.dtype == np.int16
    assert values.tolist() == [0, 16384, -32768, 32767, -32768, 32767]
