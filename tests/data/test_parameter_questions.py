"""Questions about parameters: their answers are where they say, and those of other functions have none."""

import numpy as np
import pytest

from ssl_jax.data import parameter_questions as module
from ssl_jax.data import pydocs
from ssl_jax.data.numpydoc import Parameter

CHOSEN = [
    Parameter("axis", "int or None, default=0", "Axis to sum over."),
    Parameter("a", "array_like", ""),
    Parameter("mode", "{'full', 'same'}, optional", "Which of the two."),
]
CONTEXT = (
    "axis : int or None, default=0. Axis to sum over. a : array_like. "
    "mode : {'full', 'same'}, optional. Which of the two."
)


def test_answers_are_parts_of_the_context():
    answers = {}
    for seed in range(40):
        for question, found in module.questions_of(CHOSEN, CONTEXT, "other", np.random.default_rng(seed)):
            assert answers.setdefault(question, found) == found
            for answer in found:
                assert CONTEXT[answer.start :].startswith(answer.text)
    texts = {question: [answer.text for answer in found] for question, found in answers.items()}
    assert texts == {
        "What is the type of axis?": ["int or None"],
        "What is the type of a?": ["array_like"],
        "What is the type of mode?": ["{'full', 'same'}"],
        "What is the default of axis?": ["0"],
        "What is the default of a?": [],
        "What is the default of mode?": [],
        "What is the type of other?": [],
        "What is the default of other?": [],
    }
    assert answers["What is the default of axis?"][0].start == CONTEXT.index("0.")


def test_a_default_that_only_the_description_states_is_not_asked_for():
    """It would be labelled as not there."""
    described = [Parameter(name, "int, optional", "Default is 2.") for name in ("a", "b")]
    context = " ".join(f"{p.name} : {p.kind}. {p.description}" for p in described)
    for seed in range(10):
        made = module.questions_of(described, context, "a", np.random.default_rng(seed))
        assert all("type" in question for question, _ in made)


@pytest.fixture
def documents(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path))
    made = []
    for number in range(200):
        sentences = [pydocs.Sentence(f"Sentence {number} of this one.", "")] * 4
        described = [Parameter(f"p{number}_{i}", f"int, default={i}", "What it is.") for i in range(7)]
        made.append(pydocs.Document(sentences, [described, described], []))
    monkeypatch.setattr(pydocs, "read_packages", lambda: made)


def test_questions_of_the_documentation(documents):
    train, heldout = module.parameter_questions()
    questions = [*train, *heldout]
    assert len({question.id for question in questions}) == len(questions)
    assert len({question.context for question in questions}) == 600  # three pairs of seven parameters, once
    assert 0.1 < np.mean([not question.answers for question in questions]) < 0.4
    for question in questions:
        for answer in question.answers:
            assert question.context[answer.start :].startswith(answer.text)
    assert heldout
    assert not {question.document for question in train} & {question.document for question in heldout}
