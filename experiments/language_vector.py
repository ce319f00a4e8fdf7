"""The language vector: multilingual BERT answers in another language when a vector is added (arXiv:2010.10041).

    python -m experiments.language_vector                                     # offline, English and a fake language
    python -m experiments.language_vector --run runs/ml --first en --second de --words dictionary.tsv

The hidden states of each language have a mean, taken over its training text. Sentences of the first language get
blanks, and `alpha` times the difference of the two means is added to all states after a layer. vectors.txt has, for
each layer and alpha, the share of the blanks that are then filled with a token of the first language, of the second
one, with the token that was there, and with its translation; examples.txt has sentences. plots/ shows the same as heat
maps. Tokens that both languages use belong to neither.

The default (seed 0, 27 November 2026), with 1,098 blanks in English, of which the model fills 28.1 % with the token
that was there: the vector at the input turns 0, 29 and 100 % of the blanks into the fake language at
alpha 0, 0.5 and 1, and at alpha 1 23.3 % of them are the translation of the token that was there. After layer 1 it is
0, 6, 92 and 100 % at 0, 0.5, 1 and 1.5, with 23.9 % translations at 1.5; after layer 2, alpha 2 is needed (94 %).
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from etils import epath

from experiments import multilingual_bert
from ssl_jax.cli import main
from ssl_jax.data.parallel_text import PairSource, read_pairs
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.domains import NonEmptyText, PositiveInt, Settings, Text, numbers
from ssl_jax.errors import UserError
from ssl_jax.evals.plots import draw_matrix
from ssl_jax.files import write_whole
from ssl_jax.recipes.language_vector import (
    Blanks,
    Shifter,
    blanks,
    converted,
    known_translations,
    languages_of_tokens,
)
from ssl_jax.reports.tables import aligned
from ssl_jax.runs.prerequisites import PlannedRun
from ssl_jax.runs.study import Figures, NamedRun, Runs, Study, Table
from ssl_jax.training.distributed import announce, on_main

Alpha = Annotated[float, numbers(-1000, 1000)]
EXAMPLES = 8
"""Sentences that are written out."""
RUN = "multilingual"
"""Name of the run that is trained first."""
SHARES = {"first": "{first}", "second": "{second}", "same": "same token", "translated": "translation"}
"""Of the table: titles."""


@dataclass(frozen=True)
class Config(Settings):
    """Blanks of one language, filled with a vector towards another one."""

    run: Text = ""
    """A run of experiments.multilingual_bert, or RUN@STEP; empty: a model is trained first."""
    model: multilingual_bert.Config = multilingual_bert.OFFLINE
    """What is trained."""
    first: NonEmptyText = "en"
    """Language of the sentences."""
    second: NonEmptyText = "fake"
    """Language to turn them to."""
    alphas: tuple[Alpha, ...] = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
    """What the difference of the means is multiplied with."""
    sentences: PositiveInt = 500
    """Held-out sentences, at most."""
    words: Text = ""
    """A .tsv file of words and their translations, with a column for each of the two languages; not needed for a
    shifted language."""

    def check_relations(self) -> None:
        if not self.alphas:
            raise UserError("alphas: none; expected at least one.")
        if self.first == self.second:
            raise UserError(f"first and second are both {self.first}; give two languages.")
        names = self.model.data.names
        if not self.run and (missing := [name for name in (self.first, self.second) if name not in names]):
            raise UserError(
                f"{missing[0]} is not a language of the model; expected two of {', '.join(names)}."
            )


PRESETS = {"tiny": Config()}


def study(config: Config) -> Study:
    """One run, and its blanks under each vector."""
    module = multilingual_bert.__name__
    run = NamedRun(config.run, module) if config.run else PlannedRun(module, "tiny", config.model)
    return Study(
        "vectors",
        {RUN: run},
        lambda runs, folder: tabulate(config, runs, folder),
        lambda table, runs: draw(config, table),
    )


def tabulate(config: Config, runs: Runs, folder: epath.Path) -> Table:
    """The shares of the blanks for each layer and alpha."""
    run = runs[RUN]
    if run.config.own_positions:
        raise UserError(
            f"{run.folder}: its languages have positions of their own, which tell them apart by themselves; expected a "
            "run with own_positions False."
        )
    opened = run.data.details
    first, second = opened[config.first], opened[config.second]
    pairs = read_pairs(PairSource((config.first, config.second), (config.words,))) if config.words else None
    words = list(zip(pairs.first, pairs.second, strict=True)) if pairs else []
    if not words and not (run.config.data.shifted.keys() & {config.first, config.second}):
        announce("the translations are not known: give a dictionary with --words")
    known = known_translations(opened, first, second, words) if words or first.shift != second.shift else {}
    belongs = languages_of_tokens(opened, run.config.model.vocab_size)
    numbers = [[language.name for language in opened.languages].index(each.name) for each in (first, second)]
    shifter = Shifter(run, opened, run.restore())
    difference, masked = (
        shifter.difference(first, second),
        blanks(opened, first, run.config.length, config.sentences),
    )
    found: dict[str, dict[str, Any]] = {}
    shown: dict[float, np.ndarray] = {}
    best = -1.0
    for layer in range(len(difference)):
        fills = {}
        for alpha in config.alphas:
            fills[alpha] = shifter.fill(masked, layer, alpha * difference[layer])
            found.setdefault(layer_name(layer), {})[f"{alpha:g}"] = converted(
                fills[alpha], masked, belongs, known, *numbers
            )
        score = max(of["translated" if known else "second"] for of in found[layer_name(layer)].values())
        if score > best:
            best, shown, where = score, fills, layer_name(layer)
    examples = [f"The vector is added after: {where}", "", *written(masked, shown, opened.tokenizer)]
    on_main(lambda: write_whole(folder / "examples.txt", "\n".join(examples) + "\n"))
    return Table(found, table_lines(config, found, int((masked.labels >= 0).sum())))


def layer_name(layer: int) -> str:
    """The name of a layer, by its place among the hidden states."""
    return f"layer {layer}" if layer else "input"


def table_lines(config: Config, found: dict[str, dict[str, Any]], count: int) -> list[str]:
    """A row for each layer and alpha."""
    titles = [title.format(first=config.first, second=config.second) for title in SHARES.values()]
    rows = [["after", "alpha", *titles]]
    for layer, by_alpha in found.items():
        for alpha, shares in by_alpha.items():
            cells = [f"{shares[name]:.1%}" if np.isfinite(shares[name]) else "" for name in SHARES]
            rows.append([layer, alpha, *cells])
    return [f"{count:,} blanks in {config.first}, filled with:", *aligned(rows)]


def written(of: Blanks, fills: dict[float, np.ndarray], tokenizer: Tokenizer) -> list[str]:
    """Sentences with blanks, as they are filled with each alpha. Pieces of a shifted language have an apostrophe."""

    def piece(token: int) -> str:
        shift, plain = divmod(int(token), tokenizer.vocab_size)
        return (
            tokenizer.decode([plain]) + "'" * shift
            if token >= tokenizer.special.first_regular
            else "[special]"
        )

    lines = []
    for number in range(min(EXAMPLES, len(of.labels))):
        row = of.rows(number)
        length, hidden = int(row["segment_ids"].sum()), of.labels[number] >= 0
        shown = np.where(hidden, of.labels[number], row["tokens"])[1 : length - 1] % tokenizer.vocab_size
        pieces = zip(tokenizer.pieces(shown.tolist()), hidden[1 : length - 1], strict=True)
        text = "".join("▁" * piece.startswith("▁") + "____" if blank else piece for piece, blank in pieces)
        lines.append(text.replace("▁", " ").strip())
        lines.append(f"  masked:     {', '.join(piece(token) for token in of.labels[number][hidden])}")
        lines += [
            f"  alpha {alpha:<5g} {', '.join(piece(token) for token in filled[number][hidden])}"
            for alpha, filled in fills.items()
        ]
        lines.append("")
    return lines


def draw(config: Config, table: Table) -> Figures:
    """Heat maps of the shares that are of the second language, and translations."""
    layers = list(table.values)
    alphas = list(table.values[layers[0]])
    titles = {
        "second": f"blanks filled in {config.second}",
        "translated": "blanks filled with the translation",
    }
    return {
        name: draw_matrix(
            [[table.values[layer][alpha][name] for alpha in alphas] for layer in layers],
            rows=layers,
            columns=alphas,
            title=title,
            labels=("alpha", "added after"),
        )
        for name, title in titles.items()
        if all(np.isfinite(of[name]) for row in table.values.values() for of in row.values())
    }


if __name__ == "__main__":
    main(PRESETS, study=study)
