"""How well embeddings tell the senses of words: an encoder by layer, beside its table, untrained ones, and CBOW."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from ssl_jax.data.tokenizer_files import find_tokenizer
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.data.word_senses import Occurrence, Occurrences
from ssl_jax.evals.neighbours import nearest
from ssl_jax.evals.sense_pairs import Group, Neighbour, Separation, separation
from ssl_jax.recipes.word_embeddings import (
    Embeddings,
    EncoderEmbeddings,
    embed_all_words,
    embed_contexts,
    embed_words,
    rows_of,
)
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.runs.pretrained_encoder import PretrainedEncoder
from ssl_jax.training.sharding import replicated

STATIC, CONTEXT, CBOW = "static embedding", "static, mean of context", "CBOW, mean of context"
"""Names of the baselines."""
NEIGHBOURS = 3
"""Of each word that is looked up."""

BothKinds = Mapping[str, Separation]
"""`raw` and `centred`."""


class WordVectors(NamedTuple):
    """Of a CBOW run.

    Attributes:
      vectors: float32 `[words, width]`.
      tokenizer: of the words.
      window: words on each side that the run predicts a word from, at most.
    """

    vectors: np.ndarray
    tokenizer: Tokenizer
    window: int

    @classmethod
    def of(cls, run: OpenedRun) -> "WordVectors":
        """Those of an opened run."""
        file = find_tokenizer(run.folder)
        assert file is not None, "a run that is opened has a tokenizer"
        vectors = jax.device_put(run.restore()["params"]["input"]["embedding"], replicated(run.mesh))
        return cls(np.asarray(vectors), file.open(), run.config.window)


class Found(NamedTuple):
    """What is found out about an encoder.

    Attributes:
      words: the occurrences of each word.
      groups: of each word, its rows among the embeddings.
      layers: the embeddings of each layer, from the input of the first one on.
      separations: by name: the baselines, and each layer.
      untrained: of each layer, for each seed of an untrained encoder.
      neighbours: for each word and sense, the sentence that is looked up and its neighbours.
    """

    words: Occurrences
    groups: Mapping[str, Group]
    layers: Sequence[Embeddings]
    separations: Mapping[str, BothKinds]
    untrained: Sequence[Sequence[BothKinds]]
    neighbours: Mapping[str, Mapping[str, tuple[Occurrence, Sequence[Neighbour]]]]


def layer_name(layer: int) -> str:
    """Of the input of the first layer, 0, or of the output of a layer."""
    return "layer 0 (input)" if layer == 0 else f"layer {layer}"


def check_words(words: Occurrences, tokenizer: Tokenizer, length: int) -> None:
    """Raises UserError if a tokenizer does not know one of the words, or a row has no room for it; see `word_rows`."""
    rows_of([each for of in words.values() for each in of], tokenizer, length)


def tell_senses(
    encoder: PretrainedEncoder,
    word_vectors: WordVectors,
    words: Occurrences,
    text: tuple[Sequence[str], Sequence[str]],
    *,
    length: int,
    untrained: int,
    permutations: int,
) -> Found:
    """Compares the embeddings of words in their sentences.

    Args:
      encoder: whose embeddings are compared.
      word_vectors: of the baseline.
      words: with their sentences.
      text: training sentences, for the means that are subtracted, and held-out sentences, for the neighbours.
      length: tokens of a row, at most.
      untrained: number of seeds of an untrained encoder.
      permutations: see `separation`.

    Raises:
      UserError: the vocabulary of the encoder does not have a word.
    """
    training, heldout = text
    occurrences = [each for of in words.values() for each in of]
    groups = groups_of(words)

    def both(embeddings: Embeddings) -> BothKinds:
        vectors, centre = embeddings
        return {
            "raw": separation(vectors, None, groups, permutations),
            "centred": separation(vectors, centre, groups, permutations),
        }

    own = embed_words(encoder, occurrences, training, length)
    contexts = embed_contexts(*word_vectors, occurrences, training)
    baselines = {STATIC: own.static, CONTEXT: own.context, CBOW: contexts}
    layers = {layer_name(number): layer for number, layer in enumerate(own.layers)}
    random: list[EncoderEmbeddings] = [
        embed_words(encoder.at_random(seed), occurrences, training, length) for seed in range(untrained)
    ]
    return Found(
        words,
        groups,
        own.layers,
        {name: both(of) for name, of in (baselines | layers).items()},
        [[both(of.layers[layer]) for of in random] for layer in range(len(own.layers))],
        find_neighbours(encoder, words, own.layers[-1], heldout, length),
    )


def groups_of(words: Occurrences) -> dict[str, Group]:
    """The rows and the senses, by number, of each word."""
    groups, first = {}, 0
    for word, occurrences in words.items():
        senses = list(dict.fromkeys(each.sense for each in occurrences))
        numbers = np.array([senses.index(each.sense) for each in occurrences])
        groups[word] = Group(slice(first, first + len(occurrences)), numbers)
        first += len(occurrences)
    return groups


def find_neighbours(
    encoder: PretrainedEncoder, words: Occurrences, last: Embeddings, texts: Sequence[str], length: int
) -> dict[str, dict[str, tuple[Occurrence, list[Neighbour]]]]:
    """For the first sentence of each sense of each word, the nearest words of a text by their centred embeddings.

    Args:
      encoder: the model.
      words: to look up.
      last: embeddings of all occurrences in the last layer.
      texts: sentences to look in; a sentence that is looked up is left out.
      length: tokens of a row, at most.
    """
    own = {each.text for occurrences in words.values() for each in occurrences}
    texts = [text for text in texts if text not in own]
    if not texts:
        return {}
    vectors, places = embed_all_words(encoder, texts, length)
    bank = (vectors - last.centre).astype(np.float32)
    queries = (last.vectors - last.centre).astype(np.float32)
    order = nearest(bank, queries, min(NEIGHBOURS, len(bank)))
    found: dict[str, dict[str, tuple[Occurrence, list[Neighbour]]]] = {}
    row = 0
    for word, occurrences in words.items():
        of = found.setdefault(word, {})
        for each in occurrences:
            if each.sense not in of:
                near = [
                    Neighbour(_cosine(queries[row], bank[i]), texts[places[i][0]], *places[i][1:])
                    for i in order[row]
                ]
                of[each.sense] = each, near
            row += 1
    return found


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))
