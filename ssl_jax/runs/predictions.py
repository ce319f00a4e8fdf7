"""What fine-tuned models predict of texts and of images, for the command and for the Python API."""

from collections.abc import Mapping, Sequence
from typing import Any

from ssl_jax.errors import UserError
from ssl_jax.method import Tree
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.training.experiment import Predictor
from ssl_jax.training.mapping import map_examples


def check_predictor(run: OpenedRun) -> Predictor:
    """How the model of a run is applied to new inputs.

    Raises:
      UserError: the run is not of fine-tuning.
    """
    if run.experiment.predictor is None:
        raise UserError(
            f"{run.folder}: the model of {run.settings['experiment']} is not fine-tuned; expected a run of "
            "experiments.sequence_classification, pair_classification, token_classification, question_answering, glue, "
            "token_remap or image_classifier."
        )
    return run.experiment.predictor


def predict_inputs(
    run: OpenedRun, variables: Mapping[str, Tree], inputs: Sequence[Any], batch_size: int | None = None
) -> list[dict[str, Any]]:
    """What a fine-tuned model predicts of each input.

    Args:
      run: of fine-tuning.
      variables: of the model, `{"params": ..., **extras}`.
      inputs: at least one: texts; or images, as paths or arrays.
      batch_size: inputs that are computed at once; None for that of the run.

    Returns:
      For each text a dictionary with `text` and, by the kind of the task: `label`, `probability` and `probabilities` by
      label; `score`; `words` and `tags`; or `answer` ("" for none) and its `start` in the text with the answer. For
      each image `file`, unless it is an array, and `label`, `probability` and `probabilities`.

    Raises:
      UserError: the run is not of fine-tuning, a text is empty, or an image cannot be read.
    """
    predictor = check_predictor(run)
    if predictor.reads != "images":
        for number, text in enumerate(inputs, 1):
            if not text.strip():
                raise UserError(f"text {number} of {len(inputs)} is empty; leave it out.")
    dataset, describe = predictor.prepare(inputs, predictor.encoder(run.folder))
    batch_size = run.experiment.train.batch_size if batch_size is None else batch_size
    return describe(
        map_examples(predictor.function, variables, dataset, mesh=run.mesh, batch_size=batch_size)
    )
