"""Parameters that docstrings describe, and statements whose labels follow from their types."""

from collections import Counter

import numpy as np
import pytest

from ssl_jax.data import parameter_pairs as module
from ssl_jax.data import pydocs
from ssl_jax.data.numpydoc import Parameter, parameters

DOCSTRING = """Sum the elements.

Parameters
----------
a : array_like
    The :class:`~numpy.ndarray` to
    sum.

    More of it.
axis, out : int or None, optional
    Two at once are not read.
axis : int or None, optional
    Axis to sum over.
*where : {'a', 'b'}, default='a'
mode : str, optional (default: "full")
not a parameter
    x : int

Returns
-------
sum : float
    It is no parameter.

Other Parameters
----------------
tol : float, default=1e-3
    Tolerance.
"""


def test_parameters_of_a_docstring():
    assert parameters(DOCSTRING) == [
        Parameter("a", "array_like", "The ndarray to sum."),
        Parameter("axis", "int or None, optional", "Axis to sum over."),
        Parameter("where", "{'a', 'b'}, default='a'", ""),
        Parameter("mode", 'str, optional (default: "full")', ""),
        Parameter("tol", "float, default=1e-3", "Tolerance."),
    ]


@pytest.mark.parametrize(
    ("kind", "optional", "type", "default"),
    [
        ("int or None, optional", True, "int or None", None),
        ("bool, default=True", True, "bool", "True"),
        ('str, optional (default: "full")', True, "str", '"full"'),
        ("float, default is 0.5.", True, "float", "0.5"),
        ("int, defaults to -1", True, "int", "-1"),
        ("array_like", False, "array_like", None),
        ("float, default=np.finfo(float).eps", True, "float", "np.finfo(float).eps"),
        ("str, default ', ', optional", True, "str", "', '"),
        ("int, default the same as `x`", True, "int", None),
        ("tuple, default=(1, 2)", True, "tuple", None),
    ],
)
def test_what_a_type_says(kind, optional, type, default):
    parameter = Parameter("x", kind, "")
    assert (parameter.optional, parameter.type, parameter.default) == (optional, type, default)


def test_labels_of_statements():
    found = dict(module.statements(Parameter("x", "int or array-like of shape (n,), optional", "")))
    assert found["{} can be a number."] == found["{} can be an array."] == "entailment"
    assert found["{} can be a text."] == found["{} can be None."] == "contradiction"
    assert (found["{} may be omitted."], found["{} must be given."]) == ("entailment", "contradiction")
    by_default = dict(module.statements(Parameter("x", "dict, default=None", "")))
    assert (by_default["{} can be None."], by_default["{} can be a text."]) == ("entailment", "contradiction")
    unknown = dict(module.statements(Parameter("x", "dtype", "")))
    assert unknown.pop("{} may be omitted.") == "contradiction"
    assert unknown.pop("{} must be given.") == "entailment"
    assert {*unknown.values()} == {"neutral"}
    assert dict(module.statements(Parameter("x", "points", "")))["{} can be a number."] == "neutral"


@pytest.mark.parametrize(
    ("kind", "true"),
    [
        ("list of str or None", {"a list or a tuple", "None"}),
        ("(float, float)", set()),
        ("int, dtype=float", {"a number"}),
        ("{'full', 'same'} or bool", {"a text", "a truth value"}),
        ("dict of {str: array}", {"a dictionary"}),
        ("array_like of bool", {"an array"}),
    ],
)
def test_kinds_of_values(kind, true):
    """What is in a list or an array is not what the parameter can be."""
    found = dict(module.statements(Parameter("x", kind, "")))
    assert {statement for statement, label in found.items() if label == "entailment"} == {
        *(f"{{}} can be {name}." for name in true),
        "{} must be given.",
    }


@pytest.mark.parametrize(
    ("kind", "description", "left_out"),
    [
        ("int", "If None, all of them.", {"{} can be None.", "{} may be omitted.", "{} must be given."}),
        ("int", "Optional number of rows.", {"{} may be omitted.", "{} must be given."}),
        ("int, optional", "By default all.", set()),
        ("array_like", "", {"{} can be a list or a tuple."}),
    ],
)
def test_no_statement_about_which_the_description_says_more_than_the_type(kind, description, left_out):
    plain = dict(module.statements(Parameter("x", "int", "")))
    assert plain.keys() - dict(module.statements(Parameter("x", kind, description))) == left_out


@pytest.fixture
def documents(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path))
    chance = np.random.default_rng(0)
    kinds = [
        "int",
        "str, optional",
        "bool or None",
        "array_like, optional",
        "dtype",
        "Axes",
        "callable",
        "list",
    ]
    made = []
    for number in range(300):
        sentences = [pydocs.Sentence(f"Sentence {number} of this one.", "")] * 4
        described = [Parameter(f"p{number}_{i}", str(chance.choice(kinds)), "What it is.") for i in range(4)]
        made.append(pydocs.Document(sentences, [described, described], []))
    monkeypatch.setattr(pydocs, "read_packages", lambda: made)


def test_a_statement_alone_says_nothing_of_its_label(documents, monkeypatch):
    monkeypatch.setattr(module, "LABELLED", 100_000)
    train, heldout = module.parameter_pairs()
    for part in (train, heldout):
        statements = {(example.text.split(" :")[0], example.second): example.label for example in part}
        assert len(statements) == len(part)  # none is there twice
        by_statement = {}
        for example in part:
            name = example.text.split(" :")[0]
            by_statement.setdefault(example.second.removeprefix(name), Counter())[example.label] += 1
        assert len(by_statement) == 10
        assert all(len({*counts.values()}) == 1 and len(counts) > 1 for counts in by_statement.values())
    assert not {example.document for example in train} & {example.document for example in heldout}
    assert {example.label for example in train} == {*module.RELATIONS}
    monkeypatch.setattr(module, "LABELLED", 50)
    assert module.parameter_pairs() == (train[:50], heldout)
