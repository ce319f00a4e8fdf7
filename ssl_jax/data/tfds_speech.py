"""TFDS data sets of speech: the field `audio` or `speech`, with speaker, word or text where there are any."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ssl_jax.data.cache import cached, default_cache
from ssl_jax.data.speech_files import Reading, Unsuitable, prepare, unusable
from ssl_jax.data.tfds_source import TfdsSource
from ssl_jax.data.utterances import Recording, Utterances, read_utterances, write_utterances
from ssl_jax.errors import UserError

AUDIO = ("audio", "speech")
SPEAKER = ("speaker_id", "speaker", "client_id")
WORD = ("label", "text", "sentence")
FULL_SCALE = 32768.0


def open_tfds_speech(spec: str, reading: Reading) -> Utterances:
    """The utterances of a split, `train` unless the spec names another one. They are decoded once and cached.

    Args:
      spec: `name[/config][:split]`.
      reading: how recordings are read.

    Raises:
      UserError: the data set is unknown or not prepared, has no audio, or a recording cannot be used.
    """
    with without_tensorflow():
        try:
            source = TfdsSource(spec)
        except (AttributeError, ImportError) as error:
            raise UserError(
                f"data source 'tfds:{spec}': cannot be opened without TensorFlow ({error}). Data sets that store "
                "encoded files (lazy_decode) need it: take the configuration with decoded audio, or a folder of files."
            ) from error
        fields = source.builder.info.features
    audio, speaker, word = (
        next((name for name in names if name in fields), "") for names in (AUDIO, SPEAKER, WORD)
    )
    if not audio:
        raise UserError(
            f"data source {source.name!r}: expected a field {' or '.join(AUDIO)}; it has {', '.join(fields)}."
        )
    split = source.split or "train"
    records = source.records(split)
    own_rate = getattr(fields[audio], "sample_rate", None) or reading.rate
    key = hashlib.sha256(
        repr((source.fingerprint(split, records), reading, own_rate, 1)).encode()
    ).hexdigest()[:32]

    def recordings() -> Iterator[Recording]:
        skipped = 0
        for index in range(len(records)):
            record = records[index]
            try:
                waveform = _scaled(np.asarray(record[audio]))
                yield Recording(
                    prepare(waveform, own_rate, reading),
                    *(_text(record[name], fields[name]) if name else "" for name in (speaker, word)),
                )
            except Unsuitable as problem:
                skipped += 1
                unusable(f"data source {source.name!r}, record {index} of split {split}", problem, reading)
        if own_rate != reading.rate:
            print(f"{source.name}: resampled from {own_rate} to {reading.rate} Hz", flush=True)
        if skipped:
            print(f"{source.name}: {skipped:,} of {len(records):,} recordings skipped", flush=True)

    def make(folder: Path) -> None:
        print(f"{source.name}: reading {len(records):,} recordings (once)", flush=True)
        write_utterances(folder, recordings(), source.name)

    return cached(
        default_cache() / "speech" / key,
        make,
        lambda folder: read_utterances(folder, source.name, reading.rate, key),
    )


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Within it, features of audio can be made where TensorFlow is not installed.

    When such a feature is made, TFDS looks its dtype up in TensorFlow. Decoded audio is read by NumPy alone, which has
    the same dtype.
    """
    from tensorflow_datasets.core.features import audio_feature

    before = audio_feature.tf
    audio_feature.tf = SimpleNamespace(dtypes=SimpleNamespace(as_dtype=np.dtype))
    try:
        yield
    finally:
        audio_feature.tf = before


def _scaled(audio: np.ndarray) -> np.ndarray:
    """Float32 `[samples, channels]`; integers are of 16 bits, as TFDS stores them, whatever their dtype."""
    audio = audio.reshape(len(audio), -1)
    return (audio / FULL_SCALE if np.issubdtype(audio.dtype, np.integer) else audio).astype(np.float32)


def _text(value: object, feature: object) -> str:
    """A label as text: the name of a class, or the text itself."""
    if hasattr(feature, "int2str") and getattr(feature, "num_classes", None):
        return feature.int2str(int(value)) if int(value) >= 0 else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
