"""What can be done with the model of a run, which its configuration and its experiment tell without any array."""

from typing import Any

from ssl_jax.data.images import ImageConfig
from ssl_jax.data.speech import SpeechConfig
from ssl_jax.runs.text_features import text_model
from ssl_jax.runs.tokenizers import tokenizer_config
from ssl_jax.training.experiment import Experiment


def given_data(config: Any, experiment: Experiment) -> ImageConfig | SpeechConfig | None:
    """What the images or the recordings are like that the model reads; None if it reads none."""
    data = experiment.inference.data or getattr(config, "data", None)
    return data if isinstance(data, ImageConfig | SpeechConfig) else None


def reads_text(config: Any, experiment: Experiment) -> bool:
    """Whether the model reads text that the tokenizer of the run encodes, and not symbols."""
    predictor = experiment.predictor
    return tokenizer_config(config) is not None and (predictor is None or predictor.reads == "text")


def abilities(config: Any, experiment: Experiment) -> tuple[str, ...]:
    """Names of the methods of `ssl_jax.trained_model.TrainedModel` that the model of a run has.

    Args:
      config: of the run.
      experiment: built from it.
    """
    of, decoder = experiment.inference, experiment.decoder
    rows, text = given_data(config, experiment) is not None, reads_text(config, experiment)
    writes = text and decoder is not None
    has = {
        "embed": (rows and experiment.represent) or (text and (of.text or text_model(config))),
        "reconstruct": rows and of.reconstruct,
        "encode": rows and of.encode,
        "decode": rows and of.decode,
        "score": (rows and of.score) or (writes and not decoder.reads_source),
        "generate": writes,
        "predict": experiment.predictor,
    }
    return tuple(name for name, value in has.items() if value)
