"""What fine-tuned models predict of texts, for the command and for the Python API."""

from collections.abc import Mapping, Sequence
from typing import Any

from ssl_jax.errors import UserError
from ssl_jax.method import Tree
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.training.experiment import Predictor
from ssl_jax.training.mapping import map_examples


def check_predictor(run: OpenedRun) -> Predictor:
    """How the model of a run is applied to text.

    Raises:
      UserError: the run is not of fine-tuning.
    """
    if run.experiment.predictor is None:
        raise UserError(
            f"{run.folder}: the model of {run.settings['experiment']} is not fine-tuned; expected a run of "
            "experiments.sequence_classification, pair_classification, token_classification or question_answering."
        )
    return run.experiment.predictor


def predict_texts(
    run: OpenedRun, variables: Mapping[str, Tree], texts: Sequence[str], batch_size: int | None = None
) -> list[dict[str, Any]]:
    """What a fine-tuned model predicts of each text.

    Args:
      run: of fine-tuning.
      variables: of the model, `{"params": ..., **extras}`.
      texts: at least one.
      batch_size: texts that are computed at once; None for that of the run.

    Returns:
      For each text a dictionary with `text` and, by the kind of the task: `label`, `probability` and `probabilities` by
      label; `score`; `words` and `tags`; or `answer` ("" for none) and its `start` in the text with the answer.

    Raises:
      UserError: the run is not of fine-tuning, or a text is empty.
    """
    predictor = check_predictor(run)
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise UserError(f"text {number} of {len(texts)} is empty; leave it out.")
    dataset, describe = predictor.prepare(texts, predictor.encoder(run.folder))
    batch_size = run.experiment.train.batch_size if batch_size is None else batch_size
    return describe(
        map_examples(predictor.function, variables, dataset, mesh=run.mesh, batch_size=batch_size)
    )
