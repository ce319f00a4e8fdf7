"""A trained model for use from Python, which `ssl_jax.load` opens; docs/using_a_trained_model.md shows how."""

import functools
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np

from ssl_jax.data.given_images import GivenImage, GivenImages
from ssl_jax.data.given_speech import GivenRecording, GivenRecordings
from ssl_jax.data.image_source import Canvas
from ssl_jax.data.images import ImageConfig
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.decoding.sampling import SamplingConfig
from ssl_jax.errors import UserError
from ssl_jax.evals.few_shot import LanguageModel
from ssl_jax.evals.text_likelihood import text_log_likelihoods
from ssl_jax.method import Tree
from ssl_jax.runs.generation import GenerationConfig, generate_texts
from ssl_jax.runs.models import OpenedModel
from ssl_jax.runs.text_features import Pooling
from ssl_jax.training.mapping import MapFunction, batch_of_all_devices, map_examples

Inputs = Sequence[str] | Sequence[GivenImage] | Sequence[GivenRecording] | np.ndarray
"""What the model was trained on: texts; images, as paths or arrays; or recordings, as paths or arrays."""

WITH_ABILITY = {
    "embed": "those on views of images, autoencoders, speech and text",
    "reconstruct": "autoencoder, denoising_autoencoder, discrete_autoencoder, vae, vqvae, vqvae_prior",
    "encode": "discrete_autoencoder, hubert, speech_units, vae, vqvae, vqvae_prior",
    "decode": "discrete_autoencoder, vae, vqvae, vqvae_prior",
    "score": "anomaly_detection, gpt2, vae, vqvae_prior",
    "generate": "bart, gpt2, mass, summarize, t5",
    "predict": "those of fine-tuning, and image_classifier",
}
"""Which experiments have runs with a method, for messages."""


