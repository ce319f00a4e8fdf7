"""Which utterances are converted into which voices to measure a conversion, and what they should become.

Utterances are converted that are held out; if some words are not trained on, of these words. Other utterances of the
same speakers, the references, give the target voice, the statistics of its speaker, and the probe that tells speakers
apart. What a conversion should become is known where the target speaker says the same: in the synthesised sentences,
where the same take is spoken by the other voice, frame by frame; in recordings, where an utterance of the target
speaker has the same word or text, which then is another recording of other durations.
"""

from collections.abc import Sequence
from typing import NamedTuple

import grain
import numpy as np

from ssl_jax.data.speech import SpeechConfig, SpeechRows, SpeechSplits
from ssl_jax.data.synthetic_speech import SENTENCES_NAME, render_sentences, sentence_texts, spoken_takes
from ssl_jax.data.utterances import Utterances
from ssl_jax.errors import UserError

FEWEST = 2
"""Reference utterances that a speaker must have."""


class Case(NamedTuple):
    """One utterance to convert.

    Attributes:
      source: number of the utterance.
      target: number of the speaker whose voice it gets.
      reference: number of an utterance of this speaker.
      truth: waveform of what it should become; empty if that is not known.
    """

    source: int
    target: int
    reference: int
    truth: np.ndarray


class VoicePairs(NamedTuple):
    """What conversions are measured on.

    Attributes:
      cases: utterances to convert.
      references: by number of a speaker, numbers of the utterances that stand for the speaker.
      named: whether the pairs of speakers were named by the user.
      aligned: whether a truth has the frames of its source.
      unseen_speakers, unseen_words: whether those of the cases have not been trained on.
    """

    cases: list[Case]
    references: dict[int, np.ndarray]
    named: bool
    aligned: bool
    unseen_speakers: bool
    unseen_words: bool


def find_pairs(
    speech: SpeechSplits,
    config: SpeechConfig,
    *,
    pairs: Sequence[str] = (),
    unparallel: Sequence[str] = (),
    count: int,
    seed: int,
) -> VoicePairs:
    """Chooses what to convert.

    Args:
      speech: the opened utterances.
      config: of the rows; an utterance that does not fit into one is not converted.
      pairs: "SOURCE:TARGET" speakers; those whose utterances of one word are of one text. Empty, without `unparallel`
        too: all speakers with held-out utterances, each into the voice of every other one.
      unparallel: the same of speakers whose utterances are not of one text, such as those of two languages.
      count: of cases, at most.
      seed: of the choice.

    Raises:
      UserError: a speaker is not known or has too few utterances, or nothing can be converted.
    """
    of = speech.utterances
    tested, rest, unseen_words = _tested(speech)
    fits = of.lengths <= config.samples
    by_speaker = {
        number: np.flatnonzero(tested & fits & (of.speaker == number)) for number in range(len(of.speakers))
    }
    references = {number: np.flatnonzero(rest & (of.speaker == number)) for number in by_speaker}
    known = [n for n in by_speaker if len(by_speaker[n]) and len(references[n]) >= FEWEST]
    named = [_named(pair, of, known, parallel=pair in pairs) for pair in (*pairs, *unparallel)]
    chosen = named or [(a, b, True) for a in known for b in known if a != b]
    rng = np.random.default_rng(seed)
    found = [(source, b, parallel) for a, b, parallel in chosen for source in by_speaker[a]]
    found = [found[place] for place in np.sort(rng.permutation(len(found))[:count])]
    if not found:
        raise UserError(
            f"data source {of.name!r}: no held-out utterance can be converted; expected two speakers or more with "
            f"held-out utterances of at most {config.longest:g} seconds (--data.longest), and {FEWEST} others of each."
        )
    truths = _truths(of, found, by_speaker)
    cases = [
        Case(int(source), target, int(rng.choice(references[target])), truth)
        for (source, target, _), truth in zip(found, truths, strict=True)
    ]
    used = sorted({n for case in cases for n in (case.target, int(of.speaker[case.source]))})
    trained = np.unique(of.speaker[speech.train.chosen])
    return VoicePairs(
        cases=cases,
        references={number: references[number] for number in used},
        named=bool(named),
        aligned=of.name == SENTENCES_NAME,
        unseen_speakers=not np.isin(used, trained).any(),
        unseen_words=unseen_words,
    )


def rows_of_cases(cases: list[Case], speech: SpeechSplits, config: SpeechConfig) -> grain.MapDataset:
    """The rows to convert: labelled rows of `ssl_jax.data.speech` of the sources, with `target`, `reference`,
    `reference_samples`, `truth` and `truth_samples`, which is 0 where the truth is not known."""
    sources = SpeechRows(speech.utterances, np.array([case.source for case in cases]), config, labels=True)
    others = SpeechRows(speech.utterances, np.array([case.reference for case in cases]), config, labels=False)

    def row(number: int) -> dict[str, np.ndarray]:
        case, other = cases[number], others(number)
        truth, found = np.zeros(config.samples, np.float32), case.truth[: config.samples]
        truth[: len(found)] = found
        return {
            **sources(number),
            "target": np.int32(case.target),
            "reference": other["waveform"],
            "reference_samples": other["samples"],
            "truth": truth,
            "truth_samples": np.int32(len(found)),
        }

    return grain.MapDataset.range(len(cases)).map(row)


def _tested(speech: SpeechSplits) -> tuple[np.ndarray, np.ndarray, bool]:
    """Which utterances are tested, which others may stand for their speaker, and whether the words are unseen."""
    of, held = speech.utterances, np.zeros(len(speech.utterances), bool)
    held[speech.heldout.chosen] = True
    trained = np.zeros(len(of), bool)
    trained[speech.train.chosen] = True
    unseen = ~np.isin(of.word, of.word[trained]) & (of.word >= 0)
    if (held & unseen).any():
        return held & unseen, (held | trained) & ~unseen, True
    half = of.word % 2 == 1 if len(of.words) > 1 else np.arange(len(of)) % 2 == 1
    return held & half, (held | trained) & ~(held & half), False


def _named(pair: str, of: Utterances, known: list[int], *, parallel: bool) -> tuple[int, int, bool]:
    names = pair.split(":")
    if len(names) != 2:
        raise UserError(f"pairs {pair!r}: expected SOURCE:TARGET, two names of speakers.")
    for name in names:
        if name not in of.speakers or of.speakers.index(name) not in known:
            has = ", ".join(of.speakers[n] for n in known[:10]) or "none"
            raise UserError(
                f"pairs {pair!r}: speaker {name!r} of {of.name} has no held-out utterances that fit into a row, with "
                f"{FEWEST} others; those who have are {has}."
            )
    return of.speakers.index(names[0]), of.speakers.index(names[1]), parallel


def _truths(
    of: Utterances, found: list[tuple[int, int, bool]], by_speaker: dict[int, np.ndarray]
) -> list[np.ndarray]:
    if of.name == SENTENCES_NAME:
        spoken = spoken_takes(sentence_texts())
        texts, takes = ([spoken[source][place] for source, *_ in found] for place in (1, 2))
        speakers = [of.speakers[target] for _, target, _ in found]
        recordings = render_sentences(speakers, texts, takes, of.rate)
        return [recording.waveform.astype(np.float32) for recording in recordings]
    truths = []
    for source, target, parallel in found:
        same = by_speaker[target][of.word[by_speaker[target]] == of.word[source]] if parallel else []
        truths.append(
            of.waveform(int(same[0])) if len(same) and of.word[source] >= 0 else np.zeros(0, np.float32)
        )
    return truths
