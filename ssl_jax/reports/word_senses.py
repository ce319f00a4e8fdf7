"""What embeddings tell of the senses of words, as tables and as numbers."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ssl_jax.data.word_senses import Occurrence, Occurrences
from ssl_jax.evals.sense_pairs import Neighbour, Separation
from ssl_jax.reports.tables import aligned

KINDS = {"raw": "raw cosines", "centred": "centred cosines"}
_WIDTH = 100
"""Characters of a sentence that are shown, at most."""

Neighbours = Mapping[str, Mapping[str, tuple[Occurrence, Sequence[Neighbour]]]]
"""By word and sense: the sentence that is looked up, and its neighbours."""


def sense_values(
    separations: Mapping[str, Mapping[str, Separation]],
    untrained: Mapping[str, Sequence[Mapping[str, Separation]]],
) -> dict[str, Any]:
    """The numbers of the tables.

    Args:
      separations: by the name of the embeddings and by kind, raw or centred.
      untrained: by layer, of each seed.
    """
    return {
        kind: {
            "embeddings": {
                name: {
                    "auc": of[kind].auc,
                    "p": of[kind].p_values,
                    "mean_auc": of[kind].mean,
                    "mean_p": of[kind].mean_p_value,
                }
                for name, of in separations.items()
            },
            "untrained": {
                name: {
                    "auc": {word: [seed[kind].auc[word] for seed in seeds] for word in seeds[0][kind].auc},
                    "mean_auc": [seed[kind].mean for seed in seeds],
                }
                for name, seeds in untrained.items()
            },
        }
        for kind in KINDS
    }


def sense_lines(values: Mapping[str, Any]) -> Iterator[str]:
    """Two tables: a row for each kind of embedding, a column for each word.

    Args:
      values: see `sense_values`.
    """
    for kind, title in KINDS.items():
        trained, untrained = values[kind]["embeddings"], values[kind]["untrained"]
        words = [*next(iter(trained.values()))["auc"]]
        body = [
            [
                name,
                *(f"{of['auc'][word]:.2f}" for word in words),
                f"{of['mean_auc']:.2f}",
                f"{of['mean_p']:.3f}",
            ]
            for name, of in trained.items()
        ]
        for name, of in untrained.items():
            means = of["mean_auc"]
            middle = [f"{statistics.median(of['auc'][word]):.2f}" for word in words]
            body.append([f"untrained, {name}", *middle, f"{statistics.median(means):.2f}", ""])
        yield f"same-sense AUC of {title} (by chance 0.50):"
        yield from aligned([["", *words, "mean", "p"], *body])
        yield ""


def sentence_values(words: Occurrences, neighbours: Neighbours) -> dict[str, Any]:
    """The sentences of each word, and the neighbours of the first one of each sense."""
    return {
        "sentences": {
            word: [{"sense": each.sense, "text": each.text} for each in occurrences]
            for word, occurrences in words.items()
        },
        "neighbours": {
            word: {
                sense: {"text": each.text, "nearest": [neighbour._asdict() for neighbour in near]}
                for sense, (each, near) in senses.items()
            }
            for word, senses in neighbours.items()
        },
    }


def sentence_lines(words: Occurrences, neighbours: Neighbours) -> Iterator[str]:
    """The sentences of each word by their numbers in the plots, and the neighbours of the first one of each sense."""
    for word, occurrences in words.items():
        yield f"{word}:"
        for number, each in enumerate(occurrences, 1):
            yield f"  {number:2} {each.sense}: {marked(each.text, each.start, each.end)}"
    if not neighbours:
        return
    yield ""
    yield "nearest words of held-out text, by the centred cosine of the last layer:"
    for senses in neighbours.values():
        for sense, (each, near) in senses.items():
            yield f"  {sense}: {marked(each.text, each.start, each.end)}"
            for one in near:
                yield f"    {one.cosine:5.2f}  {marked(one.text, one.start, one.end)}"


def marked(text: str, start: int, end: int, width: int = _WIDTH) -> str:
    """A sentence with the word in brackets, cut to a width around the word.

    Example:
      >>> marked("An apple a day", 3, 8), marked("An apple a day keeps", 3, 8, width=13)
      ('An [apple] a day', 'An [apple]...')
    """
    whole = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    if len(whole) <= width:
        return whole
    room = max(0, width - (end - start + 2)) // 2
    first = max(0, min(start - room, len(whole) - width))
    last = first + width
    head, tail = "..." if first > 0 else "", "..." if last < len(whole) else ""
    return f"{head}{whole[first + len(head) : last - len(tail)]}{tail}"
