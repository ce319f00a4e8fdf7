"""Facts with a blank: which are scored, and the score."""

import numpy as np
import pytest

from ssl_jax.data.tokenizers import WORDPIECE, WordPiece
from ssl_jax.data.word_vocabulary import in_googles_layout
from ssl_jax.errors import UserError
from ssl_jax.evals.cloze import Cloze

PIECES = ["the", "capital", "of", "france", "is", "par", "##is", "rome", "oslo", "."]


@pytest.fixture
def cloze(tmp_path):
    file = tmp_path / "facts.tsv"

    def open_lines(*lines):
        file.write_text("\n".join(["text\tanswer", *lines, ""]))
        return Cloze(str(file), WordPiece(in_googles_layout(PIECES)), length=16)

    return open_lines


def test_answers_of_one_piece_are_scored(cloze):
    facts = cloze(
        "The capital is [MASK].\trome", "The capital is [MASK].\tparis", "[MASK] is the capital\t Oslo "
    )
    assert (facts.texts, facts.scored) == (3, 2)
    rows = []

    def compute(dataset):
        rows.extend(dataset)
        return np.array([0, 3])

    assert facts.score(compute) == (0.5, (1 + 1 / 4) / 2)
    assert [row["tokens"][row["predict_positions"]].tolist() for row in rows] == [[WORDPIECE.mask]] * 2
    assert [PIECES[row["labels"][0] - WORDPIECE.first_regular] for row in rows] == ["rome", "oslo"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (
            "The capital is rome.\trome",
            r"line 2: 'The capital is rome.' with the answer 'rome'; expected a text with",
        ),
        ("[MASK] is [MASK].\trome", "line 2"),
        ("The capital is [MASK].\t ", "line 2"),
        ("The capital is [MASK].\tparis", "none of its 1 answers is a single piece"),
        ("The capital is [MASK].", "line 2: 1 columns; expected 2"),
    ],
)
def test_facts_that_cannot_be_scored(cloze, line, named):
    with pytest.raises(UserError, match=named):
        cloze(line)
