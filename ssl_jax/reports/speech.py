"""What an experiment on speech shows at its end: linear probes of phones, words and speakers, layer by layer."""

from collections.abc import Callable, Mapping

import grain
import jax
import numpy as np

from ssl_jax.data.phones import SILENCE
from ssl_jax.data.speech import SpeechRows, SpeechSplits
from ssl_jax.errors import UserError
from ssl_jax.evals.pictures import draw_bars
from ssl_jax.evals.probes import FIXED_PENALTY, few_label_probe, linear_probe
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.speech import SpeechMethod, pooled
from ssl_jax.reports.files import save_json, save_plot
from ssl_jax.reports.tables import aligned
from ssl_jax.training.distributed import spread
from ssl_jax.training.experiment import Report
from ssl_jax.transforms.speech_features import frame_mask, log_mel, normalise_utterance

LOG_MEL, PER_UTTERANCE, UNTRAINED = "log-mel", "log-mel, per utterance", "untrained"
FEW = 10
"""Labels of each word, in the probe of few labels."""
FIXED = (FIXED_PENALTY,)
"""Of all probes: to choose one takes several times as long, and a factor of ten matters little."""
REPEATS = 3
"""Draws of these labels."""
FRAMES_OF_AN_UTTERANCE = 10
"""Frames that an utterance gives to the probes of phones, about."""
COLLAPSED_RANK = 2.0
"""Effective rank of the held-out utterances below which the log warns of a collapse."""

Task = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Features and labels to fit a probe to, then those to score it on."""


def normalised_log_mel(batch: Batch, rate: int, mels: int, normalise: str) -> tuple[jax.Array, jax.Array]:
    """The log-mel spectrum of a batch, per utterance normalised or not, and the mask of its true frames."""
    frames = log_mel(batch["waveform"], rate, mels)
    mask = frame_mask(batch["samples"], frames.shape[1], rate)
    return (normalise_utterance(frames, mask) if normalise == "utterance" else frames), mask


def report_speech(
    report: Report,
    method: SpeechMethod,
    *,
    rate: int,
    mels: int,
    utterances: int,
    frames: int,
    seed: int,
) -> None:
    """Prints a table of probes, writes probes.json and plots/probes.png, and warns of a collapse.

    - phone: the frames of held-out utterances, fitted to frames of training utterances; silence is left out;
    - word: held-out utterances, fitted to training utterances, with all labels and with ten of each word;
    - speaker: the held-out utterances of half of the words, fitted to those of the other half, so that no utterance has
      been trained on and no word is in both halves.

    An utterance is the means of its frames in four parts. Log-mel is probed as it is and normalised in each utterance;
    probes standardise all features by their training examples, so the first is global normalisation.

    Args:
      report: of a run whose data are `ssl_jax.recipes.speech.open_speech_data`'s.
      method: what was trained.
      rate: samples per second.
      mels: filters of the log-mel spectrum to compare with.
      utterances: that probes are fitted to and scored on, at most.
      frames: likewise.
      seed: of the choices.
    """
    warn_of_collapse(report)
    speech: SpeechSplits = report.data.details
    learned = _with_inputs(method, rate, mels)
    untrained = {**report.variables, "params": report.initial_variables()["params"]}
    whole, parts = _whole(learned, method, rate), _frames(learned, method, rate)

    def measured(rows: SpeechRows, function: Callable, count: int, variables: Tree | None = None) -> Tree:
        return report.map(function, some_rows(rows, count, seed), variables)

    def both(function: Callable, count: int) -> list[Tree]:
        sides = []
        for rows in (speech.probe, speech.heldout):
            found, *labels = measured(rows, function, count)
            plain, *_ = measured(rows, function, count, untrained)
            inputs, layers = (LOG_MEL, PER_UTTERANCE), _layers(found)
            shown = {name: found[name] for name in (*inputs, *layers)}
            sides.append([{**shown, UNTRAINED: plain[layers[-1]]}, *labels])
        return sides

    tasks: dict[str, dict[str, Task]] = {}
    (fit, fit_word, _), (score, score_word, score_speaker) = both(whole, utterances)
    tasks["word"] = _task(fit, fit_word, score, score_word)
    first = first_half(score_word, len(speech.utterances.words))
    sides = ({name: values[half] for name, values in score.items()} for half in (first, ~first))
    tasks["speaker"] = _task(next(sides), score_speaker[first], next(sides), score_speaker[~first])
    if speech.utterances.phone_names:
        silent = [i for i, name in enumerate(speech.utterances.phone_names) if name == SILENCE]
        sides = both(parts, max(1, frames // FRAMES_OF_AN_UTTERANCE))
        (fit, fit_phone), (score, score_phone) = (_flat(*side, silent, frames, seed) for side in sides)
        tasks["phone"] = _task(fit, fit_phone, score, score_phone)
    _tell(report, {name: tasks[name] for name in ("phone", "word", "speaker") if tasks.get(name)}, seed)


def warn_of_collapse(report: Report) -> None:
    """Prints a warning where the held-out utterances have nearly one representation."""
    rank = report.metrics["heldout"].get("effective_rank")
    if rank is not None and rank < COLLAPSED_RANK:
        report.log(
            f"WARNING: collapse: effective_rank {rank:.2f} of the held-out utterances; all have nearly one "
            "representation. Take an earlier checkpoint, or train with a smaller learning rate."
        )


def _with_inputs(method: SpeechMethod, rate: int, mels: int) -> Callable[..., dict[str, jax.Array]]:
    """The log-mel spectrum, as it is and normalised, and the layers, all at the rate of the layers."""

    def frames(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
        layers = method.layers(params, extras, batch)
        size = next(iter(layers.values())).shape[1]
        inputs = {
            name: normalised_log_mel(batch, rate, mels, how)[0][:, :: method.stride][:, :size]
            for name, how in ((LOG_MEL, "none"), (PER_UTTERANCE, "utterance"))
        }
        return {**inputs, **layers}

    return frames


def _whole(learned: Callable, method: SpeechMethod, rate: int) -> Callable:
    def function(params: Tree, extras: Extras, batch: Batch) -> tuple:
        found = learned(params, extras, batch)
        true = _true(batch, method, rate, found)
        return (
            {name: pooled(frames, true) for name, frames in found.items()},
            batch["word"],
            batch["speaker"],
        )

    return function


def _frames(learned: Callable, method: SpeechMethod, rate: int) -> Callable:
    def function(params: Tree, extras: Extras, batch: Batch) -> tuple:
        found = learned(params, extras, batch)
        true = _true(batch, method, rate, found)
        phones = batch["phones"][:, :: method.stride][:, : true.shape[1]]
        return {name: x.astype("float32") for name, x in found.items()}, jax.numpy.where(true, phones, -1)

    return function


def _true(batch: Batch, method: SpeechMethod, rate: int, found: Mapping[str, jax.Array]) -> jax.Array:
    """The true frames, at the rate of the layers."""
    mask = frame_mask(batch["samples"], batch["phones"].shape[1], rate)
    return mask[:, :: method.stride][:, : next(iter(found.values())).shape[1]]


def _layers(found: Mapping[str, np.ndarray]) -> list[str]:
    """The names of the layers in order, which a compiled function does not keep."""
    return sorted((name for name in found if name not in (LOG_MEL, PER_UTTERANCE)), key=lambda n: (len(n), n))


def _flat(
    features: Mapping[str, np.ndarray], phones: np.ndarray, silent: list[int], count: int, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A seeded choice of the frames that have a phone."""
    known = np.flatnonzero((phones >= 0).ravel() & ~np.isin(phones.ravel(), silent))
    known = np.sort(np.random.default_rng(seed).permutation(known)[:count])
    flat = {name: values.reshape(-1, values.shape[-1])[known] for name, values in features.items()}
    return flat, phones.ravel()[known]


