"""What masked language models have learnt at each checkpoint: classes of words, probes of layers, facts."""

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssl_jax.data.code_words import code_words
from ssl_jax.data.pretraining_text import PretrainingText
from ssl_jax.data.tagged_words import read_tagged_words
from ssl_jax.data.word_classes import coarse_class, read_classes, tag_by_lists
from ssl_jax.data.word_places import TaggedTexts, corpus_sentences, find_tagged, running_text
from ssl_jax.domains import NonEmptyText, PositiveInt, Settings, Text
from ssl_jax.errors import UserError
from ssl_jax.evals.cloze import Cloze, read_cloze
from ssl_jax.evals.embryology import Classed, Found
from ssl_jax.evals.learning_curves import choose_words
from ssl_jax.evals.ngram_baselines import leading_documents
from ssl_jax.evals.whole_word_masking import WholeWords
from ssl_jax.evals.word_ngrams import WordNgrams
from ssl_jax.evals.word_probes import ProbedWords, word_vectors
from ssl_jax.recipes.tagged_words import OFFLINE
from ssl_jax.runs.masked_language_models import BATCH, MaskedLanguageModel, masked_language_model
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.training.distributed import announce
from ssl_jax.training.mapping import MapFunction, batch_of_all_devices, map_examples

COUNTED_TOKENS = 20_000_000
"""Frequencies and n-grams are counted in this much of the training text at most."""
LIST_SENTENCES = 5_000
"""Held-out sentences whose words are classed by lists."""
MOST_CANDIDATES = 50_000
"""Words that those of each class are chosen from."""
LEAST_WORDS = 20
"""Words of a class, for the class to be measured."""


@dataclass(frozen=True)
class MeasuresConfig(Settings):
    """What is measured at each checkpoint."""

    tagged: Text = ""
    """A CoNLL file, a word and its tag a line, or a .conllu treebank, of text that the runs have held out; empty: the
    held-out text itself, with classes by closed lists of English words."""
    classes: Text = ""
    """A .tsv file with the columns tag and class; empty: parts of speech by the tags of the Brown corpus, the Penn
    Treebank or Universal Dependencies."""
    all_tagged: bool = False
    """Whether all sentences of `tagged` count, whatever the runs have held out, for text that no run was trained on."""
    words_per_class: PositiveInt = 300
    """Words of each class, a choice by chance; half as many more are chosen for accuracies at equal frequency."""
    probes: tuple[NonEmptyText, ...] = (f"code={OFFLINE}",)
    """NAME=FILE, a file of tagged words as `tagged`, whose tags are predicted from the vectors of every layer.
    NAME=pydocs: which words of the installed documentation are code."""
    probe_sentences: PositiveInt = 800
    """Sentences of each file that are probed, a choice by chance."""
    cloze: Text = ""
    """A .tsv file with the columns text, which has [MASK] once, and answer."""

    def check_relations(self) -> None:
        names = [probe.partition("=")[0] for probe in self.probes]
        for probe in self.probes:
            name, _, file = probe.partition("=")
            if not name or not file or names.count(name) > 1:
                raise UserError(
                    f"probes {probe!r}: expected NAME=FILE, each NAME once, such as pos=words.conll."
                )


def check_files(config: MeasuresConfig) -> None:
    """Raises UserError if a file that is named cannot be read as what it should be."""
    for file in (config.tagged, *(probe.partition("=")[2] for probe in config.probes)):
        if file and file != OFFLINE:
            read_tagged_words(file)
    if config.classes:
        read_classes(config.classes)
    if config.cloze:
        read_cloze(config.cloze)


class Measures:
    """What is measured of each model, opened for runs on the same text.

    Args:
      config: what is measured.
      runs: by name.

    Attributes:
      classed: the words.
      probes: of the layers.
      cloze: the facts; None if there are none.

    Raises:
      UserError: the runs differ in their text or tokenizer, a file cannot be read, or nothing of it can be measured.
    """

    def __init__(self, config: MeasuresConfig, runs: dict[str, OpenedRun]):
        self._models = {name: masked_language_model(run) for name, run in runs.items()}
        first = next(iter(self._models.values()))
        text: PretrainingText = first.run.data.details
        for name, run in runs.items():
            if run.data.identity != first.run.data.identity:
                raise UserError(
                    f"{name}: its text or its tokenizer differs from that of {first.run.folder}; expected runs that "
                    "differ in their seeds alone."
                )
        length = min(model.length for model in self._models.values())
        # Files first, because they are the user's and quickly read.
        self.probes = [open_probe(probe, first, length, config.probe_sentences) for probe in config.probes]
        self.cloze = Cloze(config.cloze, first.tokenizer, length) if config.cloze else None
        self.classed = open_classes(config, first, text, length)
        self._vectors = {name: word_vectors(run.config.model) for name, run in runs.items()}

    def at(self, name: str, step: int) -> Found:
        """What a run has learnt at a checkpoint."""
        model = self._models[name]
        variables = model.run.restore(step)
        compute = model.compute(variables)
        predicted, reconstructed = (
            self.classed.words.ranks(compute, masked=masked) == 0 for masked in (True, False)
        )
        announce(
            f"{name}, step {step:,}: {predicted.mean():.1%} of the words predicted, {reconstructed.mean():.1%} "
            "reconstructed"
        )
        cloze = self.cloze.score(compute) if self.cloze else None
        return Found(predicted, reconstructed, self._probe(name, variables), cloze)

    def untrained(self, name: str) -> dict[str, list[float]]:
        """The probes of a run's model as it is initialised at random."""
        return self._probe(name, self._models[name].run.program.initial_state().variables)

    def _probe(self, name: str, variables: Any) -> dict[str, list[float]]:
        run, function = self._models[name].run, self._vectors[name]
        return {probe.name: probe.accuracies(_mapped(run, function, variables)) for probe in self.probes}


