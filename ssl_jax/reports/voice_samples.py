"""Utterances converted into other voices, as spectra, pictures and sound."""

from collections.abc import Mapping
from typing import NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.speech import SpeechConfig, SpeechRows, SpeechSplits
from ssl_jax.data.voice_pairs import Case, VoicePairs, rows_of_cases
from ssl_jax.evals.spectrograms import draw_spectrograms
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.voices import Voices
from ssl_jax.reports.files import save_picture, save_wav
from ssl_jax.training.experiment import Report
from ssl_jax.transforms.griffin_lim import feature_stft, waveform_of_log_mel
from ssl_jax.transforms.speech_features import frames_of, raw_features

TRUTH, SOURCE, CONVERTED, CEILING = "target", "unconverted", "converted", "target from its own codes"
SHOWN = 3
"""Conversions in pictures and samples."""


class VoiceData(NamedTuple):
    """The `details` of the data of a run.

    Attributes:
      speech: the utterances.
      pairs: what conversions are measured on.
    """

    speech: SpeechSplits
    pairs: VoicePairs


class Utterance(NamedTuple):
    """One utterance as features.

    Attributes:
      log_mel: `[frames, mels]`, of true frames.
      phones: `[frames]`, -1 where unknown.
      speaker: number.
    """

    log_mel: np.ndarray
    phones: np.ndarray
    speaker: int


class Speech:
    """Spectra of utterances, as they are and converted; its functions are compiled once.

    Args:
      voices: what was trained.
      config: of the rows.
    """

    def __init__(self, voices: Voices, config: SpeechConfig) -> None:
        self.config = config

        def log_mel(batch: Mapping[str, jax.Array]) -> jax.Array:
            return raw_features(voices.features, batch["waveform"], batch["samples"], config.rate)

        def plain(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
            return {"log_mel": log_mel(batch), **{n: batch[n] for n in ("samples", "phones", "speaker")}}

        def convert(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
            truth = {**batch, "waveform": batch["truth"], "samples": batch["truth_samples"]}
            itself = {**truth, "reference": batch["truth"], "reference_samples": batch["truth_samples"]}
            # One program for both, which takes half as long to compile.
            both = jax.tree.map(lambda *rows: jnp.concatenate(rows), dict(batch), itself)
            converted, ceiling = jnp.split(voices.convert(params, extras, both), 2)
            return {
                TRUTH: log_mel(truth),
                SOURCE: log_mel(batch),
                CONVERTED: converted,
                CEILING: ceiling,
                "samples": batch["samples"],
                "truth_samples": batch["truth_samples"],
            }

        def sound(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
            return waveform_of_log_mel(jax.random.key(0), batch["log_mel"], batch["frames"], config.rate)

        self._plain, self._convert, self._sound = plain, convert, sound

    def utterances(self, report: Report, numbers: np.ndarray) -> list[Utterance]:
        """Utterances of the data by their numbers."""
        rows = SpeechRows(report.data.details.speech.utterances, numbers, self.config, labels=True)
        found = report.map(self._plain, grain.MapDataset.range(len(rows)).map(rows))
        counts = frames_of(found["samples"], self.config.rate)
        return [
            Utterance(found["log_mel"][row][:count], found["phones"][row][:count], int(found["speaker"][row]))
            for row, count in enumerate(counts)
        ]

    def converted(self, report: Report, cases: list[Case]) -> dict[str, list[np.ndarray | None]]:
        """By kind, the spectrum `[frames, mels]` of each case; None where the target is not known."""
        data: VoiceData = report.data.details
        rows = rows_of_cases(cases, data.speech, self.config)
        found = report.map(self._convert, rows)
        counts = {
            kind: frames_of(
                found["truth_samples" if kind in (TRUTH, CEILING) else "samples"], self.config.rate
            )
            for kind in (TRUTH, SOURCE, CONVERTED, CEILING)
        }
        return {
            kind: [found[kind][row][:count] if count else None for row, count in enumerate(of_kind)]
            for kind, of_kind in counts.items()
        }

    def show(self, report: Report, cases: list[Case], kinds: Mapping[str, list], name: str) -> None:
        """Writes samples/NAME.png and, for each case and kind, samples/NAME-NUMBER-KIND.wav."""
        of = report.data.details.speech.utterances
        kinds = {kind: each for kind, each in kinds.items() if all(x is not None for x in each)}
        pictures = [{kind: each[place] for kind, each in kinds.items()} for place in range(len(cases))]
        names = []
        for case in cases:
            word = of.words[of.word[case.source]][:24] if of.word[case.source] >= 0 else str(case.source)
            names.append(f"{word}, {of.speakers[of.speaker[case.source]]} to {of.speakers[case.target]}")
        title = f"held-out utterances ({of.name}) in other voices"
        save_picture(report, f"samples/{name}.png", draw_spectrograms(pictures, names=names, title=title))
        spectra = [(kind, place, each[place]) for kind, each in kinds.items() for place in range(len(cases))]
        for (kind, place, _), wave in zip(
            spectra, self._sounds(report, [each for *_, each in spectra]), strict=True
        ):
            save_wav(
                report, f"samples/{name}-{place + 1}-{kind.replace(' ', '_')}.wav", wave, self.config.rate
            )

    def _sounds(self, report: Report, spectra: list[np.ndarray]) -> list[np.ndarray]:
        def row(number: int) -> dict[str, np.ndarray]:
            log_mel = spectra[number]
            padded = np.zeros((self.config.frames, log_mel.shape[1]), np.float32)
            padded[: len(log_mel)] = log_mel
            return {"log_mel": padded, "frames": np.int32(len(log_mel))}

        waves = report.map(self._sound, grain.MapDataset.range(len(spectra)).map(row))
        transform = feature_stft(self.config.rate)
        return [wave[: transform.samples(len(each))] for wave, each in zip(waves, spectra, strict=True)]


def shown_cases(pairs: VoicePairs) -> list[Case]:
    """A few cases, the same at every evaluation."""
    return pairs.cases[:: max(1, len(pairs.cases) // SHOWN)][:SHOWN]
