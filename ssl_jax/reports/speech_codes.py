"""What experiments with discrete codes of speech show at their end: whether they collapsed, and the units."""

import grain
import numpy as np

from ssl_jax.data.speech import SpeechSplits
from ssl_jax.evals.speech_units import unit_quality
from ssl_jax.method import Represent
from ssl_jax.reports.files import save_json
from ssl_jax.training.experiment import Report

COLLAPSED = 1.5
"""Perplexity of each codebook below which the log warns of a collapse."""


def warn_of_code_collapse(report: Report, groups: int = 1) -> None:
    """Prints a warning where nearly all held-out frames have one code.

    Args:
      report: of a run whose metric `code_perplexity` is summed over `groups` codebooks.
      groups: number of codebooks.
    """
    perplexity = report.metrics["heldout"].get("code_perplexity")
    if perplexity is not None and perplexity < COLLAPSED * groups:
        report.log(
            f"WARNING: collapse: code_perplexity {perplexity:.2f} of the held-out utterances, of {groups} codebooks; "
            "nearly all frames have one code. Take an earlier checkpoint, or train with a smaller learning rate or a "
            "larger weight of the diversity loss."
        )


def report_units(report: Report, units_of: Represent, *, stride: int, utterances: int) -> None:
    """Logs how well units of held-out frames agree with phones, where these are known, and writes units.json.

    Args:
      report: of the run.
      units_of: `(params, extras, batch) -> int32 [batch, frames]`, -1 where there is no frame.
      stride: frames of 10 ms that a unit stands for.
      utterances: at most so many.
    """
    speech: SpeechSplits = report.data.details
    if not speech.utterances.phone_names:
        return
    rows = speech.heldout
    chosen = grain.MapDataset.range(min(len(rows), utterances)).map(rows)
    units, phones = report.map(
        lambda params, extras, batch: (units_of(params, extras, batch), batch["phones"][:, ::stride]), chosen
    )
    frames = min(units.shape[1], phones.shape[1])
    units, phones = units[:, :frames].ravel(), phones[:, :frames].ravel()
    there = units >= 0
    quality = unit_quality(units[there], phones[there])
    used = len(np.unique(units[there]))
    report.log(
        f"units of {there.sum():,} held-out frames: {used} in use, PNMI {quality.pnmi:.3f}, "
        f"phone purity {quality.phone_purity:.3f}, unit purity {quality.unit_purity:.3f}"
    )
    save_json(report, "units", {**quality._asdict(), "used": used})