def _mapped(run: OpenedRun, function: MapFunction, variables: Any) -> Any:
    batch_size = batch_of_all_devices(BATCH, run.mesh)
    return lambda dataset: map_examples(function, variables, dataset, mesh=run.mesh, batch_size=batch_size)


def open_probe(probe: str, model: MaskedLanguageModel, length: int, sentences: int) -> ProbedWords:
    """The words of a probe, NAME=FILE. UserError if the file cannot be read, or has too few words or tags."""
    name, _, file = probe.partition("=")
    tagged = [*itertools.chain(*code_words())] if file == OFFLINE else read_tagged_words(file)
    found = ProbedWords(name, tagged, model.tokenizer, length, sentences)
    announce(
        f"probe {name}: {found.tags} tags, {found.training:,} training words and {found.tests:,} test words, of which "
        f"the most frequent tag of each word is right for {found.baseline:.1%}"
    )
    return found


def open_classes(
    config: MeasuresConfig, model: MaskedLanguageModel, text: PretrainingText, length: int
) -> Classed:
    """Held-out words of each class, with their frequencies and the n-gram baseline.

    Raises:
      UserError: `tagged` cannot be read, none of its sentences is held out, or no class has enough words.
    """
    heldout = corpus_sentences(text.heldout_corpus, model.tokenizer)
    if config.tagged:
        tagged = _find(config, heldout)
        class_of = read_classes(config.classes) if config.classes else coarse_class
        names = [class_of(tag) for tag in tagged.tags]
    else:
        sentences = [*dict.fromkeys(itertools.islice(heldout, LIST_SENTENCES))]
        tagged = find_tagged([*map(tag_by_lists, sentences)], sentences)
        names = tagged.tags
    known = np.array([name or "" for name in names], object)
    candidates = np.random.default_rng(0).permutation(np.flatnonzero(known != ""))[:MOST_CANDIDATES]
    places, known = tagged.places[candidates], known[candidates]
    scored = WholeWords(tagged.texts, places, model.tokenizer, length).scored
    places, known = places[scored], known[scored]
    ngrams = WordNgrams(leading_documents(text.training_corpus, COUNTED_TOKENS), model.tokenizer)
    counts = WholeWords(tagged.texts, places, model.tokenizer, length).ranks(ngrams.counts)
    chosen, as_they_are = choose_words(known, counts, config.words_per_class, LEAST_WORDS)
    if not len(chosen):
        kinds = ", ".join(tag for tag, _ in Counter(tagged.tags).most_common(10))
        raise UserError(
            f"{config.tagged or 'the held-out text'}: no class has {LEAST_WORDS} words (the most frequent tags are "
            f"{kinds}). Give more text, or the classes of its tags with --measures.classes."
        )
    words = WholeWords(tagged.texts, places[chosen], model.tokenizer, length)
    classed = Classed(
        words,
        known[chosen],
        counts[chosen],
        words.ranks(ngrams.ranks) == 0,
        as_they_are,
        len({*places[chosen, 0].tolist()}),
    )
    announce(
        f"{len(classed.names):,} held-out words of {len({*classed.names})} classes in {classed.sentences:,} sentences; "
        f"the n-gram baseline predicts {classed.n_gram.mean():.1%}"
    )
    return classed


def _find(config: MeasuresConfig, heldout: Any) -> TaggedTexts:
    """The tagged sentences: those that are in the held-out text, or all."""
    sentences = read_tagged_words(config.tagged)
    if config.all_tagged:
        return find_tagged(sentences, (running_text(sentence.words) for sentence in sentences))
    tagged = find_tagged(sentences, heldout)
    announce(f"{config.tagged}: {tagged.found:,} of {len(sentences):,} sentences are in the held-out text")
    if not tagged.texts:
        raise UserError(
            f"{config.tagged}: none of its {len(sentences):,} sentences is in the text that the runs have held out. "
            "Give tagged sentences of that text, or --measures.all_tagged True if the runs were not trained on these."
        )
    return tagged
