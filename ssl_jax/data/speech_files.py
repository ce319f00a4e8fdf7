"""Folders of wav and flac files, and tables that name such files, as utterances at one rate.

Files are decoded once, mixed to one channel by their mean, resampled to the rate (`scipy.signal.resample_poly`) and
kept in the folder of caches. Files of phones beside them (`ssl_jax.data.phone_labels`) are read with them.
"""

import hashlib
import re
import struct
from collections import Counter
from collections.abc import Iterator
from math import gcd
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ssl_jax.data.cache import cached, default_cache
from ssl_jax.data.folders import list_files
from ssl_jax.data.phone_labels import BadLabels, label_files, phones_of, read_phones
from ssl_jax.data.tsv import Tsv, is_tsv
from ssl_jax.data.utterances import Recording, Utterances, read_utterances, write_utterances
from ssl_jax.errors import UserError

SUFFIXES = (".wav", ".flac")
Unusable = Literal["stop", "skip"]
_PLACES = re.compile(r"\{(\w*)\}")
_LABELS = ("speaker", "word", "")
_UNKNOWN_SIZE = (0, 0xFFFFFFFF)
"""Of the samples, in the header of a wav file that was written to a pipe."""


class Unsuitable(Exception):
    """A recording cannot be used; the message says why."""


class Named(NamedTuple):
    """A file and its labels, "" where unknown.

    Attributes:
      path: of the recording.
      stem: relative to the folder or the table, without suffix.
      speaker, word: names.
    """

    path: Path
    stem: str
    speaker: str
    word: str


class Reading(NamedTuple):
    """How recordings are read.

    Attributes:
      rate: samples per second that all are brought to.
      shortest: seconds; a shorter recording cannot be used.
      unusable: what to do with a recording that cannot be used: stop with an error, or skip and count it.
    """

    rate: int
    shortest: float
    unusable: Unusable


def open_speech_files(spec: str, labels: str, reading: Reading, alignments: str = "") -> Utterances:
    """Opens a folder or a table.

    Args:
      spec: a folder, in which files are looked for at any depth; or a .tsv file with the columns path (relative to the
        folder of the table), and speaker, word or text where these are known.
      labels: how paths below a folder give labels, such as "{word}_{speaker}_{}" or "{speaker}/{}/{}"; see
        `path_labels`. Empty for none. Not for tables.
      reading: how recordings are read.
      alignments: a folder with files of phones that have the paths of the recordings; empty: they are beside these.

    Raises:
      UserError: there are no such files, or one cannot be used and `reading.unusable` is "stop".
    """
    files = _table(spec) if is_tsv(spec) else _folder(spec, labels)
    phones = _phone_files(spec, files, alignments)
    described = [
        (
            str(file.path),
            file.speaker,
            file.word,
            file.path.stat().st_size,
            *_described(phones.get(file.stem)),
        )
        for file in files
    ]
    key = hashlib.sha256(repr((described, reading, 1)).encode(errors="surrogateescape")).hexdigest()[:32]

    def recordings() -> Iterator[Recording]:
        seen: Counter[str] = Counter()
        for file in files:
            try:
                waveform, rate = read_audio(file.path)
                seen["stereo"] += waveform.shape[1] > 1
                seen[f"{rate} Hz"] += rate != reading.rate
                mono = prepare(waveform, rate, reading)
                known = _phones(phones.get(file.stem), rate, mono, reading.rate)
                yield Recording(mono, file.speaker, file.word, *known)
            except Unsuitable as problem:
                seen["skipped"] += 1
                unusable(repr(str(file.path)), problem, reading)
        _tell(spec, seen, len(files), reading.rate)

    def make(folder: Path) -> None:
        print(f"{spec}: reading {len(files):,} recordings (once)", flush=True)
        write_utterances(folder, recordings(), spec)

    return cached(
        default_cache() / "speech" / key,
        make,
        lambda folder: read_utterances(folder, spec, reading.rate, key),
    )


