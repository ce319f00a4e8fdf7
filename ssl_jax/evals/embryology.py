"""What is learnt when: what was found at every checkpoint of every run, as curves of accuracies."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssl_jax.evals.cloze import Cloze, ClozeScore
from ssl_jax.evals.learning_curves import half_step, match_frequencies
from ssl_jax.evals.whole_word_masking import WholeWords
from ssl_jax.evals.word_probes import ProbedWords

KINDS = {
    "predicted": "masked words that are predicted",
    "reconstructed": "words that are reconstructed where nothing is masked",
    "predicted_at_equal_frequency": "masked words that are predicted, at equal word frequency",
    "reconstructed_at_equal_frequency": "words that are reconstructed, at equal word frequency",
}
"""What is measured of each class of words."""
AT_EQUAL_FREQUENCY = "_at_equal_frequency"


class Classed(NamedTuple):
    """Held-out words and their classes.

    Attributes:
      words: which are scored.
      names: `[words]`, class of each.
      counts: int64 `[words]`, how often each is in the training text.
      n_gram: bool `[words]`, whether the n-gram baseline predicts it.
      as_they_are: bool `[words]`, whether a word was chosen whatever its frequency; the others are there for accuracies
        at equal frequency alone.
      sentences: number of sentences that they are in.
    """

    words: WholeWords
    names: np.ndarray
    counts: np.ndarray
    n_gram: np.ndarray
    as_they_are: np.ndarray
    sentences: int


class Found(NamedTuple):
    """What a model has learnt.

    Attributes:
      predicted, reconstructed: bool `[words]`; see `WholeWords`.
      probes: by name, the accuracy of each layer; the first are the embeddings.
      cloze: None without facts.
    """

    predicted: np.ndarray
    reconstructed: np.ndarray
    probes: Mapping[str, Sequence[float]]
    cloze: ClozeScore | None


def class_curves(
    classed: Classed, steps: Sequence[int], found: Mapping[str, Sequence[Found]]
) -> dict[str, Any]:
    """The curves of every class of words.

    Args:
      classed: the words.
      steps: of the checkpoints, ascending.
      found: by run, what was found at these steps.

    Returns:
      `equal_frequency`, the counts of the words between which frequencies were made equal, or None; and `classes`: by
      name `words`, `median_count`, `n_gram`, and for each of `KINDS` that the class has `curves` by run, `half_step`
      by run, and at equal frequency `words` and `n_gram`.
    """
    names = [*dict.fromkeys(classed.names.tolist())]
    of_class = {name: classed.names == name for name in names}
    matching = match_frequencies({name: classed.counts[inside] for name, inside in of_class.items()})
    classes = {}
    for name, inside in of_class.items():
        natural = classed.as_they_are[inside]
        even = natural / natural.sum()
        result = {
            "words": int(natural.sum()),
            "median_count": float(np.median(classed.counts[inside][natural])),
            **{
                kind: _curves(kind, inside, even, int(natural.sum()), classed, steps, found)
                for kind in ("predicted", "reconstructed")
            },
        }
        if matching and name in matching.weights:
            weights, number = matching.weights[name], matching.words(name)
            for kind in ("predicted", "reconstructed"):
                result[kind + AT_EQUAL_FREQUENCY] = _curves(
                    kind, inside, weights, number, classed, steps, found
                )
        classes[name] = result
    equal = {"lowest": matching.lowest, "highest": matching.highest} if matching else None
    return {"equal_frequency": equal, "classes": classes}


def _curves(
    kind: str,
    inside: np.ndarray,
    weights: np.ndarray,
    words: int,
    classed: Classed,
    steps: Sequence[int],
    found: Mapping[str, Sequence[Found]],
) -> dict[str, Any]:
    curves = {
        run: [_share(getattr(at, kind)[inside], weights) for at in of_run] for run, of_run in found.items()
    }
    return {
        "words": words,
        "n_gram": _share(classed.n_gram[inside], weights) if kind == "predicted" else None,
        "curves": curves,
        "half_step": {run: half_step(steps, curve, words) for run, curve in curves.items()},
    }


def _share(right: np.ndarray, weights: np.ndarray) -> float:
    """The weighted share of words that are right, between 0 and 1 whatever the rounding of the weights."""
    return float(np.average(right, weights=weights))


def probe_curves(
    probes: Sequence[ProbedWords],
    found: Mapping[str, Sequence[Found]],
    untrained: Mapping[str, Mapping[str, Sequence[float]]],
) -> dict[str, Any]:
    """Of every probe: its sizes, its baseline, and by run the accuracies `[steps][layers + 1]`.

    Args:
      probes: of the layers.
      found: by run, what was found at all steps.
      untrained: by run and probe, the accuracies of the model as it is initialised.
    """
    return {
        probe.name: {
            "tags": probe.tags,
            "training_words": probe.training,
            "test_words": probe.tests,
            "baseline": probe.baseline,
            "untrained": {run: [*of_run[probe.name]] for run, of_run in untrained.items()},
            "curves": {run: [[*at.probes[probe.name]] for at in of_run] for run, of_run in found.items()},
        }
        for probe in probes
    }


def cloze_curves(cloze: Cloze, found: Mapping[str, Sequence[Found]]) -> dict[str, Any]:
    """How the facts were filled in, by run at all steps."""
    return {
        "texts": cloze.texts,
        "scored": cloze.scored,
        "precision": {run: [at.cloze.precision for at in of_run] for run, of_run in found.items()},
        "mean_reciprocal_rank": {
            run: [at.cloze.mean_reciprocal_rank for at in of_run] for run, of_run in found.items()
        },
    }
