"""Sequences of `x => f(x)` pairs with a new function in each sequence, for measuring in-context learning.

A hash of a function decides whether it is used for training, validation (choice of settings) or the test, so that no
function is in two splits. An ideal learner knows which functions are in the split and infers from the pairs before a
query which of them are left.
"""

import functools
import hashlib
import itertools
import math
from typing import Literal, Protocol

import jax
import numpy as np

from ssl_jax.errors import UserError

PAD = 0
"""The padding token. The next tokens name the families, one each, at the start of a sequence; then come the symbols."""

Split = Literal["train", "validation", "test"]
HELDOUT_SHARE = 0.15
"""Share of a family's functions for validation; the test has the same share."""


SPLIT_CHECK_DRAWS = 1000
"""If none of this many drawn functions is in a split, the split is considered empty."""


MOST_FUNCTIONS = 200_000
"""The ideal learner knows the functions of a split if the family has so many at most, else those of the family."""


class Family(Protocol):
    """A set of functions from one alphabet to another.

    Attributes:
      name: name in metrics.
      inputs: size of the input alphabet, 0 to inputs - 1.
      outputs: size of the output alphabet, 0 to outputs - 1.
      count: number of functions.
    """

    name: str
    inputs: int
    outputs: int
    count: int

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draws a function uniformly: int `[inputs]`, the output of each input."""

    def functions(self) -> np.ndarray:
        """All of them: int `[count, inputs]`."""

    def ideal(self, queries: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """The accuracy of a learner who knows the family, and not which of its functions are in a split.

        It assumes that all functions are equally likely and gives the most probable answer (Bayes).

        Args:
          queries: int `[pairs]`.
          answers: int `[pairs]`.

        Returns:
          float `[pairs]`, the probability of a correct answer to query k, given the pairs before it.
        """


class Substitutions:
    """All one-to-one maps of an alphabet to another.

    An example determines one value and excludes it for other inputs.
    """

    name = "substitution"

    def __init__(self, symbols: int):
        self.inputs = self.outputs = symbols
        self.count = math.factorial(symbols)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(self.inputs)

    def functions(self) -> np.ndarray:
        return np.array([*itertools.permutations(range(self.inputs))])

    def ideal(self, queries: np.ndarray, answers: np.ndarray) -> np.ndarray:
        again = shown_before(queries)
        left = self.outputs - np.cumsum(~again) + 1  # possible values of a new symbol
        return np.where(again, 1.0, 1 / left)


class Dialects:
    """Each word has one translation in each of several dialects; f assigns a dialect to each class of words.

    The classes and the translations are the same in all sequences. So an example determines the values of all words of
    its class, including words that were not shown. The inputs are `classes` runs of `words` words. The translation of a
    word into a dialect is output `word * dialects + dialect`.
    """

    name = "dialect"

    def __init__(self, classes: int, words: int, dialects: int):
        self.inputs, self.outputs = classes * words, classes * words * dialects
        self.count = dialects**classes
        self._classes, self._words, self._dialects = classes, words, dialects

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return self._translations(rng.integers(self._dialects, size=self._classes))

    def functions(self) -> np.ndarray:
        return self._translations(np.array([*itertools.product(range(self._dialects), repeat=self._classes)]))

    def _translations(self, of_class: np.ndarray) -> np.ndarray:
        """`[..., inputs]` of the dialect of each class `[..., classes]`."""
        return np.arange(self.inputs) * self._dialects + np.repeat(of_class, self._words, axis=-1)

    def ideal(self, queries: np.ndarray, answers: np.ndarray) -> np.ndarray:
        return np.where(shown_before(queries // self._words), 1.0, 1 / self._dialects)


def shown_before(queries: np.ndarray) -> np.ndarray:
    """Whether each of `queries [pairs]` equals an earlier one, bool `[pairs]`."""
    return np.tril(queries[:, None] == queries[None], -1).any(-1)


def draw_queries(
    inputs: int, pairs: int, rng: np.random.Generator, distinct: int | None = None
) -> np.ndarray:
    """Draws the queries of one sequence, int `[pairs]`.

    Each query is new or repeats an earlier one with equal probability, where both are possible.

    Args:
      inputs: size of the input alphabet.
      pairs: number of queries.
      rng: source of randomness.
      distinct: largest number of distinct inputs; None for all.
    """
    order = rng.permutation(inputs)[:distinct]  # of first appearance
    queries, seen = [], 0
    for again in rng.random(pairs) < 0.5:
        if seen and (again or seen == len(order)):
            queries.append(order[rng.integers(seen)])
        else:
            queries.append(order[seen])
            seen += 1
    return np.array(queries)


def split_of(family: Family, function: np.ndarray) -> Split:
    """The split of a function, from a hash of the family's name and the function."""
    text = f"{family.name} {' '.join(map(str, function))}"
    share = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64
    if share < HELDOUT_SHARE:
        return "test"
    return "validation" if share < 2 * HELDOUT_SHARE else "train"


