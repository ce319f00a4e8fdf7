"""The synthesised corpus: single words by 24 speakers, with phones known exactly, made offline in some seconds.

It stands in for recordings where there are none: inside this project are none. Speakers differ in the length of their
vocal tract, which scales all formants, in each formant on its own, and in pitch, jitter and breath. Every utterance has
its own durations, deviations of the formants, melody, transmission channel and background noise.

The sentences are fixed lists of words, no word in two of them, so that their words are held out with a sentence.

The same take of a word by two speakers has the same durations, melody and noise in the source, so that `render` gives
the exact target of a conversion of one voice into another.
"""

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter1d

from ssl_jax.data import formant_synthesis, phones
from ssl_jax.data.cache import cached, default_cache
from ssl_jax.data.formant_synthesis import FRAME, Chance, Tracks, synthesise
from ssl_jax.data.phones import PHONES, SILENCE, WORDS, Segment
from ssl_jax.data.utterances import Recording, Utterances, read_utterances, write_utterances

NAME = "synthesised"
"""The source's name on the command line."""
SENTENCES_NAME = "synthesised_sentences"
"""The same words in sentences, without transmission channels, as if all was recorded in one quiet room."""
WORDS_OF_A_SENTENCE = 4
SPEAKERS = tuple(f"{kind}{number:02}" for number in range(1, 13) for kind in "fm")
"""Names of the speakers: f, with a short vocal tract and a high voice, and m."""
TAKES = 2
"""Utterances of each word by each speaker in the corpus."""
SEED = 0
LONGEST = 1.2
"""Seconds of the longest utterance; a longer one is spoken faster."""

FORMANT_DEVIATION = 0.04
"""Standard deviation of the targets of a phone in one utterance, as a share of the formant."""
FORMANT_SMOOTHING, AMPLITUDE_SMOOTHING = 0.06, 0.015
"""Seconds over which targets are averaged: how fast the articulators move, and the glottis."""
NOISE_RATIO = (10.0, 30.0)
"""Decibels of the utterance above its background noise: the lowest and the highest."""
CHANNEL_DEVIATION = 3.0
"""Standard deviation in decibels of the coefficients of the transmission channel."""
ROOM_NOISE = 40.0
"""Decibels of an utterance without channel above the white noise of the room: silence in it is not digital zero."""
CHUNK = 480
"""Utterances synthesised at once."""


class Voice(NamedTuple):
    """A speaker.

    Attributes:
      formants: `[4]`, factors of the formants.
      pitch: mean, Hz.
      jitter, breath: see `synthesise`.
    """

    formants: np.ndarray
    pitch: float
    jitter: float
    breath: float


class Plan(NamedTuple):
    """One take of a word, by whichever speaker.

    Attributes:
      segments: in order.
      ends: the frame at which each segment ends.
      phones: names in order, with the silences around the word.
      phone_ends: the frame at which each phone ends.
      deviations: `[segments, 3]`, factors of the formants.
      melody: `[frames]`, factors of the speaker's pitch.
      rng: for the noise of the source.
    """

    segments: tuple[Segment, ...]
    ends: np.ndarray
    phones: tuple[str, ...]
    phone_ends: np.ndarray
    deviations: np.ndarray
    melody: np.ndarray
    rng: np.random.Generator


def voice(speaker: str, seed: int = SEED) -> Voice:
    """The voice of a speaker of `SPEAKERS`."""
    rng = np.random.default_rng((seed, 1, SPEAKERS.index(speaker)))
    high = speaker.startswith("f")
    tract = rng.uniform(1.10, 1.24) if high else rng.uniform(0.92, 1.06)
    pitch = rng.uniform(165, 260) if high else rng.uniform(85, 150)
    own = np.exp(0.04 * rng.standard_normal(4))
    return Voice(tract * own, pitch, rng.uniform(0.005, 0.03), rng.uniform(0.02, 0.12))


def open_synthetic_speech(rate: int, *, sentences: bool = False) -> Utterances:
    """The corpus: `TAKES` utterances of each text by each of the `SPEAKERS`, ordered by speaker.

    It is made once and kept in the folder of caches.

    Args:
      rate: samples per second.
      sentences: whether the texts are sentences, without transmission channels, and not single `WORDS` with them.
    """
    modules = (phones, formant_synthesis, inspect.getmodule(open_synthetic_speech))
    sources = [inspect.getsource(each) for each in modules]
    key = hashlib.sha256(repr((rate, sentences, sources)).encode()).hexdigest()[:32]
    name = SENTENCES_NAME if sentences else NAME

    def make(folder: Path) -> None:
        print(f"synthesising speech at {rate} Hz (once, some seconds)", flush=True)
        write_utterances(folder, _corpus(rate, sentences), name)

    def read(folder: Path) -> Utterances:
        return read_utterances(folder, name, rate, key)

    return cached(default_cache() / "speech" / key, make, read)


