"""Which utterances are converted into which voices, and what they should become."""

import numpy as np
import pytest

from ssl_jax.data import voice_pairs
from ssl_jax.data.phones import SILENCE, WORDS
from ssl_jax.data.speech import SpeechConfig, open_speech
from ssl_jax.data.synthetic_speech import SENTENCES_NAME, render, render_sentences, sentence_texts
from ssl_jax.data.utterances import read_utterances, write_utterances
from ssl_jax.data.voice_pairs import find_pairs, rows_of_cases
from ssl_jax.errors import UserError
from tests.cases import recordings


def config(folder, **changes):
    return SpeechConfig(source=str(folder), labels="{word}_{speaker}_{}", longest=0.25, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        found = tmp_path_factory.mktemp("voices")
        patch.setenv("SSL_JAX_CACHE", str(found / "cache"))
        yield recordings(found)


@pytest.mark.parametrize(
    ("heldout", "speakers", "words", "others"),
    [("words", 3, 1, 4), ("both", 2, 1, 4), ("speakers", 2, 1, 4)],
)
def test_unseen_words_are_converted_and_other_words_stand_for_a_speaker(
    folder, heldout, speakers, words, others
):
    settings = config(folder, heldout=heldout, heldout_share=0.5)
    speech = open_speech(settings)
    of, trained = speech.utterances, set(speech.train.chosen)
    pairs = find_pairs(speech, settings, count=100, seed=0)
    assert len(pairs.references) == speakers
    assert len({of.word[case.source] for case in pairs.cases}) == words
    assert len(pairs.cases) == 4 * speakers * (speakers - 1)
    assert pairs.unseen_words == (heldout != "speakers")
    assert pairs.unseen_speakers == (heldout != "words")
    assert not trained & {case.source for case in pairs.cases}
    for case in pairs.cases:
        assert of.speaker[case.reference] == case.target != of.speaker[case.source]
        assert of.word[case.reference] != of.word[case.source]
        assert len(case.truth) > 0
    assert {len(each) for each in pairs.references.values()} == {others}
    if heldout == "both":  # utterances of the held-out word by trained speakers are not used at all
        assert len(trained) == len(of) - len(speech.heldout) - 4


def test_named_pairs_of_equal_and_of_different_texts(folder):
    settings = config(folder, heldout="words", heldout_share=0.5)
    speech = open_speech(settings)
    pairs = find_pairs(speech, settings, pairs=("a:b",), unparallel=("c:a",), count=100, seed=0)
    rows = rows_of_cases(pairs.cases, speech, settings)
    of, known = speech.utterances, {}
    for place, case in enumerate(pairs.cases):
        source, target = of.speakers[of.speaker[case.source]], of.speakers[case.target]
        known.setdefault(f"{source}:{target}", []).append(int(rows[place]["truth_samples"]) > 0)
    assert known == {"a:b": [True] * 4, "c:a": [False] * 4}
    for wrong in ("a", "a:d"):
        with pytest.raises(UserError, match=f"pairs '{wrong}': (expected SOURCE:TARGET|speaker 'd')"):
            find_pairs(speech, settings, pairs=(wrong,), count=100, seed=0)
    short = config(folder, heldout="words", heldout_share=0.5, shortest=0.05)
    with pytest.raises(UserError, match=r"no held-out utterance can be converted.*--data\.longest"):
        find_pairs(speech, short.__class__(longest=0.1), count=100, seed=0)


def test_the_target_of_a_sentence_is_the_same_take_by_the_other_voice(tmp_path, monkeypatch):
    texts = sentence_texts()
    assert sorted(" ".join(texts).split()) == sorted(WORDS)
    spoken = [(speaker, text, take) for speaker in ("f01", "m01") for text in texts[:2] for take in (0, 1)]
    monkeypatch.setattr(voice_pairs, "spoken_takes", lambda _: spoken)
    write_utterances(tmp_path, render_sentences(*zip(*spoken, strict=True), 4_000), SENTENCES_NAME)
    settings = SpeechConfig(
        source=SENTENCES_NAME, rate=4_000, longest=3.0, heldout="words", heldout_share=0.5
    )
    monkeypatch.setattr(
        "ssl_jax.data.speech.open_utterances", lambda _: read_utterances(tmp_path, SENTENCES_NAME, 4_000, "")
    )
    speech = open_speech(settings)
    pairs = find_pairs(speech, settings, count=100, seed=0)
    assert pairs.aligned
    assert len(pairs.cases) == 4
    of = speech.utterances
    for case in pairs.cases:
        speaker, text, take = spoken[case.source]
        other = {"f01": "m01", "m01": "f01"}[speaker]
        assert of.speakers[case.target] == other
        words = render([other] * 4, text.split(), [take] * 4, 4_000, clean=True)
        np.testing.assert_allclose(case.truth, np.concatenate([word.waveform for word in words]), atol=1e-6)
        assert len(case.truth) == of.lengths[case.source]
    names = [of.phone_names[phone] for phone in of.phones[: of.phone_offsets[1]]]
    assert names == [phone for word in spoken[0][1].split() for phone in (SILENCE, *WORDS[word], SILENCE)]
    assert of.phone_ends[of.phone_offsets[1] - 1] == of.lengths[0]
