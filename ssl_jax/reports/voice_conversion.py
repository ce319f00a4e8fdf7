"""What an experiment of voice conversion shows: how near converted speech is to its target, and samples of it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import grain
import jax
import numpy as np

from ssl_jax.data.phones import SILENCE
from ssl_jax.data.speech import SpeechConfig, SpeechRows, SpeechSplits
from ssl_jax.data.voice_pairs import VoicePairs, rows_of_cases
from ssl_jax.evals.probes import FIXED_PENALTY, linear_probe
from ssl_jax.evals.spectrograms import draw_spectrograms
from ssl_jax.evals.voices import Distortion, distortion, shifted, speaker_statistics, utterance_vector
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.speech import pooled
from ssl_jax.methods.voices import Voices
from ssl_jax.reports.files import save_json, save_plot
from ssl_jax.reports.speech import warn_of_collapse
from ssl_jax.reports.tables import aligned
from ssl_jax.training.distributed import spread
from ssl_jax.training.experiment import Report
from ssl_jax.transforms.speech_features import frames_of, raw_features

TRUTH, NOTHING, SHIFT = "true target", "unconverted", "mean and variance shifted"
CONVERTED, CEILING = "converted", "target from its own codes"
SHOWN = 3
"""Conversions in pictures and samples."""
SEGMENTS = 4
"""Parts of an utterance whose mean codes the probe of the content code reads."""


class VoiceData(NamedTuple):
    """The `details` of the data of a run.

    Attributes:
      speech: the utterances.
      pairs: what conversions are measured on.
    """

    speech: SpeechSplits
    pairs: VoicePairs


class Spoken(NamedTuple):
    """The log-mel spectra of the cases, each `[frames, mels]` of true frames.

    Attributes:
      kinds: by name, in the order of the table; a spectrum of None where the target is not known.
      phones: of the frames of each source, -1 where unknown.
    """

    kinds: dict[str, list[np.ndarray | None]]
    phones: list[np.ndarray]


class VoiceReport:
    """The samples after each evaluation, and the report at the end.

    Args:
      voices: what was trained.
      config: of the rows.
      probe_frames: that the probe of phones is fitted to, at most.
      seed: of choices.
    """

    def __init__(self, voices: Voices, config: SpeechConfig, *, probe_frames: int, seed: int) -> None:
        self.voices, self.config, self.probe_frames, self.seed = voices, config, probe_frames, seed
        self._convert, self._log_mel, self._codes = _conversions(voices), _log_mel(voices), _pooled_codes(voices)

    def sample(self, report: Report) -> None:
        """Draws some conversions to samples/step-NUMBER.png."""
        data: VoiceData = report.data.details
        few = data.pairs._replace(cases=self._shown(data.pairs))
        self._draw(report, few, self._spoken(report, few), f"step-{report.step:07d}")

    def report(self, report: Report) -> None:
        """Prints tables of conversions and of codes, writes voices.json, and draws conversions."""
        warn_of_collapse(report)
        data: VoiceData = report.data.details
        spoken = self._spoken(report, data.pairs)
        rows, classes = self._measured(report, data, spoken)
        self._tell(report, data, rows, classes)
        codes = self._code_probes(report, data.speech)
        save_json(report, "voices", {"conversions": rows, "speaker probes of codes": codes})

    def _shown(self, pairs: VoicePairs) -> list:
        return pairs.cases[:: max(1, len(pairs.cases) // SHOWN)][:SHOWN]

    def _spoken(self, report: Report, pairs: VoicePairs) -> Spoken:
        """Converts all cases."""
        data: VoiceData = report.data.details
        rows = rows_of_cases(pairs, data.speech, self.config)
        found = report.map(self._convert, rows)
        frames = frames_of(found["samples"], self.config.rate)
        true = frames_of(found["truth_samples"], self.config.rate)

        def cut(name: str, counts: np.ndarray) -> list[np.ndarray | None]:
            return [each[:count] if count else None for each, count in zip(found[name], counts, strict=True)]

        of = data.speech.utterances
        statistics = {
            speaker: speaker_statistics(self._spectra(report, data.speech, references)[0])
            for speaker, references in pairs.references.items()
        }
        source = cut("source", frames)
        shift = [
            shifted(each, statistics[int(of.speaker[case.source])], statistics[case.target])
            for each, case in zip(source, pairs.cases, strict=True)
        ]
        kinds = {
            TRUTH: cut("truth", true),
            NOTHING: source,
            SHIFT: shift,
            CONVERTED: cut("converted", frames),
            CEILING: cut("ceiling", true),
        }
        phones = [each[:count] for each, count in zip(found["phones"], frames, strict=True)]
        return Spoken(kinds, phones)

    def _spectra(
        self, report: Report, speech: SpeechSplits, numbers: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
        """Log-mel spectra, speakers and phones of utterances."""
        rows = SpeechRows(speech.utterances, numbers, self.config, labels=True)
        found = report.map(self._log_mel, grain.MapDataset.range(len(rows)).map(rows))
        frames = frames_of(found["samples"], self.config.rate)
        cut = [
            [each[:count] for each, count in zip(found[name], frames, strict=True)]
            for name in ("log_mel", "phones")
        ]
        return cut[0], found["speaker"], cut[1]
