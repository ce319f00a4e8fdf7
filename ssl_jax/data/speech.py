"""Opens speech by name: utterances to train on, and held-out utterances of other speakers.

A row holds `data.longest` seconds of one utterance. A longer utterance gives a training row that begins at a random
place, another one in every epoch, and a held-out row that begins at its beginning. A shorter one is followed by zeros;
`samples` says how many samples are true.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import jax
import numpy as np

from ssl_jax.data.speech_files import Reading, Unusable, open_speech_files
from ssl_jax.data.synthetic_speech import NAME, SENTENCES_NAME, open_synthetic_speech
from ssl_jax.data.tfds_speech import open_tfds_speech
from ssl_jax.data.utterances import UNLABELLED, Utterances
from ssl_jax.domains import NonEmptyText, ProperShare, Settings, Text, integers, numbers
from ssl_jax.errors import UserError
from ssl_jax.transforms.speech_features import frames_of, hop_samples, window_samples

_SECONDS = Annotated[float, numbers(0.05, 600)]


@dataclass(frozen=True)
class SpeechConfig(Settings):
    """The source of the utterances, and the rows that hold them."""

    source: NonEmptyText = NAME
    """synthesised (words that are made here, offline), or synthesised_sentences (of four words);
    tfds:name[/config][:split]; a folder of wav or flac files; or a .tsv file with the columns path and, where known,
    speaker and word (or text)."""
    labels: Text = ""
    """How the paths in a folder give labels, such as {word}_{speaker}_{} or {speaker}/{}/{}; empty: they give none."""
    alignments: Text = ""
    """Folder of .TextGrid, .lab or .phn files with the phones of the recordings, under their paths; empty: such files
    are looked for beside the recordings."""
    rate: Annotated[int, integers(4_000, 96_000)] = 8_000
    """Samples per second. Recordings of another rate are resampled."""
    longest: _SECONDS = 1.1
    """Seconds of a row."""
    shortest: _SECONDS = 0.1
    """Seconds; a shorter recording cannot be used."""
    unusable: Unusable = "stop"
    """What to do with a recording that is too short, empty, truncated, silent or not finite. stop: end with an error;
    skip: leave it out, and say so in the log."""
    heldout: Literal["speakers", "words", "both", "utterances"] = "speakers"
    """What is held out: all utterances of some speakers; of some words (with recordings of sentences: of sentences); of
    some speakers, and some words are not trained on by anyone; or some utterances of all speakers."""
    heldout_share: ProperShare = 0.25
    """Share of the speakers, words or utterances that are held out, by a hash of their names or numbers."""
    heldout_speakers: tuple[NonEmptyText, ...] = ()
    """Names of the speakers that are held out, in place of a share of them."""

    @property
    def samples(self) -> int:
        """Of a row."""
        return round(self.longest * self.rate)

    @property
    def frames(self) -> int:
        """Frames of 25 ms, every 10 ms, of a row."""
        return int(frames_of(self.samples, self.rate))

    @property
    def preprocessing(self) -> dict[str, str]:
        """What decides the meaning of the samples, by name: for `training.experiment.Data`."""
        return {"rate": str(self.rate)}

    def check_relations(self) -> None:
        if self.shortest > self.longest:
            raise UserError(f"data.shortest {self.shortest}: expected at most data.longest, {self.longest}.")
        if self.alignments and (self.source in (NAME, SENTENCES_NAME) or self.source.startswith("tfds:")):
            raise UserError(
                f"data.alignments {self.alignments!r}: is for folders and tables of recordings; {self.source} has none."
            )
        if self.heldout_speakers and self.heldout not in ("speakers", "both"):
            raise UserError("data.heldout_speakers: are given, so data.heldout must be speakers or both.")


class SpeechRows:
    """Rows of utterances: `rows(i)`, or with a generator a row from a random place of a longer utterance.

    A row is {"waveform": float32 `[samples]` in [-1, 1), "samples": int32 `[]`}. With labels also {"speaker": int32
    `[]`, "word": int32 `[]`, "phones": int32 `[frames]`}: -1 where unknown; the phone of a frame is that in its middle.

    Args:
      utterances: all of them.
      chosen: int `[rows]`, the utterance of each row.
      config: rate and length.
      labels: whether rows have labels.
    """

    def __init__(
        self, utterances: Utterances, chosen: np.ndarray, config: SpeechConfig, *, labels: bool
    ) -> None:
        self.utterances, self.chosen, self._labels = utterances, chosen, labels
        self._samples, frames = config.samples, np.arange(config.frames)
        self._middles = frames * hop_samples(config.rate) + window_samples(config.rate) // 2

    def __len__(self) -> int:
        return len(self.chosen)

    def __call__(self, row: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """The row; see the class."""
        index = int(self.chosen[row])
        spare = int(self.utterances.lengths[index]) - self._samples
        start = int(rng.integers(spare + 1)) if rng is not None and spare > 0 else 0
        found = self.utterances.waveform(index, start, self._samples)
        waveform = np.zeros(self._samples, np.float32)
        waveform[: len(found)] = found
        result = {"waveform": waveform, "samples": np.int32(len(found))}
        if self._labels:
            phones = self.utterances.phones_at(index, start + self._middles)
            result |= {
                "speaker": np.int32(self.utterances.speaker[index]),
                "word": np.int32(self.utterances.word[index]),
                "phones": np.where(self._middles < len(found), phones, UNLABELLED).astype(np.int32),
            }
        return result


class SpeechSplits(NamedTuple):
    """Opened speech.

    Attributes:
      train: rows to train on.
      probe: the same utterances with labels, each from its beginning.
      heldout: rows that are never trained on, with labels.
      utterances: all of them.
      identity: what must not change when a run is continued.
    """

    train: SpeechRows
    probe: SpeechRows
    heldout: SpeechRows
    utterances: Utterances
    identity: dict[str, str]


def batch_shapes(
    config: SpeechConfig, batch_size: int, *, speaker: bool = False
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each array of a training batch, of rows that name their speaker or not."""
    shapes = {
        "waveform": jax.ShapeDtypeStruct((batch_size, config.samples), np.float32),
        "samples": jax.ShapeDtypeStruct((batch_size,), np.int32),
    }
    return shapes | ({"speaker": jax.ShapeDtypeStruct((batch_size,), np.int32)} if speaker else {})


