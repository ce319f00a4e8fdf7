"""Functions by hash into splits, sequences to the letter, and the ideal learner against an enumeration."""

import itertools
from collections import Counter
from fractions import Fraction

import grain
import numpy as np
import pytest

from ssl_jax.data import functions as functions_module
from ssl_jax.data.functions import (
    Dialects,
    FunctionSequences,
    Substitutions,
    draw_queries,
    shown_before,
    split_of,
)
from ssl_jax.errors import UserError

SPLITS = ("train", "validation", "test")
LETTERS = Substitutions(5)
WORDS = Dialects(classes=3, words=2, dialects=3)


def all_functions(family):
    """Every function of a small family, with nothing of how the family draws them."""
    if isinstance(family, Substitutions):
        return [np.array(f) for f in itertools.permutations(range(family.inputs))]
    return [
        np.array([word * 3 + of_class[word // 2] for word in range(6)])
        for of_class in itertools.product(range(3), repeat=3)
    ]


def sequences(split, count=40, families=(LETTERS, WORDS), pairs=10):
    make = FunctionSequences(families, pairs, split)
    return make, list(grain.MapDataset.range(count).seed(3).random_map(make))


@pytest.mark.parametrize("family", [LETTERS, WORDS], ids=["substitution", "dialect"])
def test_families_draw_all_functions_alike(family):
    rng = np.random.default_rng(0)
    drawn = Counter(tuple(family.draw(rng).tolist()) for _ in range(20_000))
    wanted = {tuple(f.tolist()) for f in all_functions(family)}
    assert drawn.keys() == wanted == {tuple(f) for f in family.functions().tolist()}
    assert family.count == len(wanted)
    expected = 20_000 / len(wanted)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in drawn.values())
    assert all(min(f) >= 0 and max(f) < family.outputs for f in wanted)


def test_no_function_is_in_two_splits():
    functions = [tuple(f.tolist()) for f in all_functions(WORDS)]
    found = {}
    for split in SPLITS:
        make, rows = sequences(split, 400, (WORDS,), 40)  # long enough to show all six words
        found[split] = set()
        for row in rows:
            _, queries, answers = make.read(row)
            values = dict(zip(queries.tolist(), answers.tolist(), strict=True))
            found[split].add(tuple(values[word] for word in range(6)))
        assert found[split] == {f for f in functions if split_of(WORDS, np.array(f)) == split}
    assert all(found.values())
    assert sum(map(len, found.values())) == len(functions) == len(set.union(*found.values()))


def test_the_share_of_each_split():
    rng = np.random.default_rng(0)
    parts = Counter(split_of(LETTERS, Substitutions(16).draw(rng)) for _ in range(4000))
    for split, share in {"train": 0.7, "validation": 0.15, "test": 0.15}.items():
        assert parts[split] / 4000 == pytest.approx(share, abs=0.025)


def test_a_sequence_to_the_letter():
    class Fixed(Substitutions):
        def draw(self, rng):
            return np.array([2, 0, 1])

    make = FunctionSequences((WORDS, Fixed(3)), 4, split_of(Fixed(3), np.array([2, 0, 1])))
    assert (make.length, make.vocab_size) == (9, 1 + 2 + (6 + 18) + (3 + 3))
    row = next(row for i in range(99) if (row := make(0, np.random.default_rng(i)))["label"] == 1)
    x, y = 3 + 24, 3 + 24 + 3  # first tokens of the inputs and of the outputs
    queries = row["tokens"][1::2] - x
    assert row["tokens"].tolist() == [2, *itertools.chain(*((x + q, y + [2, 0, 1][q]) for q in queries))]
    family, again, answers = make.read(row)
    assert (family.name, again.tolist()) == ("substitution", queries.tolist())
    assert answers.tolist() == [[2, 0, 1][q] for q in queries]
    index = next(i for i in range(99) if make(0, np.random.default_rng(i))["label"] == 1)
    ideal = make.with_ideal(0, np.random.default_rng(index))
    assert ideal["tokens"].tolist() == row["tokens"].tolist()
    assert ideal["shown"].tolist() == [int(q in queries[:i]) for i, q in enumerate(queries)]


def test_sequences_are_functions_of_seed_and_index():
    _, rows = sequences("train", 6)
    _, again = sequences("train", 6)
    for row, same in zip(rows, again, strict=True):
        assert row["tokens"].tolist() == same["tokens"].tolist()
    assert len({row["tokens"].tobytes() for row in rows}) == len(rows)
    assert {int(row["label"]) for row in sequences("train")[1]} == {0, 1}


@pytest.mark.parametrize("split", SPLITS)
def test_answers_follow_from_one_function_of_the_split(split):
    make, rows = sequences(split)
    for row in rows:
        family, queries, answers = make.read(row)
        assert any(
            (f[queries] == answers).all() and split_of(family, f) == split for f in all_functions(family)
        )


def test_half_of_the_queries_were_shown():
    rng = np.random.default_rng(0)
    shown = np.stack([shown_before(draw_queries(30, 12, rng)) for _ in range(2000)])
    assert not shown[:, 0].any()
    np.testing.assert_allclose(shown[:, 1:].mean(0), 0.5, atol=0.05)
    small = np.stack([shown_before(draw_queries(5, 40, rng)) for _ in range(50)])
    assert ((~small).sum(1) == 5).all()  # every symbol is new once


def test_training_sequences_keep_to_some_of_the_inputs():
    make = FunctionSequences((Substitutions(6),), 40, "train", few_inputs=True)
    rng = np.random.default_rng(0)
    counts = Counter(len(set(make.read(make(i, rng))[1])) for i in range(600))
    assert sorted(counts) == [2, 3, 4, 5, 6]
    assert all(90 < count < 150 for count in counts.values())  # 120 of each, within three deviations


@pytest.mark.parametrize("family", [LETTERS, Substitutions(3), WORDS], ids=["five", "three", "words"])
def test_the_ideal_learner_by_enumeration(family):
    """The largest posterior probability of an answer, when all functions are equally likely before."""
    functions = all_functions(family)
    rng = np.random.default_rng(1)
    for _ in range(10):
        queries = draw_queries(family.inputs, 9, rng)
        answers = family.draw(rng)[queries]
        wanted = []
        for pair, query in enumerate(queries):
            consistent = [f for f in functions if (f[queries[:pair]] == answers[:pair]).all()]
            counts = Counter(f[query] for f in consistent)
            wanted.append(Fraction(max(counts.values()), len(consistent)))
        np.testing.assert_allclose(family.ideal(queries, answers), [float(chance) for chance in wanted])


@pytest.mark.parametrize("family", [LETTERS, WORDS], ids=["substitution", "dialect"])
@pytest.mark.parametrize("split", SPLITS)
def test_the_ideal_learner_of_a_split_by_enumeration(family, split):
    """As above, when the functions of the split are equally likely and no others are possible."""
    own = [f for f in all_functions(family) if split_of(family, f) == split]
    make = FunctionSequences((family,), 9, split)
    numbers = {}
    for seed in range(10):
        row = make.with_ideal(0, np.random.default_rng(seed))
        _, queries, answers = make.read(row)
        wanted = []
        for pair, query in enumerate(queries):
            left = [f for f in own if (f[queries[:pair]] == answers[:pair]).all()]
            wanted.append(max(Counter(f[query] for f in left).values()) / len(left))
        np.testing.assert_allclose(row["ideal"], wanted, rtol=1e-6)
        if len(set(queries)) == family.inputs:
            numbers.setdefault(tuple(dict(sorted(zip(queries, answers, strict=True))).values()), set()).add(
                int(row["function"])
            )
    assert all(len(same) == 1 for same in numbers.values())


def test_the_ideal_learner_of_a_family_too_large_to_list(monkeypatch):
    monkeypatch.setattr(functions_module, "MOST_FUNCTIONS", 26)
    make = FunctionSequences((WORDS,), 9, "train")
    row = make.with_ideal(0, np.random.default_rng(0))
    np.testing.assert_allclose(row["ideal"], WORDS.ideal(*make.read(row)[1:]), rtol=1e-6)


def test_a_sequence_of_one_pair():
    with pytest.raises(UserError, match="sequences of 1 examples: there must be at least 2"):
        FunctionSequences((WORDS,), 1, "train")
