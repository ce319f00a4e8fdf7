"""The domains of settings: which values a field may have, beside its type.

A configuration or the options of a command are a frozen dataclass that extends `Settings`. The annotations of its
fields are the names below, Literals and other such classes, in tuples and in unions:

    @dataclass(frozen=True)
    class ModelConfig(Settings):
        layers: Layers = 12
        dropout: Fraction = 0.1
        max_predictions: PositiveInt | None = None

Settings made in Python are checked as they are made. Those of a command line or of a file are made `unchecked`, since
a nested configuration does not know its own path; `check_settings` then checks the whole and names the path. The help
of a command shows each domain.
"""

import contextlib
import contextvars
import dataclasses
import functools
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

from tyro.constructors import PrimitiveConstructorSpec

from ssl_jax.errors import UserError


@dataclasses.dataclass(frozen=True, repr=False)
class Domain(PrimitiveConstructorSpec[Any]):
    """The domain of a number or a text. It is also what `tyro` reads the value with.

    Attributes:
      expected: the domain in words, for messages.
      holds: whether a value belongs to it.
    """

    expected: str = ""
    holds: Callable[[Any], bool] = lambda value: True

    def __repr__(self) -> str:
        return self.expected


def integers(least: int, most: int) -> Domain:
    """The integers from `least` to `most`."""
    return Domain(
        nargs=1,
        metavar=f"INT>={least}" if most == LARGEST_INT else f"INT:{least}..{most}",
        instance_from_str=lambda words: int(words[0]),
        is_instance=_is_integer,
        str_from_instance=lambda value: [str(value)],
        expected=f"an integer from {least} to {most:,}",
        holds=lambda value: _is_integer(value) and least <= value <= most,
    )


def numbers(least: float, most: float, *, above: bool = False, below: bool = False) -> Domain:
    """The finite numbers from `least` to `most`, without `least` if `above`, and without `most` if `below`."""
    return Domain(
        nargs=1,
        metavar=f"FLOAT>={least:g}" if most == LARGEST_FLOAT else f"FLOAT:{least:g}..{most:g}",
        instance_from_str=lambda words: float(words[0]),
        is_instance=_is_number,
        str_from_instance=lambda value: [str(value)],
        expected=f"a number x with {least:g} {'<' if above else '<='} x {'<' if below else '<='} {most:g}",
        holds=lambda value: (
            _is_number(value)
            and (least < value if above else least <= value)
            and (value < most if below else value <= most)
        ),
    )


def texts(expected: str, holds: Callable[[str], bool] = lambda value: True) -> Domain:
    """The texts that `holds` is true of, but none with characters that no file or terminal takes."""
    return Domain(
        nargs=1,
        metavar="STR",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
        expected=expected,
        holds=lambda value: isinstance(value, str) and _is_encodable(value) and holds(value),
    )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_integer(value) or isinstance(value, float)


def _is_encodable(text: str) -> bool:
    """Whether it is Unicode without NUL, which ends a path."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


LARGEST_INT = 2**31 - 1
"""JAX counts in int32."""
LARGEST_FLOAT = 1e20
SMALLEST_FLOAT = 1e-20
"""float32 holds the squares of all numbers from here to LARGEST_FLOAT, but for a few bits."""

PositiveInt = Annotated[int, integers(1, LARGEST_INT)]
NonNegativeInt = Annotated[int, integers(0, LARGEST_INT)]
Seed = Annotated[int, integers(0, 2**32 - 1)]
"""What NumPy, grain and JAX all take."""
BatchSize = Annotated[int, integers(1, 2**20)]
Layers = Annotated[int, integers(1, 1_000)]
Width = Annotated[int, integers(1, 2**20)]
"""Units or channels of a layer."""
Heads = Annotated[int, integers(1, 2**12)]
VocabSize = Annotated[int, integers(1, 2**24)]
Length = Annotated[int, integers(1, 2**20)]
"""Tokens of a row."""
Pixels = Annotated[int, integers(1, 4096)]
"""Side of an image."""
CodeSize = Annotated[int, integers(1, 2**16)]
"""Numbers of a code."""
CodebookSize = Annotated[int, integers(2, 2**20)]
Beams = Annotated[int, integers(1, 1_000)]

PositiveFloat = Annotated[float, numbers(SMALLEST_FLOAT, LARGEST_FLOAT)]
NonNegativeFloat = Annotated[float, numbers(0, LARGEST_FLOAT)]
LengthPenalty = Annotated[float, numbers(-100, 100)]
"""Exponent of a text's length, by which its log-likelihood is divided."""
Probability = Annotated[float, numbers(0, 1)]
PositiveShare = Annotated[float, numbers(0, 1, above=True)]
"""A part of a whole: at most all of it, and not nothing."""
ProperShare = Annotated[float, numbers(0, 1, above=True, below=True)]
"""A part of a whole: not nothing and not all of it."""
Fraction = Annotated[float, numbers(0, 1, below=True)]
"""A dropout rate or the decay of an average, where 1 would leave nothing."""
Stddev = Annotated[float, numbers(0, 1_000)]
Temperature = Annotated[float, numbers(1e-6, 1e6)]
"""Of a softmax, whose logits are divided by it."""

Text = Annotated[str, texts("text in Unicode without NUL")]
NonEmptyText = Annotated[
    str, texts("text in Unicode without NUL, not empty", lambda value: value.strip() != "")
]
Pattern = Annotated[str, texts("a regular expression, such as '(bias|scale)$'", _is_pattern)]
Dtype = Literal["float32", "bfloat16"]
"""Of a computation."""