def path_labels(pattern: str, path: str) -> dict[str, str]:
    """The labels in a path without its suffix.

    Args:
      pattern: text with places "{speaker}", "{word}", and "{}" for what is no label. A place has no slash, and ends
        where the text after it begins. The pattern is that of the end of the path.
      path: relative, with slashes.

    Returns:
      By name; empty if the path does not have the form of the pattern.

    Raises:
      UserError: the pattern names other places.

    Example:
      >>> path_labels("{word}_{speaker}_{}", "digits/0_jackson_3")
      {'word': '0', 'speaker': 'jackson'}
    """
    names = _PLACES.findall(pattern)
    if unknown := [name for name in names if name not in _LABELS or (name and names.count(name) > 1)]:
        raise UserError(
            f"data.labels {pattern!r}: unexpected {{{unknown[0]}}}; expected {{speaker}} and {{word}}, each at most "
            "once, and {} for what is no label, as in '{word}_{speaker}_{}' or '{speaker}/{}/{}'."
        )
    parts = _PLACES.split(pattern)
    expression = "".join(
        re.escape(part) if index % 2 == 0 else f"(?P<{part}>[^/]+?)" if part else "[^/]+?"
        for index, part in enumerate(parts)
    )
    match = re.search(f"(?:^|/){expression}$", path)
    return match.groupdict() if match else {}


def read_audio(path: Path) -> tuple[np.ndarray, int]:
    """Decodes a file: float32 `[samples, channels]`, and its rate.

    Raises:
      Unsuitable: it is empty, truncated or no audio.
      UserError: it cannot be read from the disk.
    """
    import soundfile  # loads a library that text and images do not need

    try:
        with path.open("rb") as file:
            if _missing_bytes(file.read(1 << 16), path.stat().st_size):
                raise Unsuitable("it is truncated: its header promises more samples")
            file.seek(0)
            with soundfile.SoundFile(file) as sound:
                waveform = sound.read(dtype="float32", always_2d=True)
                promised, rate = sound.frames, sound.samplerate
    except OSError as error:
        raise UserError(f"{str(path)!r}: cannot be read ({error.strerror}).") from error
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        raise Unsuitable(f"it is empty or no audio: {' '.join(str(error).split())}") from error
    if len(waveform) < promised:
        raise Unsuitable(f"it is truncated: {len(waveform):,} of {promised:,} samples can be read")
    return waveform, rate