class SplitLearner:
    """An ideal learner who knows the functions of a split: they are equally likely, and it gives the best answer.

    Args:
      functions: int `[functions, inputs]`, those of the split.
    """

    def __init__(self, functions: np.ndarray):
        self._functions = functions.astype(np.int16 if functions.max() < 2**15 else np.int32)
        self._first = functools.cache(self._after_one)

    def __call__(self, queries: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """float `[pairs]`, the probability of a correct answer to query k, given the pairs before it.

        Args:
          queries, answers: int `[pairs]`, of a function of the split.
        """
        chance, left = self._first(int(queries[0]))
        left, ideal = left[int(answers[0])], [chance]
        for query, answer in zip(queries[1:], answers[1:], strict=True):
            values = left[:, query]
            ideal.append(np.bincount(values).max() / len(values))
            if ideal[-1] < 1:
                left = left[values == answer]
        return np.array(ideal)

    def _after_one(self, query: int) -> tuple[float, dict[int, np.ndarray]]:
        """The chance to answer a first query, and the functions that are left by its answer."""
        values = self._functions[:, query]
        left = {int(answer): self._functions[values == answer] for answer in np.unique(values)}
        return max(map(len, left.values())) / len(values), left


@functools.cache
def _learners(family: Family) -> dict[Split, SplitLearner]:
    functions = family.functions()
    splits = np.array([split_of(family, function) for function in functions])
    return {split: SplitLearner(functions[splits == split]) for split in np.unique(splits).tolist()}


def batch_shapes(batch_size: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each array of a training batch of `FunctionSequences`."""
    return {
        "tokens": jax.ShapeDtypeStruct((batch_size, length), np.int32),
        "label": jax.ShapeDtypeStruct((batch_size,), np.int32),
    }


def heldout_shapes(batch_size: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """As `batch_shapes`, of the examples of `FunctionSequences.with_ideal`."""
    pairs = batch_size, length // 2
    return {
        **batch_shapes(batch_size, length),
        "ideal": jax.ShapeDtypeStruct(pairs, np.float32),
        "shown": jax.ShapeDtypeStruct(pairs, np.int32),
        "function": jax.ShapeDtypeStruct((batch_size,), np.int32),
    }


class FunctionSequences:
    """Sequences `[family] x f(x) x f(x) ...` as training examples.

    The family and the function of a sequence are drawn from the `rng` of the call. The first token names the family,
    like the description of a task. Each family has its own tokens for its symbols. There are no tokens for arrows and
    newlines, because their positions would always be the same.

    Args:
      families: families of functions, equally likely.
      pairs: number of pairs per sequence.
      split: split of the functions.
      few_inputs: for training: each sequence uses a random number of distinct inputs, from two to all. With few
        examples, looking up a query soon becomes better than guessing one of the shown answers; lookup learnt this way
        generalises to many examples.

    Raises:
      UserError: there are fewer than two pairs, or a family has no function in the split.
    """

    def __init__(self, families: tuple[Family, ...], pairs: int, split: Split, *, few_inputs: bool = False):
        if pairs < 2:
            raise UserError(f"sequences of {pairs} examples: there must be at least 2.")
        for family in families:
            draws = (family.draw(np.random.default_rng(i)) for i in range(SPLIT_CHECK_DRAWS))
            if all(split_of(family, function) != split for function in draws):
                raise UserError(
                    f"{family.name}: the family is too small, no function is in the {split} split; make it larger, "
                    "with more letters of a substitution, or more classes or dialects."
                )
        self.families, self.pairs, self._split, self._few = families, pairs, split, few_inputs
        sizes = [family.inputs + family.outputs for family in families]
        self._first = 1 + len(families) + np.cumsum([0, *sizes])

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return int(self._first[-1])

    @property
    def length(self) -> int:
        """Tokens per sequence."""
        return 1 + 2 * self.pairs

    def __call__(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """An example: int32 `tokens [length]`, and `label`, the index of the family."""
        return self._draw(rng)[0]

    def _draw(self, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """An example, and its function."""
        number = int(rng.integers(len(self.families)))
        family, first = self.families[number], self._first[number]
        function = family.draw(rng)
        while split_of(family, function) != self._split:
            function = family.draw(rng)
        distinct = int(rng.integers(2, family.inputs + 1)) if self._few else None
        queries = draw_queries(family.inputs, self.pairs, rng, distinct)
        pairs = np.stack([first + queries, first + family.inputs + function[queries]], axis=1)
        tokens = np.concatenate([[1 + number], pairs.ravel()])
        return {"tokens": tokens.astype(np.int32), "label": np.int32(number)}, function

    def with_ideal(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The same example, with what an evaluation needs.

        The added arrays are float32 `ideal [pairs]`, the probability that an ideal learner answers query k correctly;
        int32 `shown [pairs]`, whether the same query was shown before; and int32 `function`, a number of the function.
        """
        example, function = self._draw(rng)
        family, queries, answers = self.read(example)
        known = family.count <= MOST_FUNCTIONS
        learner = _learners(family)[self._split] if known else family.ideal
        digest = hashlib.blake2b(function.astype(np.int64).tobytes(), digest_size=4).digest()
        return {
            **example,
            "ideal": learner(queries, answers).astype(np.float32),
            "shown": shown_before(queries).astype(np.int32),
            "function": np.int32(int.from_bytes(digest) >> 1),
        }

    def read(self, example: dict[str, np.ndarray]) -> tuple[Family, np.ndarray, np.ndarray]:
        """Returns the family, the queries `[pairs]` and the answers `[pairs]` of an example."""
        number = int(example["label"])
        family, first = self.families[number], self._first[number]
        queries, answers = example["tokens"][1:].reshape(-1, 2).T - first
        return family, queries, answers - family.inputs
