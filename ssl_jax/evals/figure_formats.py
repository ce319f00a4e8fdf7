"""In which formats figures are written beside PNG: the one setting of a command that all of its figures follow."""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import Literal

FigureFormat = Literal["pdf", "svg"]

_also: contextvars.ContextVar[tuple[FigureFormat, ...]] = contextvars.ContextVar("also", default=())


@contextlib.contextmanager
def also_as(formats: Sequence[FigureFormat]) -> Iterator[None]:
    """While the block runs, every figure is written in these formats too, beside its PNG file."""
    before = _also.set(tuple(dict.fromkeys(formats)))
    try:
        yield
    finally:
        _also.reset(before)


def also_chosen() -> tuple[FigureFormat, ...]:
    """The formats of the innermost `also_as`."""
    return _also.get()
