"""Which recordings the text of converted speech is looked for in."""

import numpy as np

from ssl_jax.data.voice_pairs import Case
from ssl_jax.reports.voice_conversion import CANDIDATES, texts_to_compare

NOTHING = np.zeros(0, np.float32)


def cases(targets):
    return [Case(source, target, 0, NOTHING) for source, target in enumerate(targets)]


def test_its_own_comes_first_and_the_others_are_of_other_words_of_the_speaker_and_of_its_length():
    rng = np.random.default_rng(0)
    targets, words = rng.integers(2, size=60), rng.integers(25, size=60)
    lengths = [int(n) for n in rng.integers(1, 90, size=60)]
    found = texts_to_compare(cases(targets), words, lengths)
    assert len(found) == 60
    for own, (first, *others) in found.items():
        assert first == own
        assert len(others) == CANDIDATES - 1
        assert words[own] not in words[others]
        assert len({*words[others].tolist()}) == len(others)
        assert {*targets[others].tolist()} == {targets[own]}
        differences = [abs(lengths[n] - lengths[own]) for n in others]
        assert differences == sorted(differences)


def test_the_nearest_lengths_are_taken():
    lengths = [50, *range(1, 30), *range(48, 57)]
    found = texts_to_compare(cases([1] * len(lengths)), np.arange(len(lengths)), lengths)
    assert {lengths[n] for n in found[0]} == {50, *range(48, 57)}


def test_what_has_no_target_or_too_few_others_is_left_out():
    lengths = [0, *[5] * CANDIDATES]
    found = texts_to_compare(cases([1] * len(lengths)), np.arange(len(lengths)), lengths)
    assert sorted(found) == [*range(1, len(lengths))]
    assert not any(0 in others for others in found.values())
    few = CANDIDATES - 1
    assert texts_to_compare(cases([1] * few), np.arange(few), [5] * few) == {}
    assert texts_to_compare(cases([1] * few + [2]), np.arange(few + 1), [5] * (few + 1)) == {}
