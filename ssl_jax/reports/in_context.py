"""What a run that learns in context shows at its end: accuracy by number of examples, beside an ideal learner's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import grain
import jax
import jax.numpy as jnp

from ssl_jax.evals.in_context import Point, accuracy_by_shots, draw_points
from ssl_jax.method import Batch, Extras, Represent, Tree
from ssl_jax.methods.in_context import SHOTS
from ssl_jax.reports.files import save_json, save_plot
from ssl_jax.training.experiment import Report


def report_in_context(
    report: Report,
    correct: Represent,
    families: Sequence[str],
    *,
    test: grain.MapDataset,
    train: grain.MapDataset,
) -> None:
    """Prints tables of the accuracy on test functions, and writes in_context.json and plots/in_context.png.

    Args:
      report: of the run.
      correct: `[batch, pairs]`, whether the model is right of each answer; see `InContext`.
      families: names, in the order of the labels.
      test: sequences, as `FunctionSequences.with_ideal` makes them, of functions that neither training nor the choice
        of settings has seen.
      train: likewise, new sequences of functions of the training.
    """

    def examine(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
        right = correct(params, extras, batch).astype(jnp.float32)
        return {"right": right, **{name: batch[name] for name in ("label", "shown", "ideal", "function")}}

    points = {
        split: accuracy_by_shots(families, **report.map(examine, dataset))
        for split, dataset in (("test", test), ("train", train))
    }
    report.log("\naccuracy on functions that neither training nor the choice of settings has seen:")
    log_points(points["test"], points["train"], SHOTS, report.log)
    report.log("")
    save_json(report, "in_context", {split: [asdict(p) for p in found] for split, found in points.items()})
    save_plot(
        report, "in_context", draw_points(points["test"], title="accuracy on functions never trained on")
    )


def log_points(
    points: Sequence[Point], trained: Sequence[Point], shots: Sequence[int], log: Callable[[str], None]
) -> None:
    """Prints a table for each curve.

    Args:
      points: on functions that were never trained on.
      trained: on new sequences of functions of the training.
      shots: numbers of examples to print, of those that a curve has.
      log: prints a line.
    """
    on_trained = {(point.curve, point.shots): point for point in trained}
    for curve in dict.fromkeys(point.curve for point in points):
        own = [point for point in points if point.curve == curve and point.shots in shots]
        others = [on_trained.get((curve, point.shots)) for point in own]
        rows: Mapping[str, list[str]] = {
            "examples": [f"{point.shots}" for point in own],
            "model": [f"{point.accuracy:.1%}" for point in own],
            "standard error": [f"{point.error:.1%}" for point in own],
            "ideal learner": [f"{point.ideal:.1%}" for point in own],
            "model, training f": [f"{point.accuracy:.1%}" if point else "-" for point in others],
            "ideal, training f": [f"{point.ideal:.1%}" if point else "-" for point in others],
        }
        log(f"\n{curve} (chance {own[0].chance:.1%})")
        for name, cells in rows.items():
            log(f"  {name:<18}" + "".join(f"{cell:>9}" for cell in cells))