class TrainedModel:
    """A model with its weights, made by `ssl_jax.load`.

    Results are in the order of the inputs. A program is compiled once for each shape: images and recordings have one,
    texts a few lengths. A method that the model does not have raises UserError.

    Args:
      opened: the model.
      batch_size: examples that are computed at once; None for that of the run.
    """

    def __init__(self, opened: OpenedModel, batch_size: int | None = None):
        if batch_size is not None and batch_size < 1:
            raise UserError(f"batch_size {batch_size}: expected at least 1.")
        self._opened = opened
        self._batch_size = batch_of_all_devices(batch_size or opened.batch_size, opened.mesh)

    def __repr__(self) -> str:
        return f"<{self._opened.kind} {self.name}: {', '.join(self.abilities)}>"

    @property
    def name(self) -> str:
        """RUN@STEP, or the folder of the weights."""
        return self._opened.name

    @property
    def config(self) -> Any:
        """The configuration of the run, or of the imported model."""
        return self._opened.config

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer; None if the model does not read text."""
        return self._opened.tokenizer

    @property
    def reads(self) -> str:
        """What the inputs are: "text", "images", "speech", or "" if they cannot be given here."""
        if self._opened.data is not None:
            return "images" if isinstance(self._opened.data, ImageConfig) else "speech"
        return "text" if self._opened.tokenizer or self._opened.predict else ""

    @property
    def abilities(self) -> tuple[str, ...]:
        """Names of the methods that the model has."""
        return self._opened.abilities

    def embed(self, inputs: Inputs, *, pooling: Pooling = "mean") -> np.ndarray:
        """The representation of each input by the frozen model, float32 `[inputs, width]`.

        Images and recordings have the representation that `ssl_jax.linear_eval` probes. A text is the mean of the last
        layer's states of its tokens; what is longer than the model's context is cut off. With CBOW it is the mean of
        the vectors of its words, and 0 if it has no word of the vocabulary.

        Args:
          inputs: see `Inputs`.
          pooling: of texts: the mean of all tokens, or the first or the last token (with CBOW: word).

        Raises:
          UserError: the model has no representation of these inputs, or one of them cannot be read.
        """
        self.check("embed")
        if self._opened.text:
            return self._opened.text.embed(_texts(inputs), pooling, self._batch_size)
        return np.asarray(self._map(self._opened.represent, self._rows(inputs)), np.float32)

    def reconstruct(self, images: Sequence[GivenImage] | np.ndarray) -> np.ndarray:
        """What an autoencoder makes of images, float32 `[images, height, width, channels]` in [0, 1].

        Args:
          images: paths or arrays.

        Raises:
          UserError: the model reconstructs no images, or one of them cannot be read.
        """
        self.check("reconstruct")
        return self._map(self._opened.inference.reconstruct, self._rows(images))

    def encode(self, inputs: Sequence[GivenImage] | Sequence[GivenRecording] | np.ndarray) -> np.ndarray:
        """The code of each image or recording.

        Args:
          inputs: images or recordings, as paths or arrays.

        Returns:
          int32 `[images, rows, columns]` of a quantized autoencoder of images, numbers of another one; of speech, int32
          `[recordings, units]`, -1 after the end of a recording.

        Raises:
          UserError: the model has no codes, or an input cannot be read.
        """
        self.check("encode")
        return self._map(self._opened.inference.encode, self._rows(inputs))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The images of codes, float32 `[images, height, width, channels]` in [0, 1].

        Args:
          codes: as `encode` gives them.

        Raises:
          UserError: the model makes no images of codes.
        """
        self.check("decode")
        rows = [{"code": np.asarray(code)} for code in codes]
        return self._map(self._opened.inference.decode, _some(rows, "code"))

    def score(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Scores of each input, by name, `[inputs]`.

        - A language model: `log_likelihood` in nats, `tokens`, `bytes` and `bits_per_byte` of each text.
        - A variational autoencoder: `elbo` and `importance_weighted_bound`, lower bounds of the log-likelihood of an
          image in nats, and `bits_per_dim`, the latter one in bits for each pixel and channel. What is drawn for an
          image depends on its pixels and the seed of the run alone.
        - A prior over codes: `code_log_likelihood` in nats, the log-likelihood of the code of an image, and
          `bits_per_dim`, of the code and of the 8-bit pixels given the code together.
        - An anomaly detector: scores that are higher for an anomaly, `[images, detectors]` if there are several
          detectors; for a score whose threshold the run has set, `anomalous` says whether it is exceeded.

        Args:
          inputs: see `Inputs`.

        Raises:
          UserError: the model has no scores of these inputs, or one of them cannot be read.
        """
        self.check("score")
        if self._opened.data is None:
            length, stride = self._opened.window
            texts = _texts(inputs)
            return text_log_likelihoods(
                self._language_model, texts, length=length, stride=stride, batch_size=self._batch_size
            )
        scores = dict(self._map(self._opened.inference.score, self._rows(inputs)))
        for name, threshold in self._opened.thresholds.items():
            scores["anomalous"] = scores[name] > threshold
        return scores

    def generate(
        self,
        prompts: str | Sequence[str] = "",
        *,
        samples: int = 1,
        max_new_tokens: int | None = None,
        temperature: float = SamplingConfig.temperature,
        top_k: int = SamplingConfig.top_k,
        top_p: float = SamplingConfig.top_p,
        beams: int = 1,
        length_penalty: float = 1.0,
        seed: int = 0,
    ) -> list[str]:
        """Texts by a language model, as `ssl_jax.generate` writes them; those of a prompt one after another.

        Args:
          prompts: what to continue; an encoder-decoder reads it as a source text, in which [MASK] is what is missing.
          samples: texts for each prompt.
          max_new_tokens: most tokens of a text; None for 128, or as many as there is room for.
          temperature: 0 takes the likeliest token.
          top_k: draws among so many likeliest tokens; 0 for all.
          top_p: draws among the likeliest tokens whose probabilities add up to this share.
          beams: above 1, beam search looks for the likeliest text.
          length_penalty: of beam search.
          seed: decides what is drawn.

        Raises:
          UserError: the model writes no text, a value is out of its range, or a prompt does not fit the model.
        """
        self.check("generate")
        sampling = SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p)
        config = GenerationConfig(samples, max_new_tokens, sampling, beams, length_penalty, seed)
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        return generate_texts(self._language_model, texts, config)

    def predict(self, inputs: Sequence[str] | Sequence[GivenImage] | np.ndarray) -> list[dict[str, Any]]:
        """What a fine-tuned model predicts of each input, as `ssl_jax.predict` gives it.

        Args:
          inputs: texts of the form that `ssl_jax.predict` reads (for pairs, two sentences with a tab between); or
            images, as paths or arrays.

        Returns:
          For each text a dictionary with `text` and, by the kind of the task: `label`, `probability` and
          `probabilities` by label; `score`; `words` and `tags`; or `answer` and its `start`. For each image one with
          `file`, unless it is an array, and `label`, `probability` and `probabilities`.

        Raises:
          UserError: the model is not fine-tuned, a text is empty, or an image cannot be read.
        """
        self.check("predict")
        given = _texts(inputs) if self.reads == "text" else list(_some(inputs, self.reads))
        return self._opened.predict(given, self._batch_size)

    @functools.cached_property
    def _language_model(self) -> LanguageModel:
        return self._opened.language_model()

    def check(self, method: str) -> None:
        """Raises UserError, which says what the model can do and which ones can, if it does not have a method."""
        if method in self.abilities:
            return
        can = f"it can {', '.join(self.abilities)}" if self.abilities else "it takes no inputs of yours"
        instead = " `python -m ssl_jax.convert` converts recordings with it." if self._opened.converts else ""
        if not self.abilities and not instead:
            instead = " What it has learnt is in its report: `python -m ssl_jax.report RUN` shows it."
        raise UserError(
            f"{self.name}: a model of {self._opened.kind} cannot {method}; {can}.{instead} Runs that can {method}: "
            f"{WITH_ABILITY[method]}."
        )

    def _rows(self, inputs: Inputs) -> Sequence[dict[str, np.ndarray]]:
        """The inputs as the data of the run has them."""
        data, inputs = self._opened.data, _some(inputs, self.reads)
        if isinstance(data, ImageConfig):
            return GivenImages(inputs, Canvas(data.canvas, data.channels))
        return GivenRecordings(inputs, data)

    def _map(self, function: MapFunction, rows: Sequence[dict[str, np.ndarray]]) -> Tree:
        return map_examples(
            function,
            self._opened.variables,
            grain.MapDataset.source(rows),
            mesh=self._opened.mesh,
            batch_size=self._batch_size,
        )


def _some(inputs: Any, kind: str) -> Any:
    """The inputs, unless it is a single one or there are none."""
    if isinstance(inputs, str | bytes):
        raise UserError(f"a single {type(inputs).__name__} was given; expected a list of {kind or 'inputs'}.")
    if len(inputs) == 0:
        raise UserError(f"there are no inputs; expected at least one of {kind or 'them'}.")
    return inputs


def _texts(inputs: Any) -> list[str]:
    texts = list(_some(inputs, "text"))
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise UserError(f"input {number} is of type {type(text).__name__}; expected a text (str).")
    return texts