def some_rows(rows: SpeechRows, count: int, seed: int) -> grain.MapDataset:
    """All rows, or a seeded choice of so many."""
    chosen = grain.MapDataset.range(len(rows)).map(rows)
    return chosen.shuffle(seed=seed)[:count] if len(rows) > count else chosen


def first_half(word: np.ndarray, words: int) -> np.ndarray:
    """Which utterances are in the first half: by their word, or every other one where words are unknown."""
    return (word % 2 == 0) if words > 1 else np.arange(len(word)) % 2 == 0


def _task(
    fit: Mapping[str, np.ndarray], fit_labels: np.ndarray, score: Mapping[str, np.ndarray], labels: np.ndarray
) -> dict[str, Task]:
    """By representation; empty unless two classes or more are known on both sides. Other classes are not scored."""
    known = np.intersect1d(fit_labels[fit_labels >= 0], labels)
    if len(known) < 2:
        return {}
    fitted, scored = fit_labels >= 0, np.isin(labels, known)
    return {
        name: (fit[name][fitted], fit_labels[fitted], score[name][scored], labels[scored]) for name in fit
    }


def _tell(report: Report, tasks: Mapping[str, Mapping[str, Task]], seed: int) -> None:
    if not tasks:
        report.log("no probes: these utterances have no labels; --data.labels says how their paths give some")
        return
    names = [*next(iter(tasks.values()))]

    def measure(name: str) -> dict[str, float]:
        found = {}
        for task, of in tasks.items():
            found[task] = linear_probe(*of[name], penalties=FIXED, seed=seed).accuracy
            if task == "word":
                try:
                    few = few_label_probe(*of[name], per_class=FEW, penalties=FIXED, repeats=REPEATS)
                    found[f"word, {FEW} labels"] = few.mean
                except UserError:
                    pass  # some word has fewer recordings
        return found

    accuracies = spread(measure, names)
    columns = [*accuracies[names[0]]]
    counts = {task: of[names[0]] for task, of in tasks.items()}
    report.log(
        "linear probes of frozen features on held-out utterances, accuracy in %: "
        + "; ".join(
            f"{task}: {len(np.unique(fit_labels))} classes, {len(fit_labels):,} to fit, {len(labels):,} to score"
            for task, (_, fit_labels, _, labels) in counts.items()
        )
    )
    body = [
        [name, *(f"{100 * row[c]:.1f}" if c in row else "-" for c in columns)]
        for name, row in accuracies.items()
    ]
    for line in aligned([["", *columns], *body]):
        report.log(line)
    save_json(report, "probes", accuracies)
    source = report.data.details.utterances.name
    figure = draw_bars(accuracies, title=f"linear probes on held-out utterances, {source} speech")
    save_plot(report, "probes", figure)