MOST_ELEMENTS = 10_000
"""Of a tuple."""

_deferred: contextvars.ContextVar[bool] = contextvars.ContextVar("deferred", default=False)


class Settings:
    """A configuration or the options of a command: a dataclass whose fields have domains."""

    def __post_init__(self) -> None:
        """Raises UserError if a value is out of its domain or fields do not fit together."""
        if not _deferred.get():
            for name, hint in _hints(type(self)).items():
                _check_value(hint, getattr(self, name), f"{type(self).__name__}.{name}", deep=False)
            self.check_relations()

    def check_relations(self) -> None:
        """Raises UserError if fields, each in its domain, do not fit together."""


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Settings that are made in this block are checked by a later call of `check_settings`."""
    token = _deferred.set(True)
    try:
        yield
    finally:
        _deferred.reset(token)


def check_settings(settings: Any, place: str = "--") -> None:
    """Checks a whole configuration: first every value, then what nested configurations say of their fields together.

    Args:
      settings: a dataclass.
      place: what a path begins with in messages: "--" on a command line.

    Raises:
      UserError: a value is out of its domain, or fields do not fit together.
    """
    _check_value(type(settings), settings, place, deep=True)
    _check_all_relations(settings)


def check_field(kind: type, name: str, value: Any, path: str) -> None:
    """Checks a value for a field of settings that are not made yet.

    Args:
      kind: class of the settings.
      name: of the field.
      value: of the field.
      path: what messages call it.

    Raises:
      UserError: the value is out of the domain of the field.
    """
    _check_value(_hints(kind)[name], value, path, deep=False)


def _check_all_relations(value: Any) -> None:
    if isinstance(value, tuple):
        for element in value:
            _check_all_relations(element)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _check_all_relations(getattr(value, field.name))
        if isinstance(value, Settings):
            value.check_relations()


@functools.cache
def _hints(kind: type) -> Mapping[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _check_value(hint: Any, value: Any, path: str, *, deep: bool) -> None:
    """Raises UserError, which names `path`, if a value does not fit its annotation.

    Nested dataclasses are not entered unless `deep`: they have been checked when they were made.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if deep:
            for name, inner in _hints(type(value)).items():
                _check_value(inner, getattr(value, name), _inner_path(path, name, inner), deep=True)
        return
    if isinstance(value, tuple) and (kinds := _element_hints(hint, len(value))) is not None:
        if len(value) > MOST_ELEMENTS:
            raise UserError(f"{path}: {len(value):,} values; expected at most {MOST_ELEMENTS:,}.")
        for number, (kind, element) in enumerate(zip(kinds, value, strict=True)):
            inner = _inner_path(path, str(number), kind) if dataclasses.is_dataclass(element) else path
            _check_value(kind, element, inner, deep=deep)
    elif not _fits(hint, value):
        raise UserError(f"{path} {value!r:.80}: expected {' or '.join(_expected(hint))}.")


def _inner_path(path: str, name: str, hint: Any) -> str:
    """The path of a field. One without a name of its own on the command line has that of what it is in."""
    marks = typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ()
    if any(getattr(mark, "name", None) == "" for mark in marks):
        return path
    positional = [mark.metavar for mark in marks if not isinstance(mark, Domain) and hasattr(mark, "metavar")]
    if positional:
        return positional[0]
    return f"{path}{name}" if not path or path.endswith(("-", " ", ".")) else f"{path}.{name}"


def _arms(hint: Any) -> list[Any]:
    """The alternatives of an annotation, without marks that are not domains."""
    if typing.get_origin(hint) is Annotated:
        kind, *marks = typing.get_args(hint)
        return next(([mark] for mark in marks if isinstance(mark, Domain)), None) or _arms(kind)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [arm for of in typing.get_args(hint) for arm in _arms(of)]
    return [hint]


def _element_hints(hint: Any, length: int) -> list[Any] | None:
    """The annotations of the elements of a tuple; None if there can be no tuple of this length."""
    for arm in _arms(hint):
        of = typing.get_args(arm)
        if typing.get_origin(arm) is tuple and of[1:] == (...,):
            return [of[0]] * length
        if typing.get_origin(arm) is tuple and len(of) == length:
            return [*of]
    return None


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value, neither a dataclass nor a tuple that is annotated as one, fits its annotation."""
    for arm in _arms(hint):
        if isinstance(arm, Domain):
            fits = arm.holds(value)
        elif typing.get_origin(arm) is Literal:
            fits = any(type(value) is type(choice) and value == choice for choice in typing.get_args(arm))
        else:
            fits = arm is Any or (isinstance(arm, type) and isinstance(value, arm))
        if fits:
            return True
    return False


def _expected(hint: Any) -> Iterator[str]:
    """The alternatives of an annotation in words."""
    for arm in _arms(hint):
        if isinstance(arm, Domain):
            yield arm.expected
        elif typing.get_origin(arm) is Literal:
            yield f"one of {', '.join(map(str, typing.get_args(arm)))}"
        elif typing.get_origin(arm) is tuple:
            of = typing.get_args(arm)
            several = of[1:] == (...,)
            yield f"{'any number of' if several else len(of)} values, each {' or '.join(_expected(of[0]))}"
        else:
            yield {bool: "True or False", type(None): "None"}.get(arm, getattr(arm, "__name__", str(arm)))