def prepare(waveform: np.ndarray, rate: int, reading: Reading) -> np.ndarray:
    """A recording as it is stored: one channel, at the rate of `reading`, float32 `[samples]`.

    Args:
      waveform: float `[samples, channels]`.
      rate: its own.
      reading: the rate it is brought to, and what is too short.

    Raises:
      Unsuitable: it is too short, silent, or not finite.
    """
    from scipy.signal import resample_poly  # takes a second to import

    if len(waveform) < reading.shortest * rate:
        raise Unsuitable(f"it has {len(waveform) / rate:.3f} seconds, of {reading.shortest:g} at least")
    if not np.isfinite(waveform).all():
        raise Unsuitable("it has samples that are not finite")
    mono = waveform.mean(1)
    if not mono.any():
        raise Unsuitable("it is silent: all samples are 0")
    if rate == reading.rate:
        return mono
    common = gcd(rate, reading.rate)
    return resample_poly(mono, reading.rate // common, rate // common).astype(np.float32)


def unusable(name: str, problem: Unsuitable, reading: Reading) -> None:
    """Raises UserError for a recording that cannot be used, or logs that it is skipped."""
    if reading.unusable == "stop":
        raise UserError(
            f"{name}: cannot be used ({problem}). Remove or replace it, or skip all such recordings with "
            "--data.unusable skip."
        )
    print(f"{name}: skipped ({problem})", flush=True)


def _tell(spec: str, seen: Counter[str], count: int, rate: int) -> None:
    skipped, stereo = seen.pop("skipped", 0), seen.pop("stereo", 0)
    for other, number in sorted(seen.items()):
        if number:
            print(
                f"{spec}: {number:,} of {count:,} recordings resampled from {other} to {rate} Hz", flush=True
            )
    if stereo:
        print(f"{spec}: {stereo:,} recordings of several channels mixed to one, by their mean", flush=True)
    if skipped:
        print(f"{spec}: {skipped:,} of {count:,} recordings skipped", flush=True)


def _phone_files(spec: str, files: list[Named], alignments: str) -> dict[str, Path]:
    """The files of phones by the stems of the recordings."""
    source = Path(spec).expanduser()
    root = Path(alignments).expanduser() if alignments else source.parent if is_tsv(spec) else source
    if alignments and not root.is_dir():
        raise UserError(f"data.alignments {alignments!r}: no such folder.")
    found = label_files(root, [file.stem for file in files])
    if alignments and not found:
        raise UserError(
            f"data.alignments {alignments!r}: no file of phones has the path of a recording; for "
            f"{str(files[0].path)!r} it would be {files[0].stem}.TextGrid, .lab or .phn."
        )
    if 0 < len(found) < len(files):
        print(
            f"{spec}: {len(files) - len(found):,} of {len(files):,} recordings have no file of phones",
            flush=True,
        )
    return found


def _described(file: Path | None) -> tuple[str | int, ...]:
    return () if file is None else (str(file), file.stat().st_size)


def _phones(
    file: Path | None, own_rate: int, waveform: np.ndarray, rate: int
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and ends of the phones of a prepared recording. Raises Unsuitable if their file cannot be used."""
    if file is None:
        return (), ()
    try:
        return phones_of(read_phones(file, own_rate), len(waveform), rate)
    except BadLabels as problem:
        raise Unsuitable(f"{file.name}: {problem}") from problem


def _folder(spec: str, labels: str) -> list[Named]:
    folder = Path(spec).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"data source {spec!r}: no such folder; expected 'synthesised', 'tfds:name[/config][:split]', a folder of "
            "wav or flac files, or a .tsv file that names such files."
        )
    found = list_files(folder, SUFFIXES)
    if not found:
        raise UserError(f"data source {spec!r}: no files below it that end with {' or '.join(SUFFIXES)}.")
    files = []
    for file in found:
        stem = file.path.rpartition(".")[0]
        known = path_labels(labels, stem) if labels else {}
        files.append(Named(folder / file.path, stem, known.get("speaker", ""), known.get("word", "")))
    without = [file for file in files if not (file.speaker or file.word)]
    if labels and len(without) == len(files):
        raise UserError(
            f"data.labels {labels!r}: no path in {spec!r} has this form; the first one is {found[0].path!r}."
        )
    if labels and without:
        print(f"{spec}: {len(without):,} of {len(files):,} paths give no labels by {labels!r}", flush=True)
    return files


def _table(spec: str) -> list[Named]:
    table = Tsv(spec)
    table.column("path")
    root = Path(spec).expanduser().parent
    files = []
    for line, row in zip(table.line_numbers, table, strict=True):
        path = root / row["path"]
        if not path.is_file():
            raise UserError(f"data source {spec!r}, line {line}: no such file {str(path)!r}.")
        stem = row["path"].rpartition(".")[0]
        files.append(Named(path, stem, row.get("speaker", ""), row.get("word", row.get("text", ""))))
    return files


def _missing_bytes(beginning: bytes, size: int) -> bool:
    """Whether a wav file is shorter than its header says; decoders would silently give what there is."""
    if beginning[:4] != b"RIFF" or beginning[8:12] != b"WAVE":
        return False
    place = 12
    while place + 8 <= len(beginning):
        name, length = beginning[place : place + 4], struct.unpack_from("<I", beginning, place + 4)[0]
        if name == b"data":
            return length not in _UNKNOWN_SIZE and place + 8 + length > size
        place += 8 + length + length % 2
    return False
