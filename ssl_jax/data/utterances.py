"""Recorded or synthesised utterances at one sampling rate, stored in files that are mapped into memory.

All sources of speech, `ssl_jax.data.synthetic_speech`, `speech_files` and `tfds_speech`, are brought into this form
once: mono, 16 bits, one rate. The files are in the folder of caches (`ssl_jax.data.cache`), 58 MB for an hour of speech
at 8 kHz.
"""

from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from etils import epath

from ssl_jax.data.cache import Damaged
from ssl_jax.data.ragged import offsets_of
from ssl_jax.errors import UserError
from ssl_jax.files import read_json, write_json

UNLABELLED = -1
FULL_SCALE = 32768
"""Of 16 bits; waveforms are in [-1, 1)."""
INTEGERS = ("samples", "speaker", "word", "phones", "phone_counts", "phone_ends")


class Recording(NamedTuple):
    """One utterance.

    Attributes:
      waveform: float `[samples]` in [-1, 1], or int16.
      speaker: name; "" if unknown.
      word: what is said; "" if unknown.
      phones: names of its phones in order; empty if unknown.
      phone_ends: the sample at which each of them ends.
    """

    waveform: np.ndarray
    speaker: str = ""
    word: str = ""
    phones: tuple[str, ...] = ()
    phone_ends: tuple[int, ...] = ()


class Utterances(NamedTuple):
    """Utterances with their labels.

    Attributes:
      name: of the source, in messages.
      rate: samples per second.
      values: int16 `[all samples]`, one utterance after another.
      offsets: int64 `[utterances + 1]`; utterance i is `values[offsets[i] : offsets[i + 1]]`.
      speaker: int32 `[utterances]`, index into `speakers`; -1 if unknown.
      word: int32 `[utterances]`, index into `words`; -1 if unknown.
      phones: int32 `[all phones]`, indices into `phone_names`, one utterance after another.
      phone_offsets: int64 `[utterances + 1]`, as `offsets`, of phones.
      phone_ends: int32 `[all phones]`, the sample of its utterance at which each phone ends.
      speakers, words, phone_names: names of the labels, ordered.
      fingerprint: changes when the utterances may have changed.
    """

    name: str
    rate: int
    values: np.ndarray
    offsets: np.ndarray
    speaker: np.ndarray
    word: np.ndarray
    phones: np.ndarray
    phone_offsets: np.ndarray
    phone_ends: np.ndarray
    speakers: tuple[str, ...]
    words: tuple[str, ...]
    phone_names: tuple[str, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.speaker)

    @property
    def lengths(self) -> np.ndarray:
        """Samples of each utterance, int64 `[utterances]`."""
        return np.diff(self.offsets)

    def waveform(self, index: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """A part of an utterance, float32 in [-1, 1).

        Args:
          index: of the utterance.
          start: first sample.
          samples: of the part, at most; None for all.
        """
        first, end = self.offsets[index] + start, self.offsets[index + 1]
        end = end if samples is None else min(end, first + samples)
        return self.values[first:end].astype(np.float32) / FULL_SCALE

    def phones_at(self, index: int, times: np.ndarray) -> np.ndarray:
        """The phone at each of these samples, int32; -1 after the last phone and where phones are unknown."""
        first, end = self.phone_offsets[index : index + 2]
        if first == end:
            return np.full(len(times), UNLABELLED, np.int32)
        which = np.searchsorted(self.phone_ends[first:end], times, side="right")
        known = np.append(self.phones[first:end], np.int32(UNLABELLED))
        return known[which]


def write_utterances(folder: Path, recordings: Iterable[Recording], source: str) -> None:
    """Writes utterances into a folder, one after another, so that no more than one of them is in memory.

    Args:
      folder: for `ssl_jax.data.cache.cached`.
      recordings: all at one rate.
      source: name of the source, for messages.

    Raises:
      UserError: there are no recordings.
    """
    names: dict[str, dict[str, int]] = {"speakers": {}, "words": {}, "phones": {}}
    found = {name: array("q") for name in INTEGERS}

    def number(kind: str, name: str) -> int:
        return names[kind].setdefault(name, len(names[kind])) if name else UNLABELLED

    with (folder / "values.bin").open("wb") as file:
        for recording in recordings:
            file.write(as_int16(recording.waveform).tobytes())
            found["samples"].append(len(recording.waveform))
            found["speaker"].append(number("speakers", recording.speaker))
            found["word"].append(number("words", recording.word))
            found["phone_counts"].append(len(recording.phones))
            found["phones"].extend(number("phones", phone) for phone in recording.phones)
            found["phone_ends"].extend(recording.phone_ends)
    if not found["samples"]:
        raise UserError(f"data source {source!r}: it has no utterances that can be used.")
    # Labels are numbered in the order of their names, which does not depend on the order of the files.
    order = {kind: sorted(known) for kind, known in names.items()}
    arrays = {name: np.array(values, np.int64) for name, values in found.items()}
    for name, kind in (("speaker", "speakers"), ("word", "words"), ("phones", "phones")):
        place = np.empty(len(names[kind]) + 1, np.int64)
        place[[names[kind][label] for label in order[kind]]] = np.arange(len(order[kind]))
        place[UNLABELLED] = UNLABELLED
        arrays[name] = place[arrays[name]]
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values.astype(np.int32))
    write_json(epath.Path(folder / "names.json"), order)


def read_utterances(folder: Path, name: str, rate: int, fingerprint: str) -> Utterances:
    """Opens utterances that `write_utterances` has written; waveforms are read from the disk when they are used.

    Args:
      folder: where they are.
      name: of the source, in messages.
      rate: samples per second.
      fingerprint: of the source.

    Raises:
      Damaged: a file is not what `write_utterances` writes.
    """
    try:
        known = read_json(epath.Path(folder / "names.json"), dict[str, list[str]])
        arrays = {each: np.load(folder / f"{each}.npy") for each in INTEGERS}
        values = np.memmap(folder / "values.bin", np.int16, "r")
        found = Utterances(
            name=name,
            rate=rate,
            values=values,
            offsets=offsets_of(arrays["samples"]),
            speaker=arrays["speaker"],
            word=arrays["word"],
            phones=arrays["phones"],
            phone_offsets=offsets_of(arrays["phone_counts"]),
            phone_ends=arrays["phone_ends"],
            speakers=tuple(known["speakers"]),
            words=tuple(known["words"]),
            phone_names=tuple(known["phones"]),
            fingerprint=fingerprint,
        )
    except (ValueError, KeyError, FileNotFoundError, UserError) as error:
        raise Damaged(str(error)) from error
    if len(values) != found.offsets[-1]:
        raise Damaged(f"values.bin has {len(values):,} samples; expected {found.offsets[-1]:,}")
    return found


def as_int16(waveform: np.ndarray) -> np.ndarray:
    """A waveform as it is stored: int16, of float values in [-1, 1)."""
    if waveform.dtype == np.int16:
        return waveform
    return np.clip(np.rint(waveform * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
