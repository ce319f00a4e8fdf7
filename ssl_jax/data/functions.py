"""Sequences of `x => f(x)` pairs whose function is drawn anew for each: what in-context learning is measured on.

A family of functions knows how to draw one, and what its examples tell. Whether a function is for training, for
choosing settings (validation) or for the final figure (test) is decided by a hash of it, so that none is in two splits.
"""

import hashlib
from typing import Literal, Protocol

import jax
import numpy as np

from ssl_jax.errors import UserError

PAD = 0
"""The token that fills up a sequence. One for each family follows, which its sequences begin with, then symbols."""

Split = Literal["train", "validation", "test"]
HELDOUT_SHARE = 0.15
"""Of a family's functions, for validation; as many again are for the test."""


ENOUGH_DRAWS = 1000
"""A split without a function among so many draws of a family is taken to have none."""


class Family(Protocol):
    """A set of functions from symbols to other symbols.

    Attributes:
      name: in figures.
      inputs, outputs: sizes of the two alphabets. Inputs are 0 to inputs - 1, outputs 0 to outputs - 1.
    """

    name: str
    inputs: int
    outputs: int

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One of the functions, all of them equally likely: int `[inputs]`, the output of every input."""

    def ideal(self, queries: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """The chance, float `[pairs]`, with which one who knows the family answers query k, given the pairs before it.

        All functions are equally likely to this ideal learner, who names the most probable answer (Bayes).
        """


class Substitutions:
    """All one-to-one maps of an alphabet to another: an example tells one value, and what the others are not."""

    name = "substitution"

    def __init__(self, symbols: int):
        self.inputs = self.outputs = symbols

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(self.inputs)

    def ideal(self, queries: np.ndarray, answers: np.ndarray) -> np.ndarray:
        again = shown_before(queries)
        left = self.outputs - np.cumsum(~again) + 1  # values that a new symbol may have
        return np.where(again, 1.0, 1 / left)


class Dialects:
    """Every word has one translation in each of several dialects; f says which dialect a class of words is in.

    Which words make a class, and the translations, are the same in all sequences: an example tells the value of every
    word of its class, also of those that were never shown. The inputs are `classes` runs of `words` words; the
    translation of a word into a dialect is output `word * dialects + dialect`.
    """

    name = "dialect"

    def __init__(self, classes: int, words: int, dialects: int):
        self.inputs, self.outputs = classes * words, classes * words * dialects
        self._classes, self._words, self._dialects = classes, words, dialects

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        of_class = rng.integers(self._dialects, size=self._classes)
        return np.arange(self.inputs) * self._dialects + np.repeat(of_class, self._words)

    def ideal(self, queries: np.ndarray, answers: np.ndarray) -> np.ndarray:
        return np.where(shown_before(queries // self._words), 1.0, 1 / self._dialects)


def shown_before(queries: np.ndarray) -> np.ndarray:
    """Whether each of `queries [pairs]` is among those before it, bool `[pairs]`."""
    return np.tril(queries[:, None] == queries[None], -1).any(-1)


def draw_queries(
    inputs: int, pairs: int, rng: np.random.Generator, distinct: int | None = None
) -> np.ndarray:
    """Queries of one sequence, int `[pairs]`: half of them new, half shown before, as far as there are such.

    distinct: how many of the inputs turn up at most; None for all.
    """
    order = rng.permutation(inputs)[:distinct]  # as they turn up
    queries, seen = [], 0
    for again in rng.random(pairs) < 0.5:
        if seen and (again or seen == len(order)):
            queries.append(order[rng.integers(seen)])
        else:
            queries.append(order[seen])
            seen += 1
    return np.array(queries)


def split_of(family: Family, function: np.ndarray) -> Split:
    """The split a function belongs to, by a hash of the family's name and the function alone."""
    text = f"{family.name} {' '.join(map(str, function))}"
    share = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64
    if share < HELDOUT_SHARE:
        return "test"
    return "validation" if share < 2 * HELDOUT_SHARE else "train"


def batch_shapes(batch_size: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of every array of a training batch of `FunctionSequences`."""
    return {
        "tokens": jax.ShapeDtypeStruct((batch_size, length), np.int32),
        "label": jax.ShapeDtypeStruct((batch_size,), np.int32),
    }


class FunctionSequences:
    """Sequences `[family] x f(x) x f(x) ...` as training examples.

    Each has a function of a family, both drawn from the `rng` it is called with. The first token names the family, as a
    description does with a task; the symbols of a family are tokens of its own. There are no tokens for arrows and
    newlines: they would stand where they always do.

    few_inputs: each sequence keeps to some of the inputs, from two to all of them. To look a query up among few
    examples is soon better than to guess one of the answers shown; learnt there, it extends to many. For training.

    Raises:
      UserError: fewer than two pairs, or a family so small that the split has none of its functions.
    """

    def __init__(self, families: tuple[Family, ...], pairs: int, split: Split, *, few_inputs: bool = False):
        if pairs < 2:
            raise UserError(f"sequences of {pairs} examples: there must be at least 2.")
        for family in families:
            draws = (family.draw(np.random.default_rng(i)) for i in range(ENOUGH_DRAWS))
            if all(split_of(family, function) != split for function in draws):
                raise UserError(
                    f"{family.name}: so small a family has no function for {split}; make it larger."
                )
        self.families, self.pairs, self._split, self._few = families, pairs, split, few_inputs
        sizes = [family.inputs + family.outputs for family in families]
        self._first = 1 + len(families) + np.cumsum([0, *sizes])

    @property
    def vocab_size(self) -> int:
        """Tokens in use."""
        return int(self._first[-1])

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        return 1 + 2 * self.pairs

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """int32 `tokens [length]`, and `label`, the number of the family."""
        number = int(rng.integers(len(self.families)))
        family, first = self.families[number], self._first[number]
        function = family.draw(rng)
        while split_of(family, function) != self._split:
            function = family.draw(rng)
        distinct = int(rng.integers(2, family.inputs + 1)) if self._few else None
        queries = draw_queries(family.inputs, self.pairs, rng, distinct)
        pairs = np.stack([first + queries, first + family.inputs + function[queries]], axis=1)
        tokens = np.concatenate([[1 + number], pairs.ravel()])
        return {"tokens": tokens.astype(np.int32), "label": np.int32(number)}

    def with_ideal(self, example: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """An example and, for evaluation, what an ideal learner does with it.

        Adds, `[pairs]`: float32 `ideal`, its chance of answering query k right; int32 `shown`, whether an example has
        shown that very query.
        """
        family, queries, answers = self.read(example)
        ideal = family.ideal(queries, answers)
        return {**example, "ideal": ideal.astype(np.float32), "shown": shown_before(queries).astype(np.int32)}

    def read(self, example: dict[str, np.ndarray]) -> tuple[Family, np.ndarray, np.ndarray]:
        """Family, queries `[pairs]` and answers `[pairs]` of an example."""
        number = int(example["label"])
        family, first = self.families[number], self._first[number]
        queries, answers = example["tokens"][1:].reshape(-1, 2).T - first
        return family, queries, answers - family.inputs
