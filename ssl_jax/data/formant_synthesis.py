"""Speech from its acoustic parameters: a source of pulses and noise, filtered by formants (the source-filter model).

The glottal pulses are Rosenberg's (doi:10.1121/1.1912389) with a random period and amplitude; four resonators in
cascade are the formants, one beside them is the frication (Klatt 1980, doi:10.1121/1.383940). Many utterances are
computed at once, sample by sample, so that a minute of speech takes a fraction of a second in NumPy.
"""

from typing import NamedTuple

import numpy as np

FRAME = 0.005
"""Seconds for which the parameters of the filters are constant."""
FORMANT_WIDTHS = (70.0, 90.0, 140.0, 220.0)
"""Bandwidths of the formants in Hz."""
NASAL_WIDTH = 160.0
"""Bandwidth of the first formant of a nasal."""
OPEN = 0.6
"""Share of a period in which the glottis is open."""


class Tracks(NamedTuple):
    """Acoustic parameters over time, float64 `[utterances, frames]` unless another shape is given.

    Attributes:
      formants: `[utterances, frames, 4]`, Hz.
      nasal: 0 to 1, how wide the first formant is.
      voicing, aspiration, frication: amplitudes.
      centre, width: of the frication, Hz.
      pitch: Hz.
    """

    formants: np.ndarray
    nasal: np.ndarray
    voicing: np.ndarray
    aspiration: np.ndarray
    frication: np.ndarray
    centre: np.ndarray
    width: np.ndarray
    pitch: np.ndarray


class Chance(NamedTuple):
    """Random numbers of the source.

    Attributes:
      glottis, constriction: `[utterances, samples]`, standard normal noise.
      periods: `[utterances, cycles]`, standard normal: deviations of the ends of the glottal cycles.
      strengths: `[utterances, cycles]`, standard normal: deviations of their amplitudes.
    """

    glottis: np.ndarray
    constriction: np.ndarray
    periods: np.ndarray
    strengths: np.ndarray


def synthesise(
    tracks: Tracks, chance: Chance, rate: int, *, jitter: np.ndarray, breath: np.ndarray
) -> np.ndarray:
    """The waveforms, float64 `[utterances, samples]`.

    Args:
      tracks: with enough frames for the samples.
      chance: random numbers, which give the number of samples.
      rate: samples per second.
      jitter: `[utterances]`, standard deviation of the end of a glottal cycle, as a share of the period.
      breath: `[utterances]`, amplitude of noise in the pulses.
    """
    samples = chance.glottis.shape[1]
    frame = np.minimum((np.arange(samples) / (rate * FRAME)).astype(int), tracks.pitch.shape[1] - 1)
    pulses = _glottal_pulses(tracks.pitch[:, frame], chance, rate, jitter)
    noise = chance.glottis * (breath[:, None] * tracks.voicing + tracks.aspiration)[:, frame]
    glottal = pulses * tracks.voicing[:, frame] + noise
    friction = chance.constriction * tracks.frication[:, frame]

    widths = np.broadcast_to(np.array(FORMANT_WIDTHS), tracks.formants.shape).copy()
    widths[..., 0] += tracks.nasal * (NASAL_WIDTH - FORMANT_WIDTHS[0])
    frequencies = np.concatenate([tracks.formants, tracks.centre[..., None]], -1)
    widths = np.concatenate([widths, tracks.width[..., None]], -1)
    gain, first, second = (values.transpose(1, 0, 2) for values in _coefficients(frequencies, widths, rate))

    # A resonator takes what the one before it gave a sample earlier, so that one step computes all of them.
    out = np.empty((samples, len(glottal)))
    inputs = np.zeros((len(glottal), 5))
    before, older = np.zeros_like(inputs), np.zeros_like(inputs)
    sources = np.stack([glottal.T, friction.T], -1)
    for n in range(samples):
        inputs[:, 1:4] = before[:, :3]
        inputs[:, 0::4] = sources[n]
        f = frame[n]
        now = gain[f] * inputs + first[f] * before + second[f] * older
        before, older = now, before
        out[n] = now[:, 3] + now[:, 4]
    return out.T


def _coefficients(
    frequencies: np.ndarray, widths: np.ndarray, rate: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of y[n] = gain x[n] + first y[n-1] + second y[n-2]; formants pass 0 Hz unchanged, frication its centre."""
    angle = 2 * np.pi * np.minimum(frequencies / rate, 0.45)
    radius = np.exp(-np.pi * np.minimum(widths / rate, 0.5))
    first, second = 2 * radius * np.cos(angle), -(radius**2)
    gain = 1 - first - second
    at_centre = (1 - radius) * np.abs(1 - radius * np.exp(-2j * angle))
    gain[..., 4] = at_centre[..., 4]
    return gain, first, second


def _glottal_pulses(pitch: np.ndarray, chance: Chance, rate: int, jitter: np.ndarray) -> np.ndarray:
    """The derivative of the flow through the glottis, which is what is heard of it; its largest value is near 1."""
    phase = np.cumsum(pitch / rate, 1)
    cycles = chance.periods.shape[1]
    ends = np.arange(cycles) + np.clip(jitter[:, None] * chance.periods, -0.3, 0.3)
    cycle = np.minimum(phase.astype(int), cycles - 2)
    cycle -= phase < np.take_along_axis(ends, cycle, 1)
    cycle = np.maximum(cycle, 0)
    start, end = (np.take_along_axis(ends, cycle + more, 1) for more in (0, 1))
    place = np.clip((phase - start) / (end - start), 0, 1) / OPEN
    strength = 1 + 0.1 * np.take_along_axis(chance.strengths, cycle, 1)
    return strength * np.where(place < 1, 2 * place - 3 * place**2, 0.0)
