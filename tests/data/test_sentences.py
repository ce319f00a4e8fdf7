import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_jax.data.sentences import split_sentences

CASES = {
    "It rained. We left.": ["It rained.", "We left."],
    "Dr. J. R. Smith met Mrs. Jones. They spoke.": ["Dr. J. R. Smith met Mrs. Jones.", "They spoke."],
    "Pi is 3.14. It never ends... Does it? No!": ["Pi is 3.14.", "It never ends...", "Does it?", "No!"],
    "See Fig. 3, e.g. The left part (cf. Eq. 2). Then stop.": [
        "See Fig. 3, e.g. The left part (cf. Eq. 2).",
        "Then stop.",
    ],
    'He said "Stop." Then he left.': ['He said "Stop."', "Then he left."],
    "The U.S. Army came. (It was late. Too late.) All slept.": [
        "The U.S. Army came.",
        "(It was late. Too late.)",
        "All slept.",
    ],
    "1. Open the file. 2. Read it.": ["1. Open the file.", "2. Read it."],
    "numpy.linalg.norm works. use it": ["numpy.linalg.norm works. use it"],
    "So did I. We agreed.": ["So did I.", "We agreed."],
    "Élan vital. Été came.": ["Élan vital.", "Été came."],
    "no end": ["no end"],
    " \n ": [],
}


@pytest.mark.parametrize("text", CASES)
def test_splits_as_a_reader_would(text):
    assert split_sentences(text) == CASES[text]


def test_an_open_bracket_does_not_swallow_the_rest():
    text = "A smiley :( here. " + "This goes on. " * 200
    assert len(split_sentences(text)) > 100


@given(st.text(alphabet='ab A.!?"()[]…1\n\t', max_size=80))
def test_loses_nothing_but_white_space(text):
    assert "".join(split_sentences(text)).replace(" ", "") == "".join(text.split())


@pytest.mark.parametrize(
    "part", ["A. ", "(A. ", "I.", "I. ", "A", ".", '."', '. "', ". ", "1. ", "a ", "[", "\u2026 "], ids=repr
)
def test_the_time_is_proportional_to_the_length_of_a_paragraph(part):
    """A quadratic time is that of hours for a paragraph of 300,000 characters."""
    text = part * (300_000 // len(part)) + "end. The last one."
    sentences = split_sentences(text)
    assert "".join(sentences).replace(" ", "") == text.replace(" ", "")