def spoken_takes(texts: Sequence[str]) -> list[tuple[str, str, int]]:
    """Speaker, text and take of each utterance of a corpus of these texts, in order."""
    return [
        (speaker, text, TAKES * place + take)
        for place, speaker in enumerate(SPEAKERS)
        for text in texts
        for take in range(TAKES)
    ]


def sentence_texts() -> tuple[str, ...]:
    """The sentences: the words in a random order, cut into pieces."""
    words = np.random.default_rng((SEED, 5)).permutation(list(WORDS)).tolist()
    whole = len(words) // WORDS_OF_A_SENTENCE * WORDS_OF_A_SENTENCE
    return tuple(
        " ".join(words[start : start + WORDS_OF_A_SENTENCE]) for start in range(0, whole, WORDS_OF_A_SENTENCE)
    )


def _corpus(rate: int, sentences: bool) -> Iterator[Recording]:
    spoken = spoken_takes(sentence_texts() if sentences else tuple(WORDS))
    chunk = CHUNK // WORDS_OF_A_SENTENCE if sentences else CHUNK
    speak = render_sentences if sentences else render
    for first in range(0, len(spoken), chunk):
        yield from speak(*zip(*spoken[first : first + chunk], strict=True), rate)


def render_sentences(
    speakers: Sequence[str], texts: Sequence[str], takes: Sequence[int], rate: int
) -> list[Recording]:
    """Sentences, whose words are said one after the other, without transmission channel.

    Args:
      speakers: names of `SPEAKERS`.
      texts: words of `WORDS` with spaces between them.
      takes: numbers from 0, of all words of a sentence.
      rate: samples per second.
    """
    words = [
        (speaker, word, take)
        for speaker, text, take in zip(speakers, texts, takes, strict=True)
        for word in text.split()
    ]
    spoken, recordings = iter(render(*zip(*words, strict=True), rate, clean=True)), []
    for speaker, text in zip(speakers, texts, strict=True):
        parts = [next(spoken) for _ in text.split()]
        starts = np.cumsum([0, *(len(part.waveform) for part in parts[:-1])])
        recordings.append(
            Recording(
                np.concatenate([part.waveform for part in parts]),
                speaker,
                text,
                tuple(phone for part in parts for phone in part.phones),
                tuple(
                    int(start + end)
                    for start, part in zip(starts, parts, strict=True)
                    for end in part.phone_ends
                ),
            )
        )
    return recordings


def render(
    speakers: Sequence[str],
    words: Sequence[str],
    takes: Sequence[int],
    rate: int,
    *,
    clean: bool = False,
    seed: int = SEED,
) -> list[Recording]:
    """Utterances: the take of a number of a word, by a speaker. All three sequences have one length.

    Args:
      speakers: names of `SPEAKERS`.
      words: of `WORDS`.
      takes: numbers from 0; in the corpus, no two speakers have a take of a word in common.
      rate: samples per second.
      clean: without transmission channel, with the noise of the room alone, which is that of the take.
      seed: of everything that is random.
    """
    plans = [_plan(word, take, seed) for word, take in zip(words, takes, strict=True)]
    voices = [voice(speaker, seed) for speaker in speakers]
    frames = max(len(plan.melody) for plan in plans)
    tracks = _tracks(plans, voices, frames)
    samples = int(frames * FRAME * rate)
    cycles = int(tracks.pitch.max() * frames * FRAME) + 3
    chance = _chance(plans, samples, cycles)
    jitter, breath = (np.array([getattr(each, name) for each in voices]) for name in ("jitter", "breath"))
    waveforms = synthesise(tracks, chance, rate, jitter=jitter, breath=breath)
    recordings = []
    for index, plan in enumerate(plans):
        length = int(len(plan.melody) * FRAME * rate)
        wave = waveforms[index, :length]
        wave = 0.1 * wave / np.sqrt(np.mean(wave**2))
        place = (list(WORDS).index(words[index]), takes[index])
        if clean:
            noise = np.random.default_rng((seed, 4, *place)).standard_normal(length)
            wave = wave + 0.1 * 10 ** (-ROOM_NOISE / 20) * noise
        else:
            key = (seed, 3, SPEAKERS.index(speakers[index]), *place)
            wave = _transmitted(wave, rate, np.random.default_rng(key))
        ends = np.minimum((plan.phone_ends * FRAME * rate).astype(int), length)
        recordings.append(
            Recording(
                0.6 * wave / np.abs(wave).max(), speakers[index], words[index], plan.phones, tuple(ends)
            )
        )
    return recordings


