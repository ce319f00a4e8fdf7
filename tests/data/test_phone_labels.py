"""Phones of recordings from TextGrid, .lab and .phn files."""

import numpy as np
import pytest
from scipy.io import wavfile

from ssl_jax.data.phone_labels import BadLabels, Interval, phones_of, read_phones
from ssl_jax.data.speech_files import Reading, open_speech_files
from ssl_jax.errors import UserError

WANTED = [Interval(0.0, 0.1, "sil"), Interval(0.1, 0.15, "AH"), Interval(0.15, 0.3, "P")]
LONG_GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 0.3
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 0.3
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 0.3
            text = "up"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 0.3
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.1
            text = "sil"
        intervals [2]:
            xmin = 0.1
            xmax = 0.15
            text = "AH"
        intervals [3]:
            xmin = 0.15
            xmax = 0.3
            text = "P"
"""
SHORT_GRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
0.3
<exists>
1
"IntervalTier"
"any name"
0
0.3
3
0
0.1
"sil"
0.1
0.15
"AH"
0.15
0.3
"P"
"""
FORMS = {
    "a.TextGrid": LONG_GRID.encode(),
    "b.TextGrid": SHORT_GRID.encode("utf-16"),
    "seconds.lab": b"0 0.1 sil\n0.1 0.15 AH\n0.15 0.3 P\n",
    "htk.lab": b"0 1000000 sil\n1000000 1500000 AH -12.5\n1500000 3000000 P\n",
    "festival.lab": b"separator ;\nnfields 1\n#\n0.1 125 sil\n0.15 125 AH\n0.3 125 P\n",
    "timit.PHN": b"0 1600 sil\n1600 2400 AH\n2400 4800 P\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_all_forms_say_the_same(name, tmp_path):
    (tmp_path / name).write_bytes(FORMS[name])
    found = read_phones(tmp_path / name, own_rate=16_000)
    assert [one.name for one in found] == [one.name for one in WANTED]
    np.testing.assert_allclose([one[:2] for one in found], [one[:2] for one in WANTED], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.TextGrid", b"no grid", "no TextGrid"),
        ("a.TextGrid", LONG_GRID.replace('"phones"', '"segments"').encode(), "words, segments; expected one"),
        ("a.lab", b"0 0.2 a\n0.1 0.3 b\n", "'b' from 0.100 to 0.300 s is not after 0.200 s"),
        ("a.lab", b"0.3 0.2 a\n", "is not after"),
        ("a.lab", b"zero one a\n", "cannot be read"),
        ("a.lab", b"0.1\n", "cannot be read"),
        ("a.phn", b"\n", "no phones"),
        ("a.phn", b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_file(name, content, told, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadLabels, match=told):
        read_phones(tmp_path / name, 16_000)


def test_gaps_are_silence_and_rounded_ends_are_cut():
    intervals = [Interval(0.1, 0.2, "AH"), Interval(0.25, 0.312, "P")]
    assert phones_of(intervals, 2400, 8_000) == (("SIL", "AH", "SIL", "P"), (800, 1600, 2000, 2400))
    assert phones_of([Interval(0.0, 0.1, "pau")], 2400, 8_000) == (("SIL",), (800,))
    with pytest.raises(BadLabels, match=r"end at 0\.350 s, after the recording of 0\.300 s"):
        phones_of([Interval(0.0, 0.35, "AH")], 2400, 8_000)


def test_phones_are_read_beside_recordings_or_from_another_folder(tmp_path, monkeypatch, capsys):
    """Recordings of 16 kHz are stored at 8 kHz, and phones with them; a file that ends too late is counted."""
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    speech, labels = tmp_path / "speech", tmp_path / "labels"
    for folder in (speech / "ann", labels / "ann"):
        folder.mkdir(parents=True)
    wave = (3000 * np.sin(np.arange(4800) / 5)).astype(np.int16)
    for name in ("one", "two", "three"):
        wavfile.write(speech / "ann" / f"{name}.wav", 16_000, wave)
    (speech / "ann" / "one.phn").write_bytes(FORMS["timit.PHN"])
    (speech / "ann" / "two.lab").write_text("0 0.9 AH\n")
    reading = Reading(8_000, 0.1, "skip")

    found = open_speech_files(str(speech), "{speaker}/{}", reading)
    assert (len(found), found.phone_names) == (2, ("AH", "P", "SIL"))
    assert found.phones_at(0, np.array([0, 799, 800, 1200, 2399])).tolist() == [2, 2, 0, 1, 1]
    assert found.phones_at(1, np.array([0])).tolist() == [-1]
    told = capsys.readouterr().out
    assert "1 of 3 recordings have no file of phones" in told
    assert "two.wav': skipped (two.lab: its phones end at 0.900 s" in told
    with pytest.raises(UserError, match=r"two\.lab: its phones end"):
        open_speech_files(str(speech), "", reading._replace(unusable="stop"))

    with pytest.raises(UserError, match=r"it would be ann/one\.TextGrid"):
        open_speech_files(str(speech), "", reading, str(labels))
    (labels / "ann" / "three.TextGrid").write_text(LONG_GRID)
    other = open_speech_files(str(speech), "", reading, str(labels))
    assert len(other) == 3
    assert other.phones_at(1, np.array([0])).tolist() == [2]  # "three" comes before "two"
    (labels / "ann" / "three.lab").write_text("0 0.1 AH\n")
    with pytest.raises(UserError, match="of one recording"):
        open_speech_files(str(speech), "", reading, str(labels))
