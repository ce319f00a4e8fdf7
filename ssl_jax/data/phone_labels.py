"""Files that say where the phones of recordings are: Praat's TextGrid, .lab, and TIMIT's .phn."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ssl_jax.data.phones import SILENCE
from ssl_jax.errors import UserError

SUFFIXES = (".textgrid", ".lab", ".phn")
TIER = "phones"
"""Of a TextGrid with several tiers, as forced aligners name it."""
SILENT = ("", "sil", "sp", "pau", "h#", "#")
"""Names of silence in lower case, as recognisers, aligners and synthesisers write it."""
TOLERANCE = 0.025
"""Seconds by which phones may end after their recording, because aligners count in frames."""
_HTK_UNITS = 1e7
"""Of a second, in .lab files with whole numbers."""


class BadLabels(Exception):
    """A file of phones cannot be used; the message says why."""


class Interval(NamedTuple):
    """A phone from `start` to `end`, in seconds."""

    start: float
    end: float
    name: str


def label_files(folder: Path, stems: Iterable[str]) -> dict[str, Path]:
    """The files of phones of recordings, by their stems. Only the folders that recordings are in are looked into.

    Args:
      folder: below which the files are.
      stems: paths of the recordings relative to their own folder, without suffix.

    Raises:
      UserError: a folder cannot be read, or two files are of the same recording.
    """
    wanted, found = set(stems), dict[str, Path]()
    for inside in sorted({stem.rpartition("/")[0] for stem in wanted}):
        prefix = f"{inside}/" if inside else ""
        try:
            files = sorted((folder / inside).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UserError(f"{str(folder / inside)!r}: cannot be read ({error.strerror}).") from error
        for file in files:
            stem = f"{prefix}{file.stem}"
            if file.suffix.lower() not in SUFFIXES or stem not in wanted or not file.is_file():
                continue
            if stem in found:
                raise UserError(
                    f"{str(folder)!r}: {found[stem].name} and {prefix}{file.name} are of one recording; remove one."
                )
            found[stem] = file
    return found


def read_phones(file: Path, own_rate: int) -> list[Interval]:
    """The phones in a file, in order; none is shorter than nothing or begins before the one before it ends.

    - .TextGrid: the intervals of the tier `phones`, or of the only tier of intervals.
    - .lab: `start end phone` a line, in seconds, or in units of 100 ns where all are whole numbers (HTK); or, after a
      line `#`, `end number phone` (Festival, flite).
    - .phn: `start end phone` a line, in samples (TIMIT).

    Args:
      file: the file.
      own_rate: samples per second of the recording as it is on the disk.

    Raises:
      BadLabels: it does not have the form of its suffix.
    """
    try:
        if file.suffix.lower() == ".textgrid":
            intervals = list(_text_grid(file))
        else:
            lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
            units = float(own_rate) if file.suffix.lower() == ".phn" else None
            intervals = list(_lines([line for line in lines if line], units))
    except (OSError, ValueError) as error:  # UnicodeError is a ValueError
        raise BadLabels(f"it cannot be read: {error}") from error
    end = 0.0
    for one in intervals:
        if not end - 1e-6 <= one.start <= one.end:
            raise BadLabels(
                f"its phone {one.name!r} from {one.start:.3f} to {one.end:.3f} s is not after {end:.3f} s"
            )
        end = one.end
    if not intervals:
        raise BadLabels("it has no phones")
    return intervals


def phones_of(
    intervals: Iterable[Interval], samples: int, rate: int
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Phones and the samples at which they end, as `Recording` has them; what lies between phones is silence.

    Args:
      intervals: of the recording.
      samples: its length.
      rate: samples per second.

    Raises:
      BadLabels: the phones end after the recording.
    """
    names: list[str] = []
    ends: list[int] = []
    before = 0
    for one in intervals:
        start, end = round(one.start * rate), round(one.end * rate)
        if end > samples + TOLERANCE * rate:
            raise BadLabels(
                f"its phones end at {one.end:.3f} s, after the recording of {samples / rate:.3f} s"
            )
        start, end = min(start, samples), min(end, samples)
        if start > before:
            names.append(SILENCE)
            ends.append(start)
        if end > start:
            names.append(SILENCE if one.name.lower() in SILENT else one.name)
            ends.append(end)
        before = max(before, end)
    return tuple(names), tuple(ends)


def _text_grid(file: Path) -> Iterator[Interval]:
    from praatio import textgrid  # used where there are such files alone
    from praatio.data_classes.interval_tier import IntervalTier
    from praatio.utilities.errors import PraatioException

    try:
        grid = textgrid.openTextgrid(str(file), includeEmptyIntervals=True, reportingMode="silence")
    except (PraatioException, LookupError, TypeError) as error:
        raise BadLabels(f"it is no TextGrid: {error}") from error
    tiers = {tier.name: tier for tier in grid.tiers if isinstance(tier, IntervalTier)}
    names = [name for name in tiers if name.lower() == TIER] or [*tiers]
    if len(names) != 1:
        raise BadLabels(
            f"its tiers of intervals are {', '.join(tiers) or 'none'}; expected one that is named {TIER}"
        )
    for entry in tiers[names[0]].entries:
        yield Interval(float(entry.start), float(entry.end), entry.label.strip())


def _lines(lines: list[list[str]], units: float | None) -> Iterator[Interval]:
    """The phones of `start end phone` a line, or of Festival's form; units of a second, None to find them."""
    if ["#"] in lines:
        before = 0.0
        for end, _, *name in lines[lines.index(["#"]) + 1 :]:
            yield Interval(before, float(end), "".join(name))
            before = float(end)
        return
    if units is None:
        whole = all(number.isdigit() for line in lines for number in line[:2])
        units = _HTK_UNITS if whole else 1.0
    for start, end, *name in lines:
        yield Interval(float(start) / units, float(end) / units, " ".join(name[:1]))
