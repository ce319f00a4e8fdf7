"""A TFDS data set of speech, in the layout of speech_commands, and one in that of librispeech, without audio files."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from ssl_jax.data.speech import SpeechConfig, open_speech
from ssl_jax.data.speech_files import Reading
from ssl_jax.data.tfds_speech import open_tfds_speech, without_tensorflow
from ssl_jax.errors import UserError

RATE = 16_000


def wave(number):
    """Int64, as TFDS gives audio, of 16 bits; the third one is silent."""
    samples = np.arange(RATE // 4 + 160 * number)
    return (0 if number == 2 else 1) * (8000 * np.sin(samples / (5 + number))).astype(np.int64)


class TinyCommands(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in ("words", "read", "silent")]  # noqa: RUF012

    def _info(self):
        audio = tfds.features.Audio(sample_rate=RATE)
        fields = {
            "words": {"audio": audio, "label": tfds.features.ClassLabel(names=["no", "yes"])},
            "read": {"speech": audio, "text": tfds.features.Text(), "speaker_id": np.int64},
            "silent": {"text": tfds.features.Text()},
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(fields[self.builder_config.name])
        )

    def _split_generators(self, _):
        return {"train": self._generate_examples(4), "test": self._generate_examples(2)}

    def _generate_examples(self, count):
        for i in range(count):
            yield (
                str(i),
                {
                    "words": {"audio": wave(i), "label": i % 2},
                    "read": {"speech": wave(i), "text": f"SENTENCE {i}", "speaker_id": 100 + i % 2},
                    "silent": {"text": "none"},
                }[self.builder_config.name],
            )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    with pytest.MonkeyPatch.context() as patch, without_tensorflow():
        # To write the features down takes TensorFlow's dtype too; the machine that prepares a data set has it.
        patch.setattr(tfds.features.Audio, "dtype", property(lambda audio: audio.np_dtype))
        for config in ("words", "read", "silent"):
            TinyCommands(data_dir=folder, config=config, file_format="array_record").download_and_prepare()
    return folder


@pytest.fixture(autouse=True)
def folder(prepared, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(prepared))


def test_recordings_have_their_labels_and_the_rate_that_is_asked_for(capsys):
    found = open_tfds_speech("tiny_commands/words", Reading(RATE, 0.1, "skip"))
    assert (len(found), found.words, found.speakers) == (3, ("no", "yes"), ())
    told = capsys.readouterr().out
    assert "skipped (it is silent" in told
    assert "1 of 4 recordings skipped" in told
    for index in range(3):
        number = int((found.lengths[index] - RATE // 4) // 160)
        assert found.words[found.word[index]] == ("no", "yes")[number % 2]
        np.testing.assert_array_equal(found.waveform(index) * 32768, wave(number))

    lower = open_tfds_speech("tiny_commands/words:test", Reading(8_000, 0.1, "stop"))
    assert sorted(lower.lengths.tolist()) == [2000, 2080]
    assert "resampled from 16000 to 8000 Hz" in capsys.readouterr().out


def test_speakers_of_read_speech_can_be_held_out():
    config = SpeechConfig(
        source="tfds:tiny_commands/read", rate=RATE, longest=0.3, unusable="skip", heldout_speakers=("101",)
    )
    speech = open_speech(config)
    assert (len(speech.train), len(speech.heldout)) == (1, 2)
    assert speech.utterances.words == ("SENTENCE 0", "SENTENCE 1", "SENTENCE 3")


def test_what_cannot_be_used_is_named():
    with pytest.raises(UserError, match=r"record \d of split train: cannot be used \(it is silent"):
        open_tfds_speech("tiny_commands/read", Reading(RATE, 0.1, "stop"))
    with pytest.raises(UserError, match=r"expected a field audio or speech; it has text"):
        open_tfds_speech("tiny_commands/silent", Reading(RATE, 0.1, "stop"))
