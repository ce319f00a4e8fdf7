"""Word vectors by CBOW beside gensim with the same settings: words per second, and agreement with people.

    tests/parity/run.sh python -m benchmarks.word_vectors --text news.txt [--rounds 3] [--similarity ws353.tsv ...]

Both sides read the same words of the text, a sentence a line, with the 10,000 most frequent words as vocabulary: width
100, windows of 1 to 5 words, 5 noise words, frequent words left out from a share of 1e-3, the rate 0.05 falling to 0.
A turn is an epoch. Words are counted before frequent ones are left out. ssl_jax's side has the rows that the processor
makes while the step runs, as in a run; gensim's has as many workers as there are cores.

gensim is not among the requirements: `pip install gensim` in .venv-parity. Without it, ours alone is timed.
"""

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from etils import epath

from benchmarks.turns import ratio, take_turns
from experiments import cbow
from ssl_jax.evals.word_vectors import read_word_pairs, similarity
from ssl_jax.training.compiling import Program
from ssl_jax.training.loading import training_batches
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", required=True, help="a sentence a line, a blank line between documents")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--similarity", nargs="*", default=[], help=".tsv files with word1, word2 and score")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(arguments, Path(folder))


def compare(arguments, folder):
    """Prints words per second of both sides, and the correlations with people after all turns."""
    epochs = arguments.rounds + 1  # the first one warms up
    ours = Ours(arguments.text, folder, epochs)
    sides = {"ssl_jax": ours}
    if importlib.util.find_spec("gensim"):
        sides["gensim"] = Gensim(ours.sentences, epochs)
    seconds = take_turns(sides, arguments.rounds)
    print(f"epochs of {ours.count:,} words, medians of {arguments.rounds} rounds")
    for name, side in sides.items():
        middle = statistics.median(seconds[name])
        print(
            f"  {name:8} {middle:6.2f} s  {ours.count / middle:10,.0f} words/s  "
            f"{ours.count * len(seconds[name]) / side.processor:10,.0f} words a second of processor time"
        )
    if "gensim" in sides:
        print(f"  ssl_jax is {ratio(seconds['gensim'], seconds['ssl_jax']):.2f} times as fast")
    for file in arguments.similarity:
        pairs = read_word_pairs(file)
        for name, side in sides.items():
            found = similarity(*side.vectors(), pairs, lowercase=True)
            print(f"  {file}: {name} {found.correlation:.3f} on {found.known} of {found.pairs} pairs")


class Turns:
    """A side that trains for an epoch in each turn; the processor time of all but the first is summed."""

    def __init__(self):
        self.turn, self.processor = 0, 0.0

    def __call__(self):
        processor, start = time.process_time(), time.perf_counter()
        self.epoch(self.turn)
        seconds = time.perf_counter() - start
        if self.turn:
            self.processor += time.process_time() - processor
        self.turn += 1
        return seconds


class Ours(Turns):
    """The compiled step of experiments.cbow, on the rows of its data set."""

    def __init__(self, file, folder, epochs):
        super().__init__()
        tiny = cbow.PRESETS["tiny"]
        data = replace(tiny.data, source=file)
        experiment = cbow.build(replace(tiny, data=data))
        tests = experiment.open_data(epath.Path(folder)).details
        self.text, self.count = tests.text, int(tests.text.counts.sum())
        self.steps = tests.text.rows // tiny.train.batch_size
        experiment = cbow.build(replace(tiny, data=data, steps=epochs * self.steps))
        self.batch_size, self.mesh = tiny.train.batch_size, make_mesh(MeshConfig())
        program = Program(experiment, self.mesh)
        self.state, self.step = program.initial_state(), program.train_step(experiment.phases[0])

    @property
    def sentences(self):
        """The same words for gensim, without those that are not in the vocabulary."""
        corpus, pieces = self.text.training_corpus, self.text.tokenizer.pieces
        names = np.array(pieces(range(self.text.tokenizer.vocab_size)))
        first = self.text.tokenizer.special.first_regular
        made = []
        for begin, end in zip(corpus.first_sentence.tolist(), corpus.end_sentence.tolist(), strict=True):
            for number in range(begin, end):
                tokens = corpus.tokens[slice(*corpus.sentence_offsets[number : number + 2])]
                made.append(names[tokens[tokens >= first]].tolist())
        return made

    def epoch(self, turn):
        numbers = range(turn * self.steps, (turn + 1) * self.steps)
        for batch in training_batches(self.text.train, self.batch_size, batch_sharding(self.mesh), numbers):
            self.state, bad = self.step(self.state, batch)
        bad.block_until_ready()

    def vectors(self):
        first, size = self.text.tokenizer.special.first_regular, self.text.tokenizer.vocab_size
        names = self.text.tokenizer.pieces(range(first, size))
        vectors = np.asarray(self.state.params["input"]["embedding"])[first:size]
        return vectors, {name: i for i, name in enumerate(names)}


class Gensim(Turns):
    """gensim's Word2Vec with as many workers as there are cores."""

    def __init__(self, sentences, epochs):
        from gensim.models import Word2Vec

        super().__init__()
        self.sentences, self.epochs = sentences, epochs
        self.model = Word2Vec(
            vector_size=100,
            window=5,
            negative=5,
            sample=1e-3,
            alpha=0.05,
            min_alpha=0,
            sg=0,
            cbow_mean=1,
            min_count=1,
            workers=len(os.sched_getaffinity(0)),
            seed=0,
        )
        self.model.build_vocab(sentences)

    def epoch(self, turn):
        rates = 0.05 * (1 - turn / self.epochs), 0.05 * (1 - (turn + 1) / self.epochs)
        self.model.train(
            self.sentences,
            total_examples=len(self.sentences),
            epochs=1,
            start_alpha=rates[0],
            end_alpha=rates[1],
        )

    def vectors(self):
        return self.model.wv.vectors, self.model.wv.key_to_index


if __name__ == "__main__":
    main()
