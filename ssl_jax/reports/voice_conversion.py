"""What an experiment of voice conversion reports: how near converted speech is to its target, whose voice it has, and
whether it still says the same; and what the content code still tells of the speaker."""

from collections.abc import Mapping, Sequence

import grain
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.phones import SILENCE
from ssl_jax.data.speech import SpeechConfig
from ssl_jax.data.voice_pairs import Case
from ssl_jax.evals.pictures import draw_bars
from ssl_jax.evals.probes import FIXED_PENALTY, linear_probe
from ssl_jax.evals.voices import (
    distortion,
    nearest_recording,
    shifted,
    speaker_statistics,
    utterance_vector,
)
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.speech import pooled
from ssl_jax.methods.voices import Voices
from ssl_jax.reports.files import save_json, save_plot
from ssl_jax.reports.speech import warn_of_collapse
from ssl_jax.reports.tables import aligned
from ssl_jax.reports.voice_samples import (
    CEILING,
    CONVERTED,
    SOURCE,
    TRUTH,
    Speech,
    Utterance,
    VoiceData,
    shown_cases,
)
from ssl_jax.training.distributed import spread
from ssl_jax.training.experiment import Report

SHIFT = "mean and variance shifted"
KINDS = (TRUTH, SOURCE, SHIFT, CONVERTED, CEILING)
"""Rows of the table."""
COLUMNS = {
    "log_mel_error": "log-mel error",
    "cepstral_distortion": "distortion, dB",
    "target_voice": "target voice, %",
    "source_voice": "source voice, %",
    "phones": "phones, %",
    "text": "text, %",
}
CANDIDATES = 10
"""Recordings of the target speaker among which the text of an utterance is looked for."""
MOST_UTTERANCES = 1_000
"""That a probe is fitted to."""
FIXED = (FIXED_PENALTY,)
ALL = "all pairs"
Row = dict[str, float]
Measures = dict[str, np.ndarray]
"""By name, a value for each case; NaN where it is not known."""


