"""A compiled TPU program as text: its instructions, how often each runs in a step, and what the compiler thinks of it.

`jax.stages.Compiled.as_text()` is a list of computations of one instruction a line. Loops over layers and micro-batches
are `while` instructions: their bodies are in the text once, and run once per iteration.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

_COMPUTATION = re.compile(r"^(ENTRY )?%?([^\s(]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([^\s=]+) = (.*?) ([a-z][\w-]*)\((.*)$")
_CALLED = re.compile(r"\b(condition|body|to_apply|calls|true_computation|false_computation)=%?([\w.-]+)")
_NO_ESTIMATE = 2**63 - 1
"""What the compiler states for a few instructions whose cycles it does not know."""
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_ARRAY = re.compile(r"\b([a-z]+\d*(?:e\d+m\d+\w*)?)\[([\d,]*)\](\{[^{}]*\})?")
_NO_DATA = {"parameter", "get-tuple-element", "tuple", "constant", "bitcast", "after-all", "partition-id"}
_SLICES = {"dynamic-slice", "gather", "slice"}


class Instruction(NamedTuple):
    """One line of a program.

    Attributes:
      name: of its result.
      result: shape of its result, with layout.
      opcode: such as "fusion".
      rest: operands and attributes.
      root: whether its result is that of its computation.
      times: how often it runs in a step.
    """

    name: str
    result: str
    opcode: str
    rest: str
    root: bool
    times: int

    @property
    def operands(self) -> list[str]:
        """Names of the operands."""
        return re.findall(r"%([\w.-]+)", self.rest[: _closing(self.rest)])

    @property
    def cycles(self) -> int:
        """Cycles that the compiler estimates for running it once; 0 if it estimates none."""
        found = re.search(r'"estimated_cycles":"(\d+)"', self.rest)
        cycles = int(found[1]) if found else 0
        return cycles if cycles < _NO_ESTIMATE else 0

    def called(self) -> dict[str, str]:
        """Names of the computations that it calls, by role."""
        called = dict(_CALLED.findall(self.rest))
        if branches := _BRANCHES.search(self.rest):
            called |= {f"branch_{i}": name.strip(" %") for i, name in enumerate(branches[1].split(","))}
        return called


class Program(NamedTuple):
    """A compiled program.

    Attributes:
      computations: instructions by computation and name, each as if it ran once.
      entry: name of the computation that is run.
    """

    computations: Mapping[str, Mapping[str, Instruction]]
    entry: str

    def scheduled(self) -> Iterator[tuple[Mapping[str, Instruction], Instruction]]:
        """(its computation, instruction) of all that run one after the other, with the times they run in a step."""
        yield from self._scheduled(self.entry, 1)

    def _scheduled(self, name: str, times: int) -> Iterator[tuple[Mapping[str, Instruction], Instruction]]:
        computation = self.computations[name]
        for instruction in computation.values():
            yield computation, instruction._replace(times=times)
            called = instruction.called()
            if instruction.opcode == "while":
                iterations = self.iterations(instruction)
                yield from self._scheduled(called["body"], times * iterations)
            elif instruction.opcode in ("call", "conditional", "async-start"):
                for inner in called.values():
                    yield from self._scheduled(inner, times)

    def iterations(self, loop: Instruction) -> int:
        """Iterations of a loop that counts up to a constant; 1 if it does not."""
        if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest):
            return int(known[1])
        condition, body = (self.computations[loop.called()[role]] for role in ("condition", "body"))
        end = max((_integer(x) or 0 for x in condition.values()), default=0)
        compare = next((x for x in condition.values() if x.opcode == "compare"), None)
        counter = condition.get(compare.operands[0]) if compare else None
        place = re.search(r"index=(\d+)", counter.rest) if counter else None
        if not place:
            return max(end, 1)
        return max(math.ceil(end / self._step(body, int(place[1]))), 1)

    def _step(self, body: Mapping[str, Instruction], place: int) -> int:
        """What a loop's body adds to the counter at a place of its carry: 1 if that is not known.

        It is 2 where the compiler has unrolled two iterations of a product whose parts travel around a ring.
        """
        root = next(x for x in body.values() if x.root)
        following = body.get(root.operands[place]) if root.opcode == "tuple" else None
        if following is None or following.opcode != "add":
            return 1
        added = [_integer(body[name]) for name in following.operands if name in body]
        return next(filter(None, added), 1)

    def fused(self, instruction: Instruction) -> Mapping[str, Instruction]:
        """Instructions of the computation that a fusion calls."""
        return self.computations.get(instruction.called().get("calls", ""), {})


def parse_program(text: str) -> Program:
    """The program of `Compiled.as_text()`."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif current is not None and (found := _INSTRUCTION.match(line)):
            root, name, *parts = found.groups()
            current[name] = Instruction(name, *parts, root=bool(root), times=1)
    return Program(computations, entry)


