"""Contextual similarity: do the embeddings of a word tell its senses? (Ethayarajh 2019, arXiv:1909.00512).

    python -m experiments.contextual_similarity                               # offline: a BERT, a CBOW, then the words
    python -m experiments.contextual_similarity --model runs/bert-longer      # RUN, RUN@STEP or a folder of weights
    python -m experiments.contextual_similarity examples --model BERT_FOLDER --text news.txt     # apple, bank, bat, ...
    python -m experiments.contextual_similarity --model RUN --word apple --sentences apple.tsv   # columns sense, text

For a word in several senses, with some sentences of each: the cosine similarity of its embeddings in all pairs of
sentences, by layer, and the area under the ROC curve (AUC) of pairs of the same sense against pairs of different ones.
All embeddings of a model point in similar directions, so that raw cosines are high; centred ones are those without the
mean of other text. Pairs that share a sentence are not independent: p-values are by permutations of the senses among
the sentences. Beside the layers are the table of tokens (the same vector in all sentences), its mean over the other
tokens of the sentence, the mean of CBOW's vectors of the words around, and an untrained encoder.

The default takes words of the installed documentation whose sense follows from the package: an axis of a plot in
matplotlib, of an array in numpy. Nobody has checked these labels, and packages differ in more than senses.
similarity.txt and similarity.json have the tables, the sentences and the nearest words of held-out text; plots/ has the
cosines of each word, a map of its occurrences, and the AUC by layer.

AUC of raw cosines (seed 0, 2 AMD cores, 26 November 2026; by chance 0.50). The default with learned positions
(--bert.model.position_encoding absolute), mean of 8 words: layers 0, 1 and 2 0.48, 0.57 and 0.59 (p 0.001), untrained
0.49 to 0.50, mean of the table over the context 0.57, of CBOW 0.62: this BERT tells no more than the words around.
`examples` with all-MiniLM-L6-v2, a folder of weights, in layers 1 to 6: apple 0.99 to 1.00, bank 0.94 to 1.00, spring
0.73 to 1.00, crane 0.72 to 0.86, bat 0.59 to 0.70; their mean 0.80, 0.83, then 0.90. There layer 0 has 0.50, the table
0.50, its mean over the context 0.62, untrained layers 0.49 to 0.51. Centring changes no mean of a layer by more than
0.01.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from etils import epath

from experiments import bert as pretraining
from experiments import cbow as word_vectors
from ssl_jax.cli import main
from ssl_jax.data.word_rows import sample_sentences
from ssl_jax.data.word_senses import EXAMPLES, LEAST, Occurrences, documented_words, read_occurrences
from ssl_jax.domains import LARGEST_INT, NonEmptyText, PositiveInt, Settings, Text, integers
from ssl_jax.errors import UserError
from ssl_jax.evals.sense_plots import draw_cosines, draw_layers, draw_map
from ssl_jax.recipes.word_senses import (
    CBOW,
    CONTEXT,
    STATIC,
    Found,
    WordVectors,
    check_words,
    layer_name,
    tell_senses,
)
from ssl_jax.reports.word_senses import (
    marked,
    sense_lines,
    sense_values,
    sentence_lines,
    sentence_values,
)
from ssl_jax.runs.prerequisites import PlannedRun
from ssl_jax.runs.pretrained_encoder import check_encoder, open_encoder
from ssl_jax.runs.study import Figures, NamedRun, Runs, Study, Table

BERT, VECTORS = "bert", "cbow"
"""Names of the runs that are trained first."""


@dataclass(frozen=True)
class Config(Settings):
    """The senses of words by the embeddings of an encoder."""

    model: Text = ""
    """RUN, RUN@STEP or a folder of BERT weights; empty: a BERT is trained first."""
    cbow: Text = ""
    """RUN or RUN@STEP of experiments.cbow to compare with; empty: one is trained first."""
    sentences: tuple[NonEmptyText, ...] = ()
    """.tsv files with the columns sense and text, and word if there are several words; or examples, the sentences that
    come with the program. Empty: held-out sentences of the installed documentation."""
    word: Text = ""
    """The word of files without a column word."""
    per_sense: Annotated[int, integers(LEAST, LARGEST_INT)] = 5
    """Sentences of each sense that are taken of the documentation, at most."""
    text: NonEmptyText = "pydocs"
    """A corpus, as experiments.bert takes it. The means of its training sentences are subtracted from centred
    embeddings; neighbours are looked for in its held-out sentences."""
    text_sentences: PositiveInt = 500
    """Of each of the two, at most."""
    length: Annotated[int, integers(8, 2**20)] = 128
    """Tokens of a row, at most; also at most the positions of the model."""
    untrained: PositiveInt = 3
    """Seeds of the untrained encoder."""
    permutations: PositiveInt = 999
    """Of the senses among the sentences of a word, for the p-values."""
    bert: pretraining.Config = pretraining.OFFLINE
    """What is trained first without `model`."""
    vectors: word_vectors.Config = field(
        default_factory=lambda: replace(word_vectors.PRESETS["tiny"], steps=3000)
    )
    """What is trained first without `cbow`."""

    def check_relations(self) -> None:
        if self.word and not self.sentences:
            raise UserError(f"word {self.word}: give sentences with it, --sentences FILE.")


PRESETS = {"tiny": Config(), EXAMPLES: Config(sentences=(EXAMPLES,))}


def study(config: Config) -> Study:
    """A BERT and a CBOW, unless they are named, and how their embeddings tell the senses of words."""
    runs: dict[str, PlannedRun | NamedRun] = {}
    if not config.model:
        runs[BERT] = PlannedRun(pretraining.__name__, "tiny", config.bert)
    module = word_vectors.__name__
    runs[VECTORS] = (
        NamedRun(config.cbow, module) if config.cbow else PlannedRun(module, "tiny", config.vectors)
    )
    return Study(
        name="similarity",
        runs=runs,
        table=lambda runs, folder: tabulate(config, runs, folder),
        plot=draw,
        check=lambda: check(config),
    )


def check(config: Config) -> None:
    """Raises UserError if the sentences, the text or the model that are named cannot be used."""
    words = open_words(config)
    sample_sentences(config.text, config.text_sentences)
    if config.model:
        model, tokenizer = check_encoder(config.model, "--model")
        check_words(words, tokenizer, min(config.length, model.positions))


def open_words(config: Config) -> Occurrences:
    """The words with their sentences."""
    if config.sentences:
        return read_occurrences(config.sentences, config.word)
    return documented_words(config.per_sense)


def tabulate(config: Config, runs: Runs, folder: epath.Path) -> Table:
    """The areas under the curves of all layers and baselines, with the sentences and the nearest neighbours."""
    encoder = open_encoder(config.model or str(folder / BERT), "--model")
    found = tell_senses(
        encoder,
        WordVectors.of(runs[VECTORS]),
        open_words(config),
        sample_sentences(config.text, config.text_sentences),
        length=min(config.length, encoder.config.positions),
        untrained=config.untrained,
        permutations=config.permutations,
    )
    untrained = {layer_name(layer): seeds for layer, seeds in enumerate(found.untrained)}
    values = sense_values(found.separations, untrained)
    lines = [
        f"Centred embeddings: the mean over the training sentences of {config.text} is subtracted. p: of the mean AUC,",
        f"by {config.permutations} permutations of the senses among the sentences of a word. untrained: the median of "
        f"{config.untrained} seeds.",
        f"The {STATIC} of a word is the same in all sentences that write it with the same pieces: all pairs tie.",
        "",
        *sense_lines(values),
        *sentence_lines(found.words, found.neighbours),
    ]
    return Table(values | sentence_values(found.words, found.neighbours), lines, details=found)


def draw(table: Table, runs: Runs) -> Figures:
    """The areas by layer, and for each word the cosines of its occurrences and a map of them."""
    found: Found = table.details
    layers = [layer_name(number) for number in range(len(found.layers))]
    figures: dict[str, Any] = {"auc": draw_layers(table.values, layers, (STATIC, CONTEXT, CBOW))}
    for word, (rows, senses) in found.groups.items():
        file = re.sub(r"\W+", "_", word)
        own = [(layer.vectors[rows], layer.centre) for layer in found.layers]
        names = list(dict.fromkeys(each.sense for each in found.words[word]))
        sentences = [marked(each.text, each.start, each.end, width=48) for each in found.words[word]]
        figures[f"{file}_cosines"] = draw_cosines(word, own, senses, sentences, names)
        figures[f"{file}_map"] = draw_map(word, own, senses, names)
    return figures


if __name__ == "__main__":
    main(PRESETS, study=study)
