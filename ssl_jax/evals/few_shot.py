"""Few-shot tasks given to a language model as prompts, without a gradient (arXiv:2005.14165, section 2.4)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ssl_jax.data.few_shot import Examples, Format, Item
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.decoding.decoder import Decoder
from ssl_jax.decoding.generate import generate
from ssl_jax.decoding.prompts import bucket_length, pad_right
from ssl_jax.decoding.scoring import continuation_log_likelihood
from ssl_jax.errors import UserError
from ssl_jax.method import Tree

NORMALISATIONS = ("per_token", "sum", "over_unconditional")
"""How choices of different length are compared: by log-likelihood per token, as GPT-3 does by default; by its sum; or
by its sum less that of the choice after the words before an answer alone ("=>"), as GPT-3 does on some tasks."""

SPARE_TOKENS = 4
"""More than the longest right answer that may be generated; then comes the separator."""


class LanguageModel(NamedTuple):
    """A model that continues text.

    Attributes:
      decoder: how it writes.
      params: of `decoder`, or prepared for it.
      tokenizer: of its text.
      begin: tokens that every text begins with.
      end: the end-of-text token.
    """

    decoder: Decoder
    params: Tree
    tokenizer: Tokenizer
    begin: tuple[int, ...]
    end: int


class Prompt(NamedTuple):
    """A prompt that fits the context.

    Attributes:
      text: the prompt.
      shots: number of examples in it.
      asked: number of examples that were asked for.
    """

    text: str
    shots: int
    asked: int


class Answers(NamedTuple):
    """The answers of a model to prompts.

    Attributes:
      chosen: by normalisation, the number of the choice for each prompt.
      written: the text that the model writes after each prompt.
    """

    chosen: dict[str, list[int]]
    written: list[str]


class FewShot:
    """Prompts for the items of a task, and the model's answers to them.

    The answer to a prompt does not depend on the others. Lengths of prompts are filled up to powers of two, so that few
    programs are compiled.

    Args:
      model: that answers.
      items: of the task.
      examples: that the prompts take theirs from.
      format: of the prompts.
      batch_size: prompts at a time.
    """

    def __init__(
        self,
        model: LanguageModel,
        items: Sequence[Item],
        examples: Examples,
        format: Format,
        batch_size: int = 16,
    ):
        self._model, self._items, self._examples, self._format = model, items, examples, format
        self._batch_size = batch_size
        lengths = [len(self._continuation("", output)[1]) for output in {item.output for item in items}]
        self._new_tokens = max(lengths) + SPARE_TOKENS
        self._unconditional: dict[str, float] = {}

    @property
    def positions(self) -> int:
        """The model's context, in tokens."""
        return self._model.decoder.positions

    def prompts(self, shots: int, draw: int) -> list[Prompt]:
        """A prompt for each item.

        Where not all examples fit the context the prompt has fewer, the same as if so many had been asked for.

        Args:
          shots: number of examples.
          draw: number of the draw of the examples.

        Raises:
          UserError: there are not as many examples, or not even the query fits.
        """
        return [self._prompt(item, self._examples.choose(item.input, shots, draw)) for item in self._items]

    def _prompt(self, item: Item, examples: list[Item]) -> Prompt:
        for count in range(len(examples), -1, -1):
            text = self._format.prompt(item.input, examples[:count])
            needed = len(self._tokens(text)) + self._new_tokens
            for choice in item.choices:
                needed = max(needed, sum(map(len, self._continuation(text, choice))))
            if needed <= self.positions:
                return Prompt(text, count, len(examples))
        raise UserError(
            f"the query {item.input!r} and its answer take {needed} tokens, more than the model's context of "
            f"{self.positions}; shorten them or the description."
        )

    def answers(self, prompts: Sequence[Prompt]) -> Answers:
        """The model's answers to one prompt for each item."""
        chosen: dict[str, list[int]] = {}
        if all(item.choices for item in self._items):
            chosen = self._choose(prompts)
        return Answers(chosen, self._write(prompts))

    def _choose(self, prompts: Sequence[Prompt]) -> dict[str, list[int]]:
        asked = [
            self._continuation(prompt.text, choice)
            for prompt, item in zip(prompts, self._items, strict=True)
            for choice in item.choices
        ]
        new = sorted({c for item in self._items for c in item.choices} - self._unconditional.keys())
        context = self._format.answer_context
        found = self._log_likelihoods([self._continuation(context, choice) for choice in new])
        self._unconditional |= dict(zip(new, found, strict=True))
        scores = iter(zip(self._log_likelihoods(asked), asked, strict=True))
        chosen: dict[str, list[int]] = {name: [] for name in NORMALISATIONS}
        for item in self._items:
            own = [next(scores) for _ in item.choices]
            total = np.array([score for score, _ in own])
            tokens = np.array([len(continuation) for _, (_, continuation) in own])
            unconditional = np.array([self._unconditional[choice] for choice in item.choices])
            for name, value in compare_choices(total, tokens, unconditional).items():
                chosen[name].append(int(value.argmax()))
        return chosen

    def _log_likelihoods(self, asked: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        """Of continuations `(prompt, continuation)`, in nats."""
        model, sums = self._model, np.zeros(len(asked))
        for rows, parts in self._batches(asked):
            arrays = [array for side in zip(*parts, strict=True) for array in self._padded(side)]
            sums[rows] = np.asarray(
                continuation_log_likelihood(model.decoder, model.params, *arrays), np.float64
            ).sum(1)[: len(rows)]
        return sums.tolist()

    def _write(self, prompts: Sequence[Prompt]) -> list[str]:
        model, texts = self._model, [""] * len(prompts)
        for rows, parts in self._batches([(self._tokens(prompt.text),) for prompt in prompts]):
            tokens, lengths = self._padded([tokens for (tokens,) in parts], self._new_tokens)
            written = generate(
                model.decoder, model.params, tokens, lengths, max_new_tokens=self._new_tokens, end=model.end
            )
            for row, new, length in zip(rows, written.tokens, written.lengths, strict=False):
                texts[row] = first_line(model.tokenizer.decode(new[:length].tolist()), self._format.separator)
        return texts

    def _batches(self, asked: Sequence[tuple]) -> Iterator[tuple[list[int], list[tuple]]]:
        """(rows, what is asked in them), similar lengths together; the last batch is filled up with its first row."""
        order = sorted(range(len(asked)), key=lambda row: [len(part) for part in asked[row]])
        for first in range(0, len(order), self._batch_size):
            rows = order[first : first + self._batch_size]
            filled = rows + [rows[0]] * (self._batch_size - len(rows))
            yield rows, [asked[row] for row in filled]

    def _padded(self, rows: Sequence[list[int]], room: int = 0) -> tuple[np.ndarray, np.ndarray]:
        longest = self.positions - room
        return pad_right(rows, bucket_length(max(map(len, rows)), longest))

    def _tokens(self, text: str) -> list[int]:
        return [*self._model.begin, *self._model.tokenizer.encode(text)]

    def _continuation(self, prompt: str, output: str) -> tuple[list[int], list[int]]:
        """(tokens of the prompt, those of an output after it). A token over the seam counts to the output."""
        before, whole = self._tokens(prompt), self._tokens(prompt + self._format.continuation(output))
        shared = next((i for i, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b), len(before))
        if shared >= len(whole):
            raise UserError(f"the answer {output!r}: the tokenizer makes no token of it.")
        return whole[:shared] or [self._model.tokenizer.special.cls], whole[shared:]

    def right(self, answers: Answers) -> dict[str, np.ndarray]:
        """Whether answers are right, bool `[items]`, by normalisation of a choice, and as `exact_match` of the text."""
        right = {
            name: np.array(
                [item.choices[i] == item.output for item, i in zip(self._items, numbers, strict=True)]
            )
            for name, numbers in answers.chosen.items()
        }
        wanted = [self._as_written(item.output) for item in self._items]
        exact = [a == b for a, b in zip(answers.written, wanted, strict=True)]
        return {**right, "exact_match": np.array(exact)}

    def _as_written(self, output: str) -> str:
        """An output as the tokenizer writes it, which may fold case."""
        tokenizer = self._model.tokenizer
        return tokenizer.decode(tokenizer.encode(output)).strip()


def compare_choices(
    total: np.ndarray, tokens: np.ndarray, unconditional: np.ndarray
) -> dict[str, np.ndarray]:
    """The scores of choices by normalisation, each `[choices]`.

    Args:
      total: `[choices]`, log-likelihoods after the prompt.
      tokens: `[choices]`, numbers of tokens.
      unconditional: `[choices]`, log-likelihoods after the words before an answer alone.
    """
    return dict(zip(NORMALISATIONS, (total / tokens, total, total - unconditional), strict=True))


def first_line(text: str, separator: str) -> str:
    """The text before the separator of examples, without the space around it."""
    return text.lstrip().split(separator.strip(" ") or "\n")[0].strip()