def _integer(instruction: Instruction) -> int | None:
    """The value of a constant that is one integer; the compiler may hold it as an array of one: `{2}`."""
    if instruction.opcode != "constant" or not re.match(r"[su]32\[1?\]", instruction.result):
        return None
    return int(instruction.rest.split(")")[0].strip("{}"))


def array_bytes(shape: str, memory: bool = False) -> int:
    """Bytes of all arrays in a shape such as "(f32[8,128], u8[4])".

    Args:
      shape: with or without layouts.
      memory: leaves out arrays that are not in HBM: their layout names another memory space, as S(1).
    """
    total = 0
    for kind, sizes, layout in _ARRAY.findall(shape):
        if memory and "S(" in layout:
            continue
        bits = 8 if kind == "pred" else int((re.search(r"\d+", kind) or ["0"])[0])
        total += math.prod(int(n) for n in sizes.split(",") if n) * bits // 8
    return total


def memory_traffic(program: Program) -> int:
    """Bytes that a step reads from HBM and writes to it: what each instruction reads and writes there.

    A slice of a larger array counts, not the array, also if it is read or replaced within a fusion.
    """
    return sum(
        instruction.times * _traffic(program, computation, instruction)
        for computation, instruction in program.scheduled()
        if instruction.opcode not in _NO_DATA | {"while", "conditional", "call"}
        and 'custom_call_target="ConcatBitcast"' not in instruction.rest
        and not instruction.opcode.endswith("-done")
    )


def _traffic(program: Program, computation: Mapping[str, Instruction], instruction: Instruction) -> int:
    operands = [computation[name] for name in dict.fromkeys(instruction.operands) if name in computation]
    if instruction.opcode in ("copy-start", "slice-start"):  # their results name the source once more
        source, both = operands[0].result, instruction.result
        moved = array_bytes(both) - array_bytes(source)
        arrives = array_bytes(both, memory=True) > array_bytes(source, memory=True)
        return moved * (bool(array_bytes(source, memory=True)) + arrives)
    in_memory = [operand for operand in operands if array_bytes(operand.result, memory=True)]
    read = sum(_read(program, [instruction], operand) for operand in in_memory)
    return read + _written(program, computation, instruction)


def _read(program: Program, users: Collection[Instruction], array: Instruction) -> int:
    """Bytes of an array that are read, among instructions of its own computation, by those that use it."""
    read = 0
    for user in users:
        places = [place for place, name in enumerate(user.operands) if name == array.name]
        if not places:
            continue
        first = places == [0]
        if user.opcode == "fusion":
            inside = program.fused(user)
            inputs = {x.rest.split(")")[0]: x for x in inside.values() if x.opcode == "parameter"}
            read += sum(_read(program, inside.values(), inputs[str(place)]) for place in places)
        elif user.opcode in _SLICES and first:
            read += array_bytes(user.result)
        elif user.opcode == "bitcast":
            read += _read(program, users, user)
        elif not (user.opcode == "dynamic-update-slice" and first):  # the array is changed in place
            return array_bytes(array.result)
    return min(read, array_bytes(array.result))


def _written(program: Program, computation: Mapping[str, Instruction], result: Instruction) -> int:
    """Bytes of an instruction's result that are written to HBM."""
    if not array_bytes(result.result, memory=True):
        return 0
    operands = [computation[name] for name in result.operands if name in computation]
    if result.opcode == "fusion":
        inside = program.fused(result)
        return sum(_written(program, inside, x) for x in inside.values() if x.root)
    if result.opcode == "tuple":
        return sum(_written(program, computation, each) for each in operands)
    if result.opcode == "bitcast":
        return _written(program, computation, operands[0])
    if result.opcode == "dynamic-update-slice":
        return array_bytes(operands[1].result)
    return array_bytes(result.result, memory=True)


def _closing(text: str) -> int:
    """Where the parenthesis ends in which the text begins."""
    depth = 1
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return place
    return len(text)