class VoiceReport:
    """The samples after each evaluation, and the report at the end of a run.

    Args:
      voices: what was trained.
      config: of the rows.
      probe_frames: that the probe of phones is fitted to, at most.
      seed: of choices.
    """

    def __init__(self, voices: Voices, config: SpeechConfig, *, probe_frames: int, seed: int) -> None:
        self.config, self.probe_frames, self.seed = config, probe_frames, seed
        self.speech = Speech(voices, config)

        def codes(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
            found = voices.codes(params, extras, batch)
            # Means and mean squares: what is constant in an utterance, where a speaker could hide.
            moments = [pooled(each, found.true, 1) for each in (found.content, jnp.square(found.content))]
            content = {"content code": jnp.concatenate(moments, -1)}
            speaker = {} if found.speaker is None else {"speaker code": found.speaker}
            return content | speaker | {"speaker": batch["speaker"], "word": batch["word"]}

        self._codes = codes

    def sample(self, report: Report) -> None:
        """Writes some conversions as pictures and sound to samples/step-NUMBER*."""
        cases = shown_cases(report.data.details.pairs)
        kinds = self.speech.converted(report, cases)
        self.speech.show(report, cases, kinds, f"step-{report.step:07d}")

    def report(self, report: Report) -> None:
        """Prints tables of conversions and of codes, and writes voices.json and plots/voices.png.

        The distances are those of `ssl_jax.evals.voices`. The voice is that which a linear probe hears, which is fitted
        to log-mel spectra of other utterances of the same speakers; phones are what a linear probe of single frames
        finds that is fitted to training utterances. The text is found if, of the target speaker's recordings of it and
        of nine other texts of about that length, the first is nearest (by chance 10 %).
        """
        warn_of_collapse(report)
        data: VoiceData = report.data.details
        references = {
            speaker: self.speech.utterances(report, numbers)
            for speaker, numbers in data.pairs.references.items()
        }
        kinds = self._kinds(report, data, references)
        measures = {
            kind: self._distances(kinds[TRUTH], each, data.pairs.aligned) for kind, each in kinds.items()
        }
        voices, phones = self._voices(data, kinds, references), self._phones(report, data, kinds)
        for found in (voices, phones, self._texts(data, kinds)):
            for kind, values in found.items():
                measures[kind] |= values
        self._tell(report, data, measures, self._probes_of_codes(report, data))

    def _kinds(
        self, report: Report, data: VoiceData, references: Mapping[int, list[Utterance]]
    ) -> dict[str, list]:
        cases, of = data.pairs.cases, data.speech.utterances
        found = self.speech.converted(report, cases)
        statistics = {
            speaker: speaker_statistics([each.log_mel for each in utterances])
            for speaker, utterances in references.items()
        }
        found[SHIFT] = [
            shifted(each, statistics[int(of.speaker[case.source])], statistics[case.target])
            for each, case in zip(found[SOURCE], cases, strict=True)
        ]
        return {kind: found[kind] for kind in KINDS}

    def _distances(self, targets: Sequence, spectra: Sequence, same_frames: bool) -> Measures:
        found = np.array(
            [
                (np.nan, np.nan) if target is None else distortion(each, target, aligned=same_frames)
                for each, target in zip(spectra, targets, strict=True)
            ]
        )
        return {"log_mel_error": found[:, 0], "cepstral_distortion": found[:, 1]}

    def _voices(self, data: VoiceData, kinds: Mapping[str, list], references: Mapping) -> dict[str, Measures]:
        """Whether the probe gives an utterance to the target, and whether to the source."""
        fit = np.stack([utterance_vector(u.log_mel) for each in references.values() for u in each])
        labels = np.array([speaker for speaker, each in references.items() for _ in each])
        target = np.array([case.target for case in data.pairs.cases])
        source = data.speech.utterances.speaker[[case.source for case in data.pairs.cases]]
        there = {kind: np.array([x is not None for x in each]) for kind, each in kinds.items()}
        score = np.stack([utterance_vector(x) for each in kinds.values() for x in each if x is not None])
        truth = np.concatenate([target[known] for known in there.values()])
        guesses = iter(linear_probe(fit, labels, score, truth, penalties=FIXED, seed=self.seed).predictions)
        result = {}
        for kind, known in there.items():
            guess = np.array([next(guesses) if each else np.nan for each in known])
            result[kind] = {
                name: np.where(known, guess == of, np.nan)
                for name, of in (("target_voice", target), ("source_voice", source))
            }
        return result

    def _phones(self, report: Report, data: VoiceData, kinds: Mapping[str, list]) -> dict[str, Measures]:
        """Of what has the frames of its source, the share of the frames whose phone a probe finds."""
        of = data.speech.utterances
        if not of.phone_names:
            return {}
        rng = np.random.default_rng(self.seed)
        numbers = np.sort(rng.permutation(data.speech.train.chosen)[:MOST_UTTERANCES])
        fit, labels = self._known_frames(report, numbers, rng)
        sources = self.speech.utterances(report, np.array([case.source for case in data.pairs.cases]))
        known = [np.isin(each.phones, labels) for each in sources]
        truth = np.concatenate([each.phones[there] for each, there in zip(sources, known, strict=True)])
        ends = np.cumsum([there.sum() for there in known])[:-1]
        result = {}
        named = [kind for kind in kinds if data.pairs.aligned or kind not in (TRUTH, CEILING)]
        score = [x[there] for kind in named for x, there in zip(kinds[kind], known, strict=True)]
        right = (
            linear_probe(
                fit,
                labels,
                np.concatenate(score),
                np.tile(truth, len(named)),
                penalties=FIXED,
                seed=self.seed,
            ).predictions.reshape(len(named), -1)
            == truth
        )
        for kind, frames in zip(named, right, strict=True):
            shares = [part.mean() if len(part) else np.nan for part in np.split(frames, ends)]
            result[kind] = {"phones": np.array(shares)}
        return result

    def _texts(self, data: VoiceData, kinds: Mapping[str, list]) -> dict[str, Measures]:
        """Whether the target speaker's recording of its text is nearest, where enough other ones are there."""
        if data.pairs.aligned:
            return {}
        words = data.speech.utterances.word[[case.source for case in data.pairs.cases]]
        truths = kinds[TRUTH]
        lengths = [0 if truth is None else len(truth) for truth in truths]
        candidates = texts_to_compare(data.pairs.cases, words, lengths)

        def found(spectra: Sequence) -> np.ndarray:
            right = np.full(len(truths), np.nan)
            for case, others in candidates.items():
                right[case] = nearest_recording(spectra[case], [truths[n] for n in others]) == 0
            return right

        return {kind: {"text": found(spectra)} for kind, spectra in kinds.items() if kind != TRUTH}

    def _known_frames(
        self, report: Report, numbers: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Frames of utterances that have a phone, and the phones."""
        found = self.speech.utterances(report, numbers)
        names = report.data.details.speech.utterances.phone_names
        silent = [number for number, name in enumerate(names) if name == SILENCE]
        frames, phones = np.concatenate([u.log_mel for u in found]), np.concatenate([u.phones for u in found])
        known = np.flatnonzero((phones >= 0) & ~np.isin(phones, silent))
        known = rng.permutation(known)[: self.probe_frames]
        return frames[known], phones[known]

    def _probes_of_codes(self, report: Report, data: VoiceData) -> Row:
        """Accuracies of probes of the speaker: fitted to held-out utterances of half of the words, scored on others."""
        rows = data.speech.heldout
        chosen = grain.MapDataset.range(len(rows)).map(rows)
        if len(rows) > MOST_UTTERANCES:
            chosen = chosen.shuffle(seed=self.seed)[:MOST_UTTERANCES]
        found = report.map(self._codes, chosen)
        word, speaker = found["word"], found["speaker"]
        kinds, place = np.unique(word, return_inverse=True)
        half = place % 2 == 0 if len(kinds) > 1 else np.arange(len(word)) % 2 == 0
        fit = half & (speaker >= 0)
        score = ~half & np.isin(speaker, speaker[fit])
        if len(np.unique(speaker[fit])) < 2 or not score.any():
            return {}
        names = [name for name in ("content code", "speaker code") if name in found]

        def measure(name: str) -> float:
            codes = found[name]
            return linear_probe(
                codes[fit], speaker[fit], codes[score], speaker[score], penalties=FIXED, seed=self.seed
            ).accuracy

        values, counts = np.unique(speaker[score], return_counts=True)
        return {
            **spread(measure, names),
            f"most frequent of {len(values)}": float(counts.max() / counts.sum()),
        }

    def _tell(self, report: Report, data: VoiceData, measures: Mapping[str, Measures], codes: Row) -> None:
        pairs = data.pairs
        unseen = {"speakers": pairs.unseen_speakers, "words": pairs.unseen_words}
        new = " and ".join(name for name, is_new in unseen.items() if is_new)
        target = "the same take by the other voice" if pairs.aligned else "another recording of it, aligned"
        report.log(
            f"{len(pairs.cases)} conversions of held-out utterances between {len(pairs.references)} speakers"
            f"{f' ({new} were not trained on)' if new else ''}; the target is {target}"
        )
        tables = {
            group: {kind: _means(each, chosen) for kind, each in measures.items()}
            for group, chosen in self._groups(data).items()
        }
        for group, rows in tables.items():
            columns = [name for name in COLUMNS if any(name in row for row in rows.values())]
            body = [
                [kind, *(_shown(name, row[name]) if name in row else "-" for name in columns)]
                for kind, row in rows.items()
            ]
            for line in aligned([[group, *(COLUMNS[name] for name in columns)], *body]):
                report.log(line)
        if codes:
            told = ", ".join(f"{name} {100 * accuracy:.1f}" for name, accuracy in codes.items())
            report.log(f"linear probe of the speaker, held-out utterances, accuracy in %: {told}")
        save_json(report, "voices", {"conversions": tables, "speaker_probes": codes})
        every = {kind: _means(each, np.ones(len(pairs.cases), bool)) for kind, each in measures.items()}
        shares = {
            kind: {COLUMNS[name].removesuffix(", %"): row[name] for name in row if _is_share(name)}
            for kind, row in every.items()
        }
        title = f"probes on converted utterances, {data.speech.utterances.name} speech"
        save_plot(report, "voices", draw_bars({k: row for k, row in shares.items() if row}, title=title))

    def _groups(self, data: VoiceData) -> dict[str, np.ndarray]:
        """Which cases are in each table: all in one, or those of each pair that the user names."""
        pairs, of = data.pairs, data.speech.utterances
        if not pairs.named:
            return {ALL: np.ones(len(pairs.cases), bool)}
        names = np.array(
            [f"{of.speakers[of.speaker[case.source]]} to {of.speakers[case.target]}" for case in pairs.cases]
        )
        return {name: names == name for name in sorted({*names.tolist()})}


def texts_to_compare(
    cases: Sequence[Case], words: np.ndarray, lengths: Sequence[int]
) -> dict[int, list[int]]:
    """For each case, the cases whose targets its text is looked for in: itself, then others of the same speaker.

    Args:
      cases: the conversions.
      words: `[cases]`, numbers of their words or texts.
      lengths: `[cases]`, frames of the targets, 0 where there is none.

    Returns:
      `CANDIDATES` numbers by the number of a case, of different words and of the most similar lengths; without the
      cases that have no target or too few others.
    """
    result = {}
    for own, case in enumerate(cases):
        others = {
            words[n]: n
            for n, other in enumerate(cases)
            if lengths[n] and other.target == case.target and words[n] != words[own]
        }
        nearest = sorted(others.values(), key=lambda n: abs(lengths[n] - lengths[own]))[: CANDIDATES - 1]
        if lengths[own] and len(nearest) == CANDIDATES - 1:
            result[own] = [own, *nearest]
    return result


def _means(measures: Measures, chosen: np.ndarray) -> Row:
    """Of the cases where each measure is known; without those that none has."""
    known = {name: values[chosen & ~np.isnan(values)] for name, values in measures.items()}
    return {name: float(values.mean()) for name, values in known.items() if len(values)}


def _is_share(name: str) -> bool:
    return COLUMNS[name].endswith("%")


def _shown(name: str, value: float) -> str:
    return f"{100 * value:.1f}" if _is_share(name) else f"{value:.3f}"
