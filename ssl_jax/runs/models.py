"""Trained models opened to be applied: those of run folders, and imported weights."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jax.sharding import Mesh

from ssl_jax.data.images import ImageConfig
from ssl_jax.data.speech import SpeechConfig
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.evals.few_shot import LanguageModel
from ssl_jax.hub.safetensors import WEIGHTS
from ssl_jax.method import Represent, Tree
from ssl_jax.runs.abilities import abilities, given_data, reads_text
from ssl_jax.runs.imported_weights import CONTINUES, WRITES, ImportedWeights, open_weights, tokenizer_of
from ssl_jax.runs.language_models import import_language_model, language_model_of_run
from ssl_jax.runs.opening import OpenedRun, open_run
from ssl_jax.runs.predictions import predict_inputs
from ssl_jax.runs.reference import RunReference
from ssl_jax.runs.text_features import TextEncoder, as_applied, text_model
from ssl_jax.runs.word_vectors import WordVectors
from ssl_jax.training.experiment import Inference
from ssl_jax.training.sharding import MeshConfig, make_mesh

BATCH = 32
"""Examples that imported weights compute at once."""


class OpenedModel(NamedTuple):
    """A model with its weights.

    Attributes:
      name: RUN@STEP, or the folder of the weights.
      kind: the experiment of the run, or the type of the weights.
      config: of the run, or of the imported model.
      abilities: names of the methods of `TrainedModel` that it has; the fields below that these need are not None.
      data: of the run: what its images or its speech are like; None for text.
      tokenizer: of its text; None if it reads none.
      mesh: of the devices that it is on.
      variables: `{"params": ..., **extras}`.
      batch_size: examples that the run computes at once.
      represent: the representation of images or of speech; None for none.
      text: the representation of text; None for none.
      inference: what else it computes.
      language_model: opens the model to write text; None if it writes none.
      window: tokens of a window and tokens between windows, in which the run scores held-out text; None for the
        context.
      predict: `(inputs, batch size) -> results` of a fine-tuned model; None if it is not fine-tuned.
      thresholds: above which a score is that of an anomaly, by score.
      converts: whether `ssl_jax.convert` applies it.
    """

    name: str
    kind: str
    config: Any
    abilities: tuple[str, ...]
    data: ImageConfig | SpeechConfig | None
    tokenizer: Tokenizer | None
    mesh: Mesh
    variables: Mapping[str, Tree]
    batch_size: int = BATCH
    represent: Represent | None = None
    text: TextEncoder | WordVectors | None = None
    inference: Inference = Inference()
    language_model: Callable[[], LanguageModel] | None = None
    window: tuple[int | None, int | None] = (None, None)
    predict: Callable[[Sequence[Any], int], list[dict[str, Any]]] | None = None
    thresholds: Mapping[str, Any] = {}
    converts: bool = False


def open_model(source: str) -> OpenedModel:
    """Opens a model.

    Args:
      source: RUN, RUN@STEP or RUN@best; or a folder of BERT, ALBERT, RoFormer, GPT-2, BART, mBART or T5 weights:
        config.json, model.safetensors and the files of the tokenizer.

    Raises:
      UserError: there is no such folder or checkpoint, the weights are not of such a model, or have no tokenizer.
    """
    reference = RunReference.parse(source)
    if (reference.folder / WEIGHTS).exists() and not (reference.folder / "checkpoints").exists():
        return _of_weights(open_weights(reference.folder))
    return _of_run(open_run(reference))


def _of_run(run: OpenedRun) -> OpenedModel:
    experiment, config = run.experiment, run.config
    variables, inference, has = run.restore(), experiment.inference, abilities(config, experiment)
    tokenizer, text = None, None
    if reads_text(config, experiment):
        tokenizer = (experiment.predictor.encoder if experiment.predictor else tokenizer_of)(run.folder)
    if tokenizer and "embed" in has:
        encoder_of = inference.text or functools.partial(TextEncoder, text_model(config))
        text = encoder_of(variables["params"], tokenizer, run.mesh)
    # The report of the run has set thresholds for the model at its end.
    reported = run.step == experiment.steps and not experiment.train.best_metric
    return OpenedModel(
        name=str(RunReference(run.folder, run.step)),
        kind=run.settings["experiment"],
        config=config,
        abilities=has,
        data=given_data(config, experiment),
        tokenizer=tokenizer,
        mesh=run.mesh,
        variables=variables,
        batch_size=experiment.train.batch_size,
        represent=experiment.represent,
        text=text,
        inference=inference,
        language_model=functools.partial(language_model_of_run, run, variables["params"])
        if "generate" in has
        else None,
        window=(getattr(config, "length", None), getattr(config, "stride", None)),
        predict=experiment.predictor and functools.partial(predict_inputs, run, variables),
        thresholds=inference.thresholds(run.folder) if reported else {},
        converts=experiment.converter is not None,
    )


def _of_weights(weights: ImportedWeights) -> OpenedModel:
    mesh = make_mesh(MeshConfig())
    writes = ("generate",) if weights.family in WRITES else ()
    return OpenedModel(
        name=str(weights.folder),
        kind=f"weights of type {weights.family}",
        config=weights.config,
        abilities=("embed", *(("score",) if weights.family in CONTINUES else ()), *writes),
        data=None,
        tokenizer=weights.tokenizer,
        mesh=mesh,
        variables={"params": weights.params},
        text=TextEncoder(as_applied(weights.config), weights.params, weights.tokenizer, mesh),
        language_model=functools.partial(import_language_model, weights) if writes else None,
    )
