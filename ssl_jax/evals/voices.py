"""How near converted speech is to a target: distances of log-mel spectra, aligned in time where they must be.

Spectra are logarithms of mel energies, `[frames, mels]`, of true frames, in NumPy.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

COEFFICIENTS = 13
"""Mel-cepstral coefficients of a frame that are compared, without the first one, which is the loudness."""
DECIBELS = 10 / np.log(10)


class Distortion(NamedTuple):
    """Of one utterance from a target.

    Attributes:
      log_mel: mean absolute difference of the logarithms of the mel energies, nats.
      cepstral: mel-cepstral distortion, dB.
    """

    log_mel: float
    cepstral: float


class SpeakerStatistics(NamedTuple):
    """Of the frames of a speaker, `[mels]` each."""

    mean: np.ndarray
    deviation: np.ndarray


def mel_cepstra(log_mel: np.ndarray, coefficients: int = COEFFICIENTS) -> np.ndarray:
    """Coefficients 1, 2, ... of log |H(f)| = sum over m of c_m cos(m w), by a cosine transform over the mel filters.

    The logarithm of a magnitude is half that of its energy.

    Args:
      log_mel: `[frames, mels]`.
      coefficients: `COEFFICIENTS`, or fewer for fewer filters.

    Returns:
      float64 `[frames, min(coefficients, mels - 1)]`.
    """
    mels = log_mel.shape[1]
    order = np.arange(1, min(coefficients, mels - 1) + 1)[None]
    table = 2 / mels * np.cos(np.pi / mels * (np.arange(mels)[:, None] + 0.5) * order)
    return log_mel.astype(np.float64) / 2 @ table


def frame_distortion(cepstra: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mel-cepstral distortion of pairs of frames, 10 / ln 10 sqrt(2 sum of squared differences), in dB.

    It is the root mean square over mel frequencies of the difference of two smoothed spectra in dB
    (Kubichek 1993, doi:10.1109/PACRIM.1993.407206).

    Args:
      cepstra, others: `[..., coefficients]`, of shapes that broadcast.
    """
    return DECIBELS * np.sqrt(2 * np.square(cepstra - others).sum(-1))


def warp(distances: np.ndarray) -> np.ndarray:
    """The path of least total distance from the first pair of frames to the last (dynamic time warping).

    A step goes one frame further in either utterance or in both. Of equal totals, the step in both is taken.

    Args:
      distances: `[frames, other frames]`, not negative.

    Returns:
      int `[steps, 2]`, pairs of frames in order.
    """
    total = _totals(distances)
    rows, columns = distances.shape
    i, j, path = rows, columns, []
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        steps = ((i - 1, j - 1), (i - 1, j), (i, j - 1))
        i, j = min(steps, key=lambda step: total[step])
    return np.array(path[::-1])


def _totals(distances: np.ndarray) -> np.ndarray:
    """The least total distance of a path to each pair, `[..., frames + 1, other frames + 1]`; the first row and column
    are outside."""
    *batch, rows, columns = distances.shape
    total = np.full((*batch, rows + 1, columns + 1), np.inf)
    total[..., 0, 0] = 0
    for diagonal in range(rows + columns - 1):  # all pairs of a diagonal depend on earlier ones alone
        i = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        j = diagonal - i
        before = np.minimum(np.minimum(total[..., i, j], total[..., i, j + 1]), total[..., i + 1, j])
        total[..., i + 1, j + 1] = distances[..., i, j] + before
    return total


def nearest_recording(log_mel: np.ndarray, recordings: Sequence[np.ndarray]) -> int:
    """Which recording an utterance is nearest to, by the mel-cepstral distortion along the path of `warp`.

    The total of a path is divided by the frames of both, so that a short recording is not nearer for being short.

    Args:
      log_mel: `[frames, mels]`.
      recordings: `[frames of each, mels]`.
    """
    cepstra = mel_cepstra(log_mel)
    counts = np.array([len(each) for each in recordings])
    # No path reads what is beyond its end.
    distances = np.zeros((len(recordings), len(log_mel), counts.max()))
    for place, each in enumerate(recordings):
        distances[place, :, : len(each)] = frame_distortion(cepstra[:, None], mel_cepstra(each)[None])
    totals = _totals(distances)[np.arange(len(recordings)), len(log_mel), counts]
    return int((totals / (len(log_mel) + counts)).argmin())


def distortion(log_mel: np.ndarray, target: np.ndarray, *, aligned: bool) -> Distortion:
    """Of an utterance from a target.

    Args:
      log_mel: `[frames, mels]`.
      target: `[target frames, mels]`.
      aligned: whether the same frames of both are compared, of which there are as many; else those of `warp`, on which
        both distances are means.
    """
    cepstra, others = mel_cepstra(log_mel), mel_cepstra(target)
    if aligned:
        i = j = np.arange(len(log_mel))
    else:
        i, j = warp(frame_distortion(cepstra[:, None], others[None])).T
    return Distortion(
        float(np.abs(log_mel[i] - target[j]).mean()), float(frame_distortion(cepstra[i], others[j]).mean())
    )


def speaker_statistics(utterances: Sequence[np.ndarray]) -> SpeakerStatistics:
    """Over all frames of utterances `[frames, mels]` of one speaker."""
    frames = np.concatenate(utterances).astype(np.float64)
    return SpeakerStatistics(frames.mean(0), frames.std(0) + 1e-6)


def shifted(log_mel: np.ndarray, source: SpeakerStatistics, target: SpeakerStatistics) -> np.ndarray:
    """An utterance whose filters are brought from the mean and deviation of one speaker to those of another."""
    return ((log_mel - source.mean) / source.deviation * target.deviation + target.mean).astype(np.float32)


def utterance_vector(log_mel: np.ndarray) -> np.ndarray:
    """Mean and deviation of each filter over the frames `[frames, mels]`, for a probe of the speaker."""
    return np.concatenate([log_mel.mean(0), log_mel.std(0)]).astype(np.float32)
