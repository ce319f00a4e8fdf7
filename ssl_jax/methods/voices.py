"""What methods of voice conversion have in common: features and back, and what a report and a command ask of them.

The features are log-mel spectra, globally normalised. A batch to convert has the arrays of
`ssl_jax.data.speech.batch_shapes` and `target`, int32 `[batch]`, the target speaker among those of the data;
`reference`, float32 `[batch, samples]`, an utterance of the target speaker; and `reference_samples`, int32 `[batch]`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax

from ssl_jax.errors import UserError
from ssl_jax.method import Batch, Extras, Method, Tree
from ssl_jax.transforms.speech_features import FeatureConfig


class Codes(NamedTuple):
    """What an utterance becomes.

    Attributes:
      content: `[batch, frames, width]`, the codes of what is said, without noise.
      true: bool `[batch, frames]`, the frames of `content` that are true.
      speaker: `[batch, width]`, the codes of who says it; None where the method is told the speaker.
    """

    content: jax.Array
    true: jax.Array
    speaker: jax.Array | None


@dataclass(frozen=True)
class Voices:
    """A method that converts voices.

    Attributes:
      method: what is trained.
      features: of the frames.
      rate: samples per second.
      voice: what the target voice is given by: an utterance, of any speaker; or the number of a speaker of the data.
      codes: `(params, extras, batch) -> Codes`.
      convert: `(params, extras, batch) -> [batch, frames, mels]`, the utterances of a batch in the target voices, as
        logarithms of mel energies; see the module for the batch. Frames that are not true have no meaning.
    """

    method: Method
    features: FeatureConfig
    rate: int
    voice: Literal["utterance", "speaker"]
    codes: Callable[[Tree, Extras, Batch], Codes]
    convert: Callable[[Tree, Extras, Batch], jax.Array]


def check_features(config: FeatureConfig) -> None:
    """Raises UserError unless the features can be turned back into speech."""
    if config.kind != "log_mel" or config.deltas or config.normalise != "global":
        raise UserError(
            "features: converted speech is made of log-mel energies; expected --features.kind log_mel, "
            "--features.deltas 0 and --features.normalise global."
        )


def reference_of(batch: Batch) -> dict[str, jax.Array]:
    """The utterances of the target speakers as a batch."""
    return {"waveform": batch["reference"], "samples": batch["reference_samples"]}
