"""A picture of held-out utterances, of what is masked in them, and of the reconstruction."""

from collections.abc import Callable

from ssl_jax.data.speech import SpeechSplits
from ssl_jax.evals.spectrograms import draw_spectrograms
from ssl_jax.reports.files import save_plot
from ssl_jax.training.experiment import Report

SHOWN = 3
"""Utterances in the picture."""


def draw_reconstructions(report: Report, show: Callable, filters: int) -> None:
    """Writes plots/reconstructions.png.

    Args:
      report: of the run.
      show: see `ssl_jax.methods.mockingjay.Mockingjay`.
      filters: of a frame; what follows them, such as differences over time, is not drawn.
    """
    speech: SpeechSplits = report.data.details
    heldout = report.heldout["heldout"]
    step = max(1, len(heldout) // SHOWN)
    found = report.map(show, heldout[::step][:SHOWN])
    pictures, names = [], []
    for row in range(len(found["true"])):
        true = found["true"][row]
        pictures.append(
            {
                kind: found[name][row][true][:, :filters]
                for kind, name in (
                    ("features", "features"),
                    ("masked input", "masked"),
                    ("reconstruction", "reconstruction"),
                )
            }
        )
        names.append(utterance_name(speech, int(speech.heldout.chosen[row * step])))
    title = f"held-out utterances ({speech.utterances.name} speech), and their masked frames reconstructed"
    save_plot(report, "reconstructions", draw_spectrograms(pictures, names=names, title=title))


def utterance_name(speech: SpeechSplits, index: int) -> str:
    """The word and the speaker of an utterance, as far as they are known."""
    of = speech.utterances
    word, speaker = int(of.word[index]), int(of.speaker[index])
    parts = [of.words[word][:20] if word >= 0 else "", of.speakers[speaker] if speaker >= 0 else ""]
    return ", ".join(part for part in parts if part) or f"utterance {index}"
