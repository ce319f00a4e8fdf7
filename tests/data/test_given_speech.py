"""Recordings that are given by path or as arrays make the rows that the data of a run makes of them."""

import numpy as np
import pytest
from scipy.io import wavfile

from ssl_jax.data.given_speech import GivenRecordings
from ssl_jax.data.speech import SpeechConfig, open_speech
from ssl_jax.errors import UserError
from tests.cases import recordings


def test_rows_are_those_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    folder = recordings(tmp_path)
    config = SpeechConfig(source=str(folder), labels="{word}_{speaker}_{}", longest=0.2)
    files = sorted(folder.iterdir())
    speech = open_speech(config)
    rows = GivenRecordings(files, config)
    assert len(rows) == len(files) == 24
    of_file = {
        int(index): rows_of(row)
        for rows_of, chosen in ((speech.probe, speech.probe.chosen), (speech.heldout, speech.heldout.chosen))
        for row, index in enumerate(chosen)
    }
    for number in range(24):
        for name, array in rows[number].items():
            np.testing.assert_array_equal(array, of_file[number][name])
    whole = speech.utterances.waveform(0)
    np.testing.assert_array_equal(GivenRecordings([whole], config)[0]["waveform"], of_file[0]["waveform"])


def test_what_cannot_be_used_is_named(tmp_path):
    config = SpeechConfig(source="unused")
    wavfile.write(tmp_path / "short.wav", 8000, np.ones(80, np.int16))
    for given, message in (
        (tmp_path / "none.wav", r"none\.wav': no such file"),
        (tmp_path / "short.wav", r"short\.wav': cannot be used \(it has 0\.010 seconds"),
        (np.zeros(8000, np.float32), r"recording 1: cannot be used \(it is silent"),
        (np.ones((8000, 2)), r"recording 1 is an array of shape \(8000, 2\)"),
        (np.ones(8000, np.int16), "and dtype int16; expected floating-point"),
    ):
        with pytest.raises(UserError, match=message):
            GivenRecordings([given], config)[0]
