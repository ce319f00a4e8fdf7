"""Compiling what a run will run, and how much memory each program needs at its peak."""

import re
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
from jax.extend.core import Jaxpr, jaxprs_in_params

from ssl_jax.errors import UserError
from ssl_jax.method import Tree
from ssl_jax.training.planning.chips import GIB

LARGEST = 5
"""Arrays that are named where a program does not fit."""


class Array(NamedTuple):
    """A large array of a program that does not fit.

    Attributes:
      bytes: per chip as the compiler laid it out, or of all chips together if `whole`.
      shape: with its dtype.
      operation: the name of what computes it.
      whole: whether the size is that of all chips together.
    """

    bytes: int
    shape: str
    operation: str
    whole: bool

    def __str__(self) -> str:
        """In words."""
        where = "over all chips" if self.whole else "per chip"
        return f"{self.bytes / GIB:.2f} GiB {where}: {self.shape} of {self.operation[-100:]}"


class Memory(NamedTuple):
    """Bytes per chip that a program needs at its peak.

    Attributes:
      state: of parameters, optimiser and extras, which are there during the whole run.
      batch: of its inputs.
      working: of all else, such as activations and gradients.
      available: that the chip has; None if it is not known.
      refused: whether the compiler found no way to fit the program into what is available.
      largest: arrays of a program that was refused.
    """

    state: int
    batch: int
    working: int
    available: int | None
    refused: bool = False
    largest: tuple[Array, ...] = ()

    @property
    def total(self) -> int:
        """Bytes per chip at the peak."""
        return self.state + self.batch + self.working

    @property
    def fits(self) -> bool:
        """Whether the chip has that much."""
        return not self.refused and (self.available is None or self.total <= self.available)


class Compiled(NamedTuple):
    """A program, compiled.

    Attributes:
      memory: that it needs.
      program: what was compiled; None if it did not fit.
      seconds: that compiling it took.
    """

    memory: Memory
    program: jax.stages.Compiled | None
    seconds: float


def compile_program(
    lower: Callable[[], jax.stages.Lowered],
    *,
    state: Tree,
    batch: Tree,
    available: int | None,
    jaxpr: Jaxpr | None = None,
) -> Compiled:
    """Compiles a program for chips that need not exist.

    Args:
      lower: returns what is compiled.
      state: abstract arrays that stay in memory, whether the program takes them or not.
      batch: abstract arrays that it takes beside these.
      available: bytes that a program may use of a chip's memory; None if not known.
      jaxpr: the traced program, whose largest arrays are named where the compiler names none.
    """
    started = time.perf_counter()
    kept, inputs = bytes_per_chip(state), bytes_per_chip(batch)
    try:
        program = lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if not str(error).startswith("RESOURCE_EXHAUSTED"):
            raise
        working, told = _refused(str(error), kept + inputs)
        largest = told or (_largest(jaxpr) if jaxpr is not None else ())
        memory = Memory(kept, inputs, working, available, refused=True, largest=largest)
        return Compiled(memory, None, time.perf_counter() - started)
    told = program.memory_analysis()
    working = told.temp_size_in_bytes + told.output_size_in_bytes - told.alias_size_in_bytes
    return Compiled(Memory(kept, inputs, working, available), program, time.perf_counter() - started)


def bytes_per_chip(tree: Tree) -> int:
    """Bytes of abstract arrays with their shardings on one chip."""
    return sum(
        jax.ShapeDtypeStruct(x.sharding.shard_shape(x.shape), x.dtype).size * x.dtype.itemsize
        for x in jax.tree.leaves(tree)
    )


def _refused(message: str, arguments: int) -> tuple[int, tuple[Array, ...]]:
    """(bytes that the program needs beside its arguments, its largest arrays) of the compiler's refusal."""
    if found := re.search(r"required for HLO temporaries \(([\d.]+\w)\)", message):
        return _bytes(found[1]), ()
    if found := re.search(r"Used ([\d.]+\w) of ([\d.]+\w) hbm", message):
        arrays = re.findall(
            r"Size: ([\d.]+\w)\s+(?:Operator: op_name=\"([^\"]*)\"[^\n]*\s+)?Shape: ([^{\s]+)", message
        )
        largest = tuple(Array(_bytes(size), shape, name, False) for size, name, shape in arrays[:LARGEST])
        return _bytes(found[1]) - arguments, largest
    raise UserError(f"the compiler refused the program for lack of memory, and said only: {message:.500}")


def _bytes(text: str) -> int:
    """1.5G -> 1610612736."""
    return int(float(text[:-1]) * 1024 ** "BKMGTPE".index(text[-1]))


def _largest(jaxpr: Jaxpr) -> tuple[Array, ...]:
    """The largest arrays of a traced program, one of each shape. Those of a loop's body are of one iteration."""
    found: dict[str, Array] = {}

    def visit(jaxpr: Jaxpr) -> None:
        for equation in jaxpr.eqns:
            inner = list(jaxprs_in_params(equation.params))
            for each in inner:
                visit(each)
            for result in () if inner else equation.outvars:
                shape = (
                    f"{result.aval.dtype.name}{list(result.aval.shape)}"
                    if hasattr(result.aval, "dtype")
                    else ""
                )
                if shape and shape not in found:
                    size = result.aval.size * result.aval.dtype.itemsize
                    name = f"{equation.source_info.name_stack}/{equation.primitive.name}".lstrip("/")
                    found[shape] = Array(size, shape, name, True)

    visit(jaxpr)
    return tuple(sorted(found.values(), key=lambda array: -array.bytes)[:LARGEST])
