"""Cross-lingual alignment: do translations lie close to each other in a multilingual BERT? (arXiv:2004.09205)

    python -m experiments.crosslingual_alignment                   # offline, English and a fake language
    python -m experiments.crosslingual_alignment ablations         # what matters: positions, depth, masks, length
    python -m experiments.crosslingual_alignment amounts           # 5, 25 and 100 % of the text, two lengths
    python -m experiments.crosslingual_alignment --run runs/ml --sentences en,de=test.tsv --words en,de=dictionary.tsv

A sentence is the mean of its tokens in a layer, a word is encoded alone, and the translations of the other language are
ordered by their cosine. The mean reciprocal rank (MRR) and the share of translations that are first (P@1) are those of
both directions. `centred` subtracts the mean of the training text of each language first. The layer is chosen on half
of the pairs, and the figures are those of the other half. Beside the trained model: the model before its first step
(sentences of one length are similar to it), its table of tokens without context, the tokens that two texts share, and
vectors of CBOW for each language, with the orthogonal map that fits the words of the first half.

alignment.json has every layer and every kept checkpoint, alignment.txt the table; plots/ shows the MRR over the layers
and over the steps.

The default, 3 seeds (2 AMD cores, 27 November 2026; about 4 minutes a seed): MRR of 1,000 held-out sentences 0.34 raw
(0.31 to 0.39) and 0.73 centred (0.73 to 0.74), before training 0.02 and 0.03, by tokens in common 0.003, in a random
order 0.007; it rises from 0.17 centred at step 500. Words, encoded alone: 0.24 raw, 0.26 centred, before training 0.02.
Most of it is in the input of the first layer. CBOW with the map has 0.97 and 0.86: of 348 words with known translations
it learns more than the model does without any.

Languages of a technical handbook, paragraph by paragraph, a model of 2 layers of 128 on some 100,000 words of English
and of German (rows of one sentence, 48 tokens, 4,000 pieces, 2,000 steps of 96 rows, dropout 0.1, 3 seeds, the same
day), median and range: MRR of 110 held-out paragraphs 0.64 centred (0.62 to 0.66), by tokens in common 0.62, before
training 0.53 (0.51 to 0.54); of 500 sentences of the PUD treebanks 0.21 (0.20 to 0.22), 0.39 and 0.32 (0.32 to 0.33).
English and Chinese (85,000 words, 184,000 characters): 0.39 (0.39 to 0.41), 0.33 and 0.40 (0.40 to 0.41); PUD 0.05 in
all three; words by a dictionary 0.01, the map of CBOW 0.02. So little text aligns nothing beyond the pieces that both
languages share, with any of the seeds: more text is needed. The fake language has 0.8 million words each. With 5, 25
and 100 % of these, at equal steps, the MRR is 0.42, 0.74 and 0.74 centred, of words 0.10, 0.24 and 0.28; in rows of
half the length, as many tokens a step, 0.52, 0.74 and 0.80, of words 0.14, 0.29 and 0.32 (seed 0 of `amounts`, 654
sentences that fit into the shorter rows). A twentieth of the text is too little; a quarter is enough.

The ablations, 3 seeds, median and range (the same machine and day, about 50 minutes), MRR centred of 654 sentences that
fit into the shortest rows, and of words: base 0.73 (0.72 to 0.74) and 0.26; a language's own positions 0.17 (0.16 to
0.32) and 0.07 (0.05 to 0.15); 8 layers in place of 2 0.79 (0.65 to 0.81) and 0.25 (0.17 to 0.27); no random words in
place of masked ones 0.69 (0.64 to 0.70) and 0.24 (0.24 to 0.26); half of the length 0.79 (0.64 to 0.80) and 0.31 (0.23
to 0.32). Positions that both languages share are what matters here, as in arXiv:2005.00396; random words help a little,
raw sentences most (0.47, without them 0.37). Depth and length differ by less than their seeds do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiments import multilingual_bert
from ssl_jax.cli import main
from ssl_jax.data.parallel_text import PairSource, read_pairs
from ssl_jax.domains import NonEmptyText, NonNegativeInt, PositiveInt, Settings, Text
from ssl_jax.errors import UserError
from ssl_jax.evals.alignment_plot import draw_alignment
from ssl_jax.recipes.alignment import (
    Translations,
    alignment_of,
    known_sentences,
    known_words,
    translations,
)
from ssl_jax.recipes.mapped_vectors import mapped_scores
from ssl_jax.reports.alignment import alignment_table
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.runs.prerequisites import PlannedRun
from ssl_jax.runs.study import Figures, NamedRun, Runs, Study, Table
from ssl_jax.training.distributed import announce

BASE = "base"
"""The configuration itself, among those that are compared."""
Model = multilingual_bert.Config
VARIANTS: Mapping[str, Any] = {
    BASE: lambda each: each,
    "own_positions": lambda each: replace(
        each,
        own_positions=True,
        model=replace(each.model, positions=each.length * len(each.data.sources)),
    ),
    "deep": lambda each: replace(each, model=replace(each.model, layers=4 * each.model.layers)),
    "no_random_words": lambda each: replace(
        each, masking=replace(each.masking, mask_prob=0.9, random_prob=0.0)
    ),
    "short": lambda each: replace(
        each,
        length=each.length // 2,
        train=replace(each.train, batch_size=2 * each.train.batch_size),
    ),
    "text_5": lambda each: replace(each, data=replace(each.data, training_share=0.05)),
    "text_25": lambda each: replace(each, data=replace(each.data, training_share=0.25)),
}
"""What is changed, by name. Steps, and tokens of a step, are the same in all."""
VARIANTS |= {
    f"{name}_short": lambda each, name=name: VARIANTS["short"](VARIANTS[name](each))
    for name in ("text_5", "text_25")
}


@dataclass(frozen=True)
class Config(Settings):
    """How close translations are, in one model or in several."""

    run: Text = ""
    """A run of experiments.multilingual_bert, or RUN@STEP; empty: the models are trained first."""
    model: Model = multilingual_bert.OFFLINE
    """What is trained."""
    compare: tuple[NonEmptyText, ...] = (BASE,)
    """Changes of the model, each trained by itself: base (none), own_positions (of each language), deep (four times the
    layers), no_random_words (in place of masked words), short (half of the length, as many tokens), text_5
    and text_25 (per cent of the text), text_5_short, text_25_short."""
    repeats: PositiveInt = 1
    """Seeds of each."""
    sentences: tuple[NonEmptyText, ...] = ()
    """Parallel sentences, such as en,de=FILE.tsv with columns of these names, or en,de=FILE,FILE with a sentence a
    line. Empty: held-out sentences of a shifted language, whose translations are known."""
    words: tuple[NonEmptyText, ...] = ()
    """Words and their translations, likewise."""
    most: PositiveInt = 2000
    """Sentences, and words, at most."""
    cbow_steps: NonNegativeInt = 2000
    """Training steps of the CBOW vectors beside the model; 0 for none."""

    def check_relations(self) -> None:
        for name in self.compare:
            if name not in VARIANTS:
                raise UserError(f"compare {name!r}: expected one of {', '.join(VARIANTS)}.")
        if not self.run and not (self.model.data.shifted or self.sentences or self.words):
            raise UserError(
                "sentences: empty, and no language is a shifted one, whose translations are known. Give parallel text "
                "with --sentences or --words."
            )
        for entry in (*self.sentences, *self.words):
            languages = PairSource.parse(entry).languages
            if not self.run and (
                missing := [name for name in languages if name not in self.model.data.names]
            ):
                raise UserError(
                    f"{entry}: {missing[0]} is not a language of the model; expected two of "
                    f"{', '.join(self.model.data.names)}."
                )


OFFLINE = Config()
PRESETS = {
    "tiny": OFFLINE,
    "ablations": replace(
        OFFLINE, compare=(BASE, "own_positions", "deep", "no_random_words", "short"), repeats=3
    ),
    "amounts": replace(
        OFFLINE, compare=("text_5_short", "text_25_short", "short", "text_5", "text_25", BASE)
    ),
}


def study(config: Config) -> Study:
    """The runs and the ranks of translations in each of them."""
    if config.run:
        runs = {"run": NamedRun(config.run, multilingual_bert.__name__)}
    else:
        runs = {
            f"{name}-{seed}": PlannedRun(
                multilingual_bert.__name__,
                "tiny",
                replace(each := VARIANTS[name](config.model), train=replace(each.train, seed=seed)),
            )
            for name in config.compare
            for seed in range(config.model.train.seed, config.model.train.seed + config.repeats)
        }
    return Study("alignment", runs, lambda runs, folder: tabulate(config, runs), draw)


def tabulate(config: Config, runs: Runs) -> Table:
    """Every run at every kept checkpoint, on all translations."""
    # Sentences that fit into the rows of every run, so that all have the same tests.
    length = min(run.config.length for run in runs.values())
    tests = {name: pairs_of(config, run, length) for name, run in runs.items()}
    found = {name: alignment_of(run, tests[name], announce) for name, run in runs.items()}
    if config.cbow_steps:
        name, first = next(iter(runs.items()))
        announce("vectors of CBOW and the map between them")
        mapped = mapped_scores(first.data.details, tests[name], config.cbow_steps)
        for test, scores in mapped.items():
            found[name][test]["mapped"] = scores
    return Table(found, alignment_table(found))


def pairs_of(config: Config, run: OpenedRun, length: int) -> list[Translations]:
    """All translations that a run is tested on, in rows of a length."""
    opened = run.data.details
    tests = [
        translations(
            read_pairs(source := PairSource.parse(entry)), source.languages, kind, opened, length, config.most
        )
        for kind, entries in (("sentences", config.sentences), ("words", config.words))
        for entry in entries
    ]
    for other, base in run.config.data.shifted.items():
        tests.append(known_sentences(opened, base, other, length, config.most))
        tests.append(known_words(opened, base, other, config.most))
    return tests


def draw(table: Table, runs: Runs) -> Figures:
    """The MRR over layers and over steps."""
    return draw_alignment(table.values)


if __name__ == "__main__":
    main(PRESETS, study=study)
