"""Sequences of `x => f(x)` pairs whose function is drawn anew for each: what in-context learning is measured on.

A family of functions knows how to draw one, and what its examples tell. Whether a function is for training, for
choosing settings (validation) or for the final figure (test) is decided by a hash of it, so that none is in two splits.
"""

import hashlib
import itertools
from typing import Literal, Protocol

import numpy as np

from ssl_jax.errors import UserError

PAD, BOS, FIRST_SYMBOL = range(3)
"""Token ids; symbols follow."""

Split = Literal["train", "validation", "test"]
HELDOUT_SHARE = 0.15
"""Of a family's functions, for validation; as many again are for the test."""


class Family(Protocol):
    """A set of functions from `input_length` symbols to `output_length` symbols.

    Attributes:
      name: in figures.
      symbols: size of the alphabet; symbols are 0 to symbols - 1.
    """

    name: str
    symbols: int
    input_length: int
    output_length: int

    def functions(self, rng: np.random.Generator) -> np.ndarray:
        """One of the functions, all of them equally likely, as int `[parameters]`."""

    def inputs(self, pairs: int, rng: np.random.Generator) -> np.ndarray:
        """Queries of one sequence, int `[pairs, input_length]`, drawn without regard to the function."""

    def apply(self, function: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """int `[pairs, output_length]`."""

    def ideal(self, inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """The chance, float `[pairs]`, with which a learner who knows the family answers pair k, given those before it.

        All functions are equally likely to this learner; it names the most probable answer (Bayes).
        """


class Substitutions:
    """All permutations of an alphabet: each example tells one value, and of the others only what they are not.

    Half of the queries are of a symbol that an example has shown, as far as there is one, and half of a new one.
    """

    name = "substitution"
    input_length = output_length = 1

    def __init__(self, symbols: int):
        self.symbols = symbols

    def functions(self, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(self.symbols)

    def inputs(self, pairs: int, rng: np.random.Generator) -> np.ndarray:
        order = rng.permutation(self.symbols)  # the symbols, as they turn up
        queries, seen = [], 0
        for again in rng.random(pairs) < 0.5:
            if seen and (again or seen == self.symbols):
                queries.append(order[rng.integers(seen)])
            else:
                queries.append(order[seen])
                seen += 1
        return np.array(queries)[:, None]

    def apply(self, function: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        return function[inputs]

    def ideal(self, inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        again = shown_before(inputs)
        left = self.symbols - np.cumsum(~again) + 1  # values that a new symbol may have
        return np.where(again, 1.0, 1 / left)


class Rearrangements:
    """Words whose image has, at every place, the letter from some place of the word: `abcd => dbba`.

    All `length ** length` choices of the places. The letters of a word are distinct, so that one example tells the
    function of every word; a query is hardly ever a word that was shown.
    """

    name = "rearrangement"

    def __init__(self, symbols: int, length: int):
        if length > symbols:
            raise UserError(
                f"words of {length} distinct letters need an alphabet of as many; it has {symbols}."
            )
        self.symbols = symbols
        self.input_length = self.output_length = length
        self._all = np.array(list(itertools.product(range(length), repeat=length)))

    def functions(self, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(self.input_length, size=self.input_length)

    def inputs(self, pairs: int, rng: np.random.Generator) -> np.ndarray:
        return rng.random((pairs, self.symbols)).argsort(axis=1)[:, : self.input_length]

    def apply(self, function: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        return inputs[:, function]

    def ideal(self, inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        return ideal_by_enumeration(self, self._all, inputs, outputs)


def ideal_by_enumeration(
    family: Family, functions: np.ndarray, inputs: np.ndarray, outputs: np.ndarray
) -> np.ndarray:
    """`Family.ideal` of a family small enough to list: `functions [functions, parameters]`.

    Of the functions that agree with all examples before pair k, the largest share with one answer to its query.
    """
    answers = np.stack([family.apply(function, inputs) for function in functions])
    agrees = (answers == outputs).all(-1)  # [functions, pairs]
    possible = np.ones(len(functions), bool)
    ideal = []
    for pair in range(len(inputs)):
        _, counts = np.unique(answers[possible, pair], axis=0, return_counts=True)
        ideal.append(counts.max() / counts.sum())
        possible &= agrees[:, pair]
    return np.array(ideal)


def shown_before(inputs: np.ndarray) -> np.ndarray:
    """Whether each of `inputs [pairs, input_length]` is among those before it, bool `[pairs]`."""
    same = (inputs[:, None] == inputs[None]).all(-1)
    return np.tril(same, -1).any(-1)


def split_of(family: Family, function: np.ndarray) -> Split:
    """The split a function belongs to, by a hash of the family's name and the function alone."""
    text = f"{family.name} {' '.join(map(str, function))}"
    share = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64
    if share < HELDOUT_SHARE:
        return "test"
    return "validation" if share < 2 * HELDOUT_SHARE else "train"


class FunctionSequences:
    """Sequences `[BOS] x f(x) x f(x) ...` as training examples, a token for each symbol.

    Each has a function of a family, both drawn from the `rng` it is called with. A sequence holds as many pairs as fit
    into `length` tokens; the rest is padding. There are no tokens for arrows and newlines: in a sequence of words of
    one length they would stand where they always do, and only make it longer.

    Raises:
      UserError: the length is too short for two pairs of some family.
    """

    def __init__(self, families: tuple[Family, ...], length: int, split: Split):
        self.families, self.length, self._split = families, length, split
        self.pairs = [(length - 1) // _tokens_per_pair(family) for family in families]
        for family, pairs in zip(families, self.pairs, strict=True):
            if pairs < 2:
                least = 1 + 2 * _tokens_per_pair(family)
                raise UserError(
                    f"length {length}: too short for two pairs of {family.name}; give at least {least}."
                )

    @property
    def vocab_size(self) -> int:
        """Ids in use."""
        return FIRST_SYMBOL + max(family.symbols for family in self.families)

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """int32 `tokens [length]`; `answers [length]`, k at the tokens of the k-th f(x), from 1, else 0; `label`.

        `label` is the number of the family.
        """
        number = int(rng.integers(len(self.families)))
        family, pairs = self.families[number], self.pairs[number]
        function = family.functions(rng)
        while split_of(family, function) != self._split:
            function = family.functions(rng)
        inputs = family.inputs(pairs, rng)
        outputs = family.apply(function, inputs)

        rows = np.concatenate([inputs, outputs], axis=1) + FIRST_SYMBOL
        tokens = np.full(self.length, PAD, np.int32)
        tokens[: 1 + rows.size] = np.concatenate([[BOS], rows.ravel()])
        is_answer = np.zeros(rows.shape, np.int32)
        is_answer[:, family.input_length :] = np.arange(1, pairs + 1)[:, None]
        answers = np.zeros(self.length, np.int32)
        answers[1 : 1 + rows.size] = is_answer.ravel()
        return {"tokens": tokens, "answers": answers, "label": np.int32(number)}

    def with_ideal(self, example: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """An example and, for evaluation, what an ideal learner does with it.

        Adds, `[most pairs]`: float32 `ideal`, its chance of answering pair k right, 0 where there is no such pair;
        int32 `shown`, 1 where an example has shown the very query, 0 where none has, -1 where there is no such pair.
        """
        family, pairs = self.families[int(example["label"])], self.pairs[int(example["label"])]
        inputs, outputs = read_pairs(family, pairs, example["tokens"])
        ideal, shown = np.zeros(max(self.pairs), np.float32), np.full(max(self.pairs), -1, np.int32)
        ideal[:pairs], shown[:pairs] = family.ideal(inputs, outputs), shown_before(inputs)
        return {**example, "ideal": ideal, "shown": shown}


def read_pairs(family: Family, pairs: int, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(inputs [pairs, input_length], outputs [pairs, output_length])` of a sequence's tokens."""
    width = _tokens_per_pair(family)
    rows = tokens[1 : 1 + pairs * width].reshape(pairs, width) - FIRST_SYMBOL
    return rows[:, : family.input_length], rows[:, family.input_length :]


def _tokens_per_pair(family: Family) -> int:
    return family.input_length + family.output_length
