"""Speech from folders, tables and the synthesiser: labels, rates, splits, and recordings that cannot be used."""

import numpy as np
import pytest
from scipy.io import wavfile

from ssl_jax.data import synthetic_speech
from ssl_jax.data.phones import PHONES, WORDS
from ssl_jax.data.speech import SpeechConfig, SpeechRows, open_speech
from ssl_jax.data.speech_files import Reading, open_speech_files, path_labels
from ssl_jax.data.synthetic_speech import render
from ssl_jax.data.utterances import read_utterances, write_utterances
from ssl_jax.errors import UserError

SKIP = Reading(8_000, 0.1, "skip")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))


def tone(seconds=0.2, rate=8_000, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def write(path, wave, rate=8_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, (wave * 32767).astype(np.int16))


def test_paths_give_labels():
    assert path_labels("{word}_{speaker}_{}", "0_jackson_3") == {"word": "0", "speaker": "jackson"}
    assert path_labels("{speaker}/{}/{}", "train/84/121123/84-121123-0001") == {"speaker": "84"}
    assert path_labels("{word}_{}", "noise") == {}
    with pytest.raises(UserError, match=r"expected \{speaker\} and \{word\}"):
        path_labels("{phone}", "a")


def test_any_rate_and_channels_become_one(tmp_path, capsys):
    write(tmp_path / "a" / "low.wav", tone())
    write(tmp_path / "a" / "high.wav", tone(rate=44_100), 44_100)
    write(tmp_path / "b" / "two.wav", np.stack([tone(), tone()], 1))
    found = open_speech_files(str(tmp_path), "{speaker}/{}", Reading(8_000, 0.1, "stop"))
    assert (len(found), found.speakers, found.words) == (3, ("a", "b"), ())
    for index in range(3):
        assert found.lengths[index] == 1600
        np.testing.assert_allclose(found.waveform(index)[100:-100], tone()[100:-100], atol=2e-3)
    told = capsys.readouterr().out
    assert "1 of 3 recordings resampled from 44100 Hz to 8000 Hz" in told
    assert "1 recordings of several channels mixed to one" in told


def bad_recordings(folder):
    """By name, a file that cannot be used and what is said of it."""
    write(folder / "fine.wav", tone())
    (folder / "empty.wav").write_bytes(b"")
    whole = (folder / "fine.wav").read_bytes()
    (folder / "half.wav").write_bytes(whole[: len(whole) // 2])
    write(folder / "short.wav", tone(0.05))
    write(folder / "silent.wav", np.zeros(1600))
    broken = tone().astype(np.float32)
    broken[7] = np.nan
    wavfile.write(folder / "nan.wav", 8_000, broken)
    (folder / "text.flac").write_text("this is no audio")
    return {
        "empty": "empty or no audio",
        "half": "truncated",
        "short": "0.050 seconds, of 0.1 at least",
        "silent": "silent",
        "nan": "not finite",
        "text": "empty or no audio",
    }


def test_a_recording_that_cannot_be_used_is_skipped_and_counted_or_stops(tmp_path, capsys):
    expected = bad_recordings(tmp_path)
    assert len(open_speech_files(str(tmp_path), "", SKIP)) == 1
    told = capsys.readouterr().out
    assert "6 of 7 recordings skipped" in told
    for name, reason in expected.items():
        (line,) = [line for line in told.splitlines() if f"{name}." in line]
        assert reason in line
    with pytest.raises(UserError, match=r"empty\.wav'.*--data\.unusable skip"):
        open_speech_files(str(tmp_path), "", SKIP._replace(unusable="stop"))
    (tmp_path / "fine.wav").unlink()
    with pytest.raises(UserError, match="no utterances that can be used"):
        open_speech_files(str(tmp_path), "", SKIP)


def test_a_table_names_files_speakers_and_words(tmp_path):
    write(tmp_path / "x.wav", tone())
    table = tmp_path / "table.tsv"
    table.write_text("path\tspeaker\ttext\nx.wav\tann\thello there\nx.wav\tbob\tbye\n")
    found = open_speech_files(str(table), "", SKIP)
    assert (found.speakers, found.words) == (("ann", "bob"), ("bye", "hello there"))
    assert found.word.tolist() == [1, 0]
    table.write_text("path\ny.wav\n")
    with pytest.raises(UserError, match=r"line 2: no such file"):
        open_speech_files(str(table), "", SKIP)
    with pytest.raises(UserError, match="no such folder"):
        open_speech_files(str(tmp_path / "nowhere"), "", SKIP)


def test_speakers_are_held_out_and_long_utterances_are_cut(tmp_path):
    for speaker in "abcd":
        for number in range(3):
            write(tmp_path / speaker / f"{number}.wav", tone(0.4, hertz=200 + 100 * number))
    config = SpeechConfig(
        source=str(tmp_path), labels="{speaker}/{word}", longest=0.3, heldout_speakers=("c",)
    )
    speech = open_speech(config)
    assert (len(speech.train), len(speech.heldout)) == (9, 3)
    held = {int(speech.heldout(row)["speaker"]) for row in range(3)}
    assert held == {2}
    cut = [speech.train(0, np.random.default_rng(seed))["waveform"] for seed in range(3)]
    assert cut[0].shape == (2400,)
    assert len({wave.tobytes() for wave in cut}) == 3
    first = speech.probe(0)
    assert (first["waveform"] == speech.utterances.waveform(0)[:2400]).all()
    assert (first["phones"] == -1).all()
    with pytest.raises(UserError, match=r"heldout_speakers 'z': no such speaker.*a, b, c, d"):
        open_speech(SpeechConfig(source=str(tmp_path), labels="{speaker}/{word}", heldout_speakers=("z",)))
    by_utterance = open_speech(SpeechConfig(source=str(tmp_path), heldout="utterances"))
    assert (len(by_utterance.train), len(by_utterance.heldout)) == (9, 3)
    with pytest.raises(UserError, match=r"speaker.*known"):
        open_speech(SpeechConfig(source=str(tmp_path)))


@pytest.fixture(scope="module")
def spoken():
    """Two speakers, the same takes, without channel and noise."""
    return render(("m01", "f01", "m01"), ("seven", "seven", "fish"), (5, 5, 1), 8_000, clean=True)


def test_every_phone_of_a_word_can_be_spoken():
    assert {phone for word in WORDS.values() for phone in word} | {"SIL"} == set(PHONES)
    assert len(WORDS) >= 60


def test_the_same_take_by_two_speakers_is_aligned(spoken):
    first, second, other = spoken
    assert first.phones == second.phones == ("SIL", *WORDS["seven"], "SIL")
    assert first.phone_ends == second.phone_ends
    assert first.phone_ends[-1] == len(first.waveform) == len(second.waveform)
    assert np.abs(first.waveform - second.waveform).max() > 0.2
    assert other.phones != first.phones


def test_an_utterance_does_not_depend_on_the_others_of_its_chunk(spoken):
    alone = render(("m01",), ("fish",), (1,), 8_000, clean=True)[0]
    np.testing.assert_allclose(alone.waveform, spoken[2].waveform, atol=1e-12)
    noisy = render(("m01",), ("fish",), (1,), 8_000)[0]
    assert np.abs(noisy.waveform - alone.waveform).max() > 1e-3


def test_formants_of_a_vowel_are_where_they_should_be(monkeypatch):
    monkeypatch.setattr(synthetic_speech, "FORMANT_DEVIATION", 0.0)
    word = render(("m01",), ("up",), (0,), 16_000, clean=True)[0]
    start, end = word.phone_ends[0], word.phone_ends[1]
    middle = word.waveform[start + 400 : end - 400]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 4096))
    hertz = np.fft.rfftfreq(4096, 1 / 16_000)
    scale = synthetic_speech.voice("m01").formants
    low, high = 640 * scale[0], 2390 * scale[2]  # AH: between its formants there is much less energy
    near = [spectrum[np.abs(hertz - f) < 120].max() for f in (low, (1190 * scale[1] + high) / 2)]
    assert near[0] > 5 * near[1]


def test_phones_of_frames(spoken, tmp_path):
    write_utterances(tmp_path, spoken, "test")
    found = read_utterances(tmp_path, "test", 8_000, "key")
    assert (found.speakers, found.words) == (("f01", "m01"), ("fish", "seven"))
    assert found.speaker.tolist() == [1, 0, 1]
    row = SpeechRows(found, np.arange(3), SpeechConfig(longest=1.2), labels=True)(0)
    names = [found.phone_names[phone] if phone >= 0 else "" for phone in row["phones"]]
    runs = [name for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    assert tuple(runs) == (*spoken[0].phones, "")
    first = names.index("S")  # the frame in whose middle it begins
    assert (first - 1) * 80 + 100 < spoken[0].phone_ends[0] <= first * 80 + 100