def heldout_shapes(config: SpeechConfig, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each array of a batch of rows with labels."""
    return batch_shapes(config, batch_size, speaker=True) | {
        "word": jax.ShapeDtypeStruct((batch_size,), np.int32),
        "phones": jax.ShapeDtypeStruct((batch_size, config.frames), np.int32),
    }


def open_speech(config: SpeechConfig) -> SpeechSplits:
    """Opens the utterances of a configuration, which are decoded or synthesised once.

    Raises:
      UserError: the source is missing, empty or unknown, a recording cannot be used, or nothing is left to train on or
        to hold out.
    """
    utterances = open_utterances(config)
    held, unused = _is_heldout(utterances, config)
    train, heldout = np.flatnonzero(~(held | unused)), np.flatnonzero(held)
    # Their lengths and labels decide what a row is.
    chosen = held.tobytes() + (unused.tobytes() if unused.any() else b"")
    identity = hashlib.sha256(repr((utterances.fingerprint, config.samples)).encode() + chosen)
    return SpeechSplits(
        train=SpeechRows(utterances, train, config, labels=False),
        probe=SpeechRows(utterances, train, config, labels=True),
        heldout=SpeechRows(utterances, heldout, config, labels=True),
        utterances=utterances,
        identity={"speech": identity.hexdigest()},
    )


def open_utterances(config: SpeechConfig) -> Utterances:
    """All utterances of the source of a configuration."""
    reading = Reading(config.rate, config.shortest, config.unusable)
    if config.source in (NAME, SENTENCES_NAME):
        return open_synthetic_speech(config.rate, sentences=config.source == SENTENCES_NAME)
    if config.source.startswith("tfds:"):
        return open_tfds_speech(config.source.removeprefix("tfds:"), reading)
    return open_speech_files(config.source, config.labels, reading, config.alignments)


def _is_heldout(utterances: Utterances, config: SpeechConfig) -> tuple[np.ndarray, np.ndarray]:
    """Which utterances are held out, and which others are not trained on either; bool `[utterances]` both."""
    none = np.zeros(len(utterances), bool)
    if config.heldout == "utterances":
        numbers = [str(index) for index in range(len(utterances))]
        return _share(numbers, config.heldout_share, utterances.name), none
    speakers = none if config.heldout == "words" else _of_heldout_speakers(utterances, config)
    if config.heldout == "speakers":
        return speakers, none
    if len(utterances.words) < 2:
        raise UserError(
            f"data source {utterances.name!r}: {len(utterances.words)} word(s) known, of which some must be held out "
            "and some trained on. Give --data.labels (or a table) that names the words, or hold out speakers with "
            "--data.heldout speakers."
        )
    chosen = _share(utterances.words, config.heldout_share, utterances.name)
    words = np.append(chosen, False)[utterances.word]  # the last entry is that of unknown words, -1
    return (words, none) if config.heldout == "words" else (speakers, words & ~speakers)


def _of_heldout_speakers(utterances: Utterances, config: SpeechConfig) -> np.ndarray:
    """Which utterances are of held-out speakers, bool `[utterances]`."""
    names = utterances.speakers
    if unknown := [name for name in config.heldout_speakers if name not in names]:
        raise UserError(
            f"data.heldout_speakers {unknown[0]!r}: no such speaker in {utterances.name}; it has "
            f"{', '.join(names[:10]) or 'none that is known'}{', ...' if len(names) > 10 else ''}."
        )
    if len(names) < 2 or len(set(config.heldout_speakers)) == len(names):
        raise UserError(
            f"data source {utterances.name!r}: {len(names)} speaker(s) known, of which some must be held out and some "
            "trained on. Give --data.labels (or a table) that names the speakers, hold out fewer of them, or hold out "
            "utterances with --data.heldout utterances."
        )
    if config.heldout_speakers:
        chosen = np.isin(names, config.heldout_speakers)
    else:
        chosen = _share(names, config.heldout_share, utterances.name)
    return np.append(chosen, False)[utterances.speaker]  # the last entry is that of unknown speakers, -1


def _share(names: tuple[str, ...] | list[str], share: float, source: str) -> np.ndarray:
    """A share of the names, by a hash of each, rounded; at least one and never all."""
    if len(names) < 2:
        raise UserError(f"data source {source!r}: {len(names)} utterance(s); at least 2 are needed.")
    hashes = np.array(
        [
            int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8], "big")
            for name in names
        ],
        np.uint64,
    )
    count = min(max(1, round(share * len(names))), len(names) - 1)
    held = np.zeros(len(names), bool)
    held[np.argsort(hashes, kind="stable")[:count]] = True
    return held