def _plan(word: str, take: int, seed: int) -> Plan:
    rng = np.random.default_rng((seed, 2, list(WORDS).index(word), take))
    names = (SILENCE, *WORDS[word], SILENCE)
    pace = np.exp(0.12 * rng.standard_normal())
    segments, seconds, counts = [], [], []
    for name in names:
        segments += PHONES[name]
        seconds += [s.seconds * pace * np.exp(0.18 * rng.standard_normal()) for s in PHONES[name]]
        counts.append(len(PHONES[name]))
    seconds = np.array(seconds) * min(1, LONGEST / sum(seconds))
    ends = np.maximum(np.rint(np.cumsum(seconds) / FRAME).astype(int), np.arange(1, len(seconds) + 1))
    # One deviation for each phone, which all of its segments share.
    deviations = np.repeat(np.exp(FORMANT_DEVIATION * rng.standard_normal((len(names), 3))), counts, 0)
    time = np.linspace(0, 1, ends[-1])
    rise, fall = 0.15 * rng.standard_normal(), 0.1 + 0.08 * rng.standard_normal()
    melody = np.exp(0.08 * rng.standard_normal() + rise * np.sin(np.pi * time) - fall * time)
    return Plan(tuple(segments), ends, names, ends[np.cumsum(counts) - 1], deviations, melody, rng)


def _tracks(plans: Sequence[Plan], voices: Sequence[Voice], frames: int) -> Tracks:
    """The parameters of all utterances, each smoothed over time; after its end an utterance is silent."""
    shape = len(plans), frames
    formants, pitch = np.empty((*shape, 4)), np.empty(shape)
    values = {name: np.zeros(shape) for name in ("nasal", "voicing", "aspiration", "frication")}
    shapes = {"centre": np.full(shape, 2500.0), "width": np.full(shape, 1000.0)}
    for index, (plan, speaker) in enumerate(zip(plans, voices, strict=True)):
        which = np.searchsorted(plan.ends, np.arange(plan.ends[-1]), side="right")
        end = len(which)
        for name, track in (values | shapes).items():
            track[index, :end] = np.array([getattr(s, name) for s in plan.segments], float)[which]
        shapes["centre"][index, :end] *= speaker.formants.mean()
        targets = _formant_targets(plan) * speaker.formants[None]
        formants[index, :end], formants[index, end:] = targets[which], targets[-1]
        pitch[index, :end], pitch[index, end:] = speaker.pitch * plan.melody, speaker.pitch * plan.melody[-1]
    slow, fast = (max(1, round(s / FRAME)) for s in (FORMANT_SMOOTHING, AMPLITUDE_SMOOTHING))
    formants = uniform_filter1d(formants, slow, axis=1, mode="nearest")
    smooth = {name: uniform_filter1d(track, fast, axis=1, mode="nearest") for name, track in values.items()}
    return Tracks(formants=formants, pitch=pitch, **smooth, **shapes)


def _formant_targets(plan: Plan) -> np.ndarray:
    """`[segments, 4]`, of a vocal tract of average length; where a phone has none, those of the next one that has."""
    targets = np.empty((len(plan.segments), 4))
    targets[:, 3] = 3500
    known = [i for i, segment in enumerate(plan.segments) if segment.formants]
    for i in range(len(plan.segments)):
        source = next((k for k in known if k >= i), known[-1])
        targets[i, :3] = np.array(plan.segments[source].formants) * plan.deviations[source]
    return targets


def _chance(plans: Sequence[Plan], samples: int, cycles: int) -> Chance:
    """From the generator of each take; what a longer chunk draws more is not used by a shorter utterance."""
    rows = []
    for plan in plans:
        seeds = plan.rng.integers(2**63, size=4)
        drawn = [np.random.default_rng(seed) for seed in seeds]
        sizes = samples, samples, cycles, cycles
        rows.append([rng.standard_normal(size) for rng, size in zip(drawn, sizes, strict=True)])
    return Chance(*(np.stack(column) for column in zip(*rows, strict=True)))


def _transmitted(wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """The utterance through a random channel, which is smooth over frequency, with coloured noise."""
    size = len(wave)
    place = np.linspace(0, 1, size // 2 + 1)
    gains = [CHANNEL_DEVIATION / k * rng.standard_normal() * np.cos(np.pi * k * place) for k in (1, 2, 3)]
    tilt = rng.uniform(0, 2)
    spectrum = np.fft.rfft(wave) * 10 ** (sum(gains) / 20)
    frequency = np.maximum(place * rate / 2, 100)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * frequency ** (-tilt / 2), size)
    wave = np.fft.irfft(spectrum, size)
    power = np.sqrt(np.mean(wave**2)) / np.sqrt(np.mean(noise**2))
    return wave + noise * power * 10 ** (-rng.uniform(*NOISE_RATIO) / 20)
