"""What an experiment that discovers units of speech shows: their rate, phones and speakers, and what is decoded from
them, to look at and to hear."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import grain
import jax
import numpy as np

from ssl_jax.data.speech import SpeechSplits
from ssl_jax.evals.codes import code_use, draw_code_use
from ssl_jax.evals.probes import FIXED_PENALTY, linear_probe
from ssl_jax.evals.spectrograms import draw_spectrograms
from ssl_jax.evals.speech_units import draw_unit_phones, joint_counts, unit_quality
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.speech_units import Spectra, SpeechUnits
from ssl_jax.models.quantization.codebook import nearest
from ssl_jax.models.quantization.kmeans import kmeans
from ssl_jax.reports.files import save_json, save_plot, save_text, save_wav
from ssl_jax.reports.masked_speech import utterance_name
from ssl_jax.reports.speech import first_half, normalised_log_mel, some_rows
from ssl_jax.reports.speech_codes import warn_of_code_collapse
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report
from ssl_jax.transforms.griffin_lim import waveform_of_log_mel

UNITS, UNTRAINED = "units", "clusters of an untrained encoder"
LOG_MEL = {"clusters of log-mel": "none", "clusters of log-mel, per utterance": "utterance"}
CLUSTERED_UTTERANCES = 300
"""Training utterances whose frames are clustered."""
CLUSTERED_FRAMES = 20_000
ROUNDS = 20
"""Of k-means."""
SHOWN = 3
"""Held-out utterances to look at and to hear."""
PHONES_OF_A_UNIT = 3
"""In the table of units."""


@dataclasses.dataclass(frozen=True)
class UnitReport:
    """The samples and the report of a run.

    Attributes:
      made: the method.
      rate: samples per second.
      mels: filters of the log-mel spectra.
      utterances: held-out utterances that units are counted in, at most.
      seed: of the clusters, of the choices and of the phases of waveforms.
    """

    made: SpeechUnits
    rate: int
    mels: int
    utterances: int
    seed: int

    def sample(self, report: Report) -> None:
        """Writes wav files of some held-out utterances into samples/.

        original-1.wav is the log-mel spectrum of the first one through Griffin-Lim; step-S-reconstruction-1.wav that
        which is decoded from its units; step-S-voice-1.wav the same in the voice of the first training speaker.
        """
        for kind, found in self._shown(report).items():
            waveforms = report.compute(_inverter(self.rate), found.reconstruction, found.frames, self.seed)
            self._write(report, f"step-{report.step}-{kind}", waveforms, found.frames)
        waveforms = report.compute(_inverter(self.rate), found.original, found.frames, self.seed)
        self._write(report, "original", waveforms, found.frames)

    def report(self, report: Report) -> None:
        """Logs the table of units and clusters, and writes units.json, unit_phones.txt and plots."""
        warn_of_code_collapse(report)
        self._draw(report)
        speech: SpeechSplits = report.data.details
        counted = self._count(report)
        there = counted[UNITS] >= 0
        second = 100 / self.made.speech.stride
        rows = {name: self._measure(counted, name, speech) for name in (UNITS, *LOG_MEL, UNTRAINED)}
        report.log(
            f"{there.sum():,} units of {len(there):,} held-out utterances, {second:g} a second, of {self.made.codes} "
            f"codes: at most {second * np.log2(self.made.codes):.0f} bits a second"
        )
        columns = [*rows[UNITS]]
        body = [
            [name, *(_shown_number(column, row[column]) for column in columns)] for name, row in rows.items()
        ]
        for line in aligned([["", *columns], *body]):
            report.log(line)
        save_json(report, "units", rows)
        use = code_use(counted[UNITS][there], self.made.codes)
        save_plot(report, "code_use", draw_code_use(use, title="units of the held-out utterances"))
        if names := speech.utterances.phone_names:
            shape = self.made.codes, len(names)
            counts = joint_counts(counted[UNITS][there], counted["phones"][there], shape)
            title = f"phones of each unit, held-out utterances ({speech.utterances.name} speech)"
            save_plot(report, "unit_phones", draw_unit_phones(counts, names, title))
            save_text(report, "unit_phones.txt", "\n".join(phones_of_units(counts, names)) + "\n")

    def _shown(self, report: Report) -> dict[str, Spectra]:
        """Spectra of the shown utterances, in their own voices and in that of a training speaker."""
        speech: SpeechSplits = report.data.details
        heldout = grain.MapDataset.source(self._chosen(speech)).map(speech.heldout)
        found = {"reconstruction": report.map(self.made.spectra, heldout)}
        if self.made.speakers:
            voice = np.int32(_voice(speech))
            other = heldout.map(lambda row: {**row, "speaker": voice})
            found["voice"] = report.map(self.made.spectra, other)
        return found

    def _chosen(self, speech: SpeechSplits) -> list[int]:
        """The rows of the shown utterances, by chance: at equal distances, all could be one word."""
        rows = len(speech.heldout)
        return sorted(np.random.default_rng(self.seed).permutation(rows)[:SHOWN].tolist())

    def _write(self, report: Report, name: str, waveforms: np.ndarray, frames: np.ndarray) -> None:
        hop = self.rate // 100
        for number, (waveform, count) in enumerate(zip(waveforms, frames, strict=True), 1):
            save_wav(report, f"samples/{name}-{number}.wav", waveform[: (count + 1) * hop], self.rate)

    def _draw(self, report: Report) -> None:
        speech: SpeechSplits = report.data.details
        shown = self._shown(report)
        own = shown["reconstruction"]
        pictures, names = [], []
        for row, (index, count) in enumerate(zip(self._chosen(speech), own.frames, strict=True)):
            kinds = {"log-mel": own.original, "from units": own.reconstruction}
            if "voice" in shown:
                voice = speech.utterances.speakers[_voice(speech)]
                kinds[f"from units, voice of {voice[:12]}"] = shown["voice"].reconstruction
            pictures.append({kind: values[row, :count] for kind, values in kinds.items()})
            names.append(utterance_name(speech, int(speech.heldout.chosen[index])))
        title = f"held-out utterances ({speech.utterances.name} speech), and what is decoded from their units"
        save_plot(report, "reconstructions", draw_spectrograms(pictures, names=names, title=title))

    def _count(self, report: Report) -> dict[str, np.ndarray]:
        """Units of held-out utterances by name, int `[utterances, units]`, -1 where there is none, and their labels."""
        speech: SpeechSplits = report.data.details
        made, stride = self.made, self.made.speech.stride
        untrained = {**report.variables, "untrained": report.initial_variables()["params"]}

        def described(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
            found = {UNTRAINED: made.vectors(extras["untrained"], extras, batch)}
            for name, how in LOG_MEL.items():
                found[name] = normalised_log_mel(batch, self.rate, self.mels, how)[0][:, ::stride]
            return found

        def fit(params: Tree, extras: Extras, batch: Batch) -> tuple:
            return described(params, extras, batch), made.units(params, extras, batch) >= 0

        found, there = report.map(fit, some_rows(speech.probe, CLUSTERED_UTTERANCES, self.seed), untrained)
        chosen = np.random.default_rng(self.seed).permutation(np.flatnonzero(there))[:CLUSTERED_FRAMES]
        cluster = functools.partial(_centres, made.codes)
        centres = {
            name: report.compute(cluster, values.reshape(-1, values.shape[-1])[chosen], self.seed)
            for name, values in found.items()
        }

        def count(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
            units = made.units(params, extras, batch)
            vectors = described(params, extras, batch)
            clusters = {
                name: jax.numpy.where(units >= 0, nearest(extras["centres"][name], x), -1)
                for name, x in vectors.items()
            }
            labels = {"phones": batch["phones"][:, ::stride], "word": batch["word"]}
            return {UNITS: units, **clusters, **labels, "speaker": batch["speaker"]}

        return report.map(
            count, some_rows(speech.heldout, self.utterances, self.seed), {**untrained, "centres": centres}
        )

    def _measure(self, counted: Mapping[str, np.ndarray], name: str, speech: SpeechSplits) -> dict[str, Any]:
        units, codes = counted[name], self.made.codes
        there = units >= 0
        use = code_use(units[there], codes)
        found = {
            "used": use.used,
            "perplexity": use.perplexity,
            "bits/s": use.bits * 100 / self.made.speech.stride,
        }
        if speech.utterances.phone_names:
            quality = unit_quality(units[there], counted["phones"][there])
            found |= {"phone purity": quality.phone_purity, "PNMI": quality.pnmi, "NMI": quality.nmi}
        # The utterance as the shares of the units in it.
        shares = np.stack([np.bincount(row[row >= 0], minlength=codes) for row in units]).astype(np.float32)
        shares /= np.maximum(shares.sum(1, keepdims=True), 1)
        first = first_half(counted["word"], len(speech.utterances.words))
        speaker = counted["speaker"]
        known = np.intersect1d(speaker[first], speaker[~first])
        fit, score = (half & np.isin(speaker, known[known >= 0]) for half in (first, ~first))
        if len(np.unique(speaker[fit])) > 1:
            probe = linear_probe(
                shares[fit], speaker[fit], shares[score], speaker[score], penalties=(FIXED_PENALTY,)
            )
            found["speaker"] = probe.accuracy
        return found


@functools.cache
def _inverter(rate: int) -> Callable[..., jax.Array]:
    """Log-mel spectra, their true frames and a seed to waveforms; one function for each rate, compiled once."""
    return lambda spectra, frames, seed: waveform_of_log_mel(jax.random.key(seed), spectra, frames, rate)


def _centres(codes: int, vectors: jax.Array, seed: jax.Array) -> jax.Array:
    return kmeans(jax.random.key(seed), vectors, codes, ROUNDS)[0]


def _voice(speech: SpeechSplits) -> int:
    """The first speaker that is trained on."""
    return int(speech.utterances.speaker[speech.train.chosen].min())


def _shown_number(column: str, value: float) -> str:
    if column == "used":
        return f"{value}"
    return f"{value:.1f}" if column in ("perplexity", "bits/s") else f"{100 * value:.1f} %"


def phones_of_units(counts: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """A line for each used unit, the most frequent first: its share, and its most frequent phones."""
    total = counts.sum()
    rows = [["unit", "share", *(["phone", "share"] * PHONES_OF_A_UNIT)]]
    for unit in np.argsort(-counts.sum(1), kind="stable"):
        of_unit = counts[unit].sum()
        if not of_unit:
            break
        cells = [str(unit), f"{of_unit / total:.1%}"]
        for phone in np.argsort(-counts[unit], kind="stable")[:PHONES_OF_A_UNIT]:
            share = counts[unit, phone] / of_unit
            cells += [names[phone], f"{share:.0%}"] if share else ["", ""]
        rows.append(cells + [""] * (len(rows[0]) - len(cells)))
    return aligned(rows)
