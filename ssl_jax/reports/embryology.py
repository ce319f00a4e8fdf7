"""Tables of what is learnt when: accuracies at some steps, and the step at which half of the last one is reached."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ssl_jax.evals.embryology import AT_EQUAL_FREQUENCY, KINDS
from ssl_jax.evals.learning_curves import log_spaced
from ssl_jax.reports.tables import aligned

SHOWN_STEPS = 6
"""Columns of the tables."""


def embryology_lines(values: Mapping[str, Any]) -> list[str]:
    """The tables of all that was measured; medians of the runs where there are several.

    Args:
      values: what embryology.json holds.
    """
    steps, seeds = values["steps"], len(values["runs"])
    shown = log_spaced(steps, SHOWN_STEPS)
    columns = [steps.index(step) for step in shown]
    title = f"in %, by step{f' (medians of {seeds} runs)' if seeds > 1 else ''}"
    header = [f"{step:,}" for step in shown]
    lines = []
    for kind, name in KINDS.items():
        equal = values["equal_frequency"]
        if AT_EQUAL_FREQUENCY in kind:
            if equal is None:
                continue
            name += (
                f" (words that are {equal['lowest']:,} to {equal['highest']:,} times in the training text)"
            )
        lines += [f"{name}, {title}:", *_class_table(values["classes"], kind, columns, header), ""]
    for name, probe in values["probes"].items():
        sizes = f"{probe['tags']} tags, {probe['test_words']:,} test words"
        rows = [
            [
                f"layer {layer}" if layer else "embeddings",
                _percent(_median([of[layer] for of in probe["untrained"].values()])),
                *(
                    _percent(_median([curve[i][layer] for curve in probe["curves"].values()]))
                    for i in columns
                ),
            ]
            for layer in range(len(next(iter(probe["curves"].values()))[0]))
        ]
        lines += [
            f"linear probe of {name} ({sizes}), {title}:",
            *aligned([["", "untrained", *header], *rows]),
        ]
        lines += [f"  the most frequent tag of each word: {_percent(probe['baseline'])}", ""]
    if cloze := values["cloze"]:
        rows = [
            [label, *(_percent(_median([curve[i] for curve in cloze[key].values()])) for i in columns)]
            for label, key in (("P@1", "precision"), ("100 x MRR", "mean_reciprocal_rank"))
        ]
        head = f"facts filled in ({cloze['scored']} of {cloze['texts']} have an answer of one piece)"
        lines += [f"{head}, {title}:", *aligned([["", *header], *rows]), ""]
    lines += _downstream(values["downstream"], seeds)
    return [*lines, *_order(values["classes"])]


def _class_table(
    classes: Mapping[str, Any], kind: str, columns: Sequence[int], header: Sequence[str]
) -> list[str]:
    rows = []
    for name, of_class in classes.items():
        if kind in of_class:
            one = of_class[kind]
            rows.append(
                [
                    name,
                    f"{one['words']:,}",
                    "" if one["n_gram"] is None else _percent(one["n_gram"]),
                    *(_percent(_median([curve[i] for curve in one["curves"].values()])) for i in columns),
                ]
            )
    return aligned([["", "words", "n-grams", *header], *rows])


def _downstream(downstream: Mapping[str, Any], seeds: int) -> list[str]:
    if not downstream:
        return []
    header = [f"{step:,}" for step in downstream["steps"]]
    rows = [
        [name, *(_percent(_median(at)) for at in zip(*by_run.values(), strict=True))]
        for task, metrics in downstream["tasks"].items()
        for name, by_run in ((f"{task} {metric.replace('_', ' ')}", of) for metric, of in metrics.items())
    ]
    title = f"fine-tuned from each checkpoint for {downstream['fine_tuning_steps']:,} steps, in % on held-out examples"
    return [
        f"{title}{f' (medians of {seeds} runs)' if seeds > 1 else ''}:",
        *aligned([["", *header], *rows]),
        "",
    ]


def _order(classes: Mapping[str, Any]) -> list[str]:
    """Which class is learnt first."""
    known = [step for step in (_half(of["predicted"]) for of in classes.values()) if step is not None]
    rows = [
        [
            name,
            *(_range(of[kind]["half_step"].values()) if kind in of else "-" for kind in KINDS),
            f"{of['median_count']:,.0f}",
        ]
        for name, of in sorted(
            classes.items(), key=lambda pair: _half(pair[1]["predicted"]) or max(known, default=0) + 1
        )
    ]
    titles = ["predicted", "reconstructed", "predicted, equal", "reconstructed, equal"]
    return [
        "step at which half of the last accuracy is reached, median (lowest to highest) of the runs; the last two at "
        "equal word frequency; - where too few words are right:",
        *aligned([["", *titles, "median frequency"], *rows]),
    ]


def _half(of_kind: Mapping[str, Any]) -> float | None:
    return _median([*of_kind["half_step"].values()])


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _range(values: Sequence[float | None]) -> str:
    known = sorted(value for value in values if value is not None)
    if len(known) < 2:
        return f"{known[0]:,.0f}" if known else "-"
    return f"{statistics.median(known):,.0f} ({known[0]:,.0f} to {known[-1]:,.0f})"
