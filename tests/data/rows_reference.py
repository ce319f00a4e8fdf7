"""The golden vectors of `tests/parity/make_golden_rows.py`, and the tokenizer that they were made with."""

import json
from pathlib import Path

from ssl_jax.data.labelled_text import Question
from ssl_jax.data.squad import read_squad
from ssl_jax.data.tokenizers import WordPiece

GOLDEN = json.loads((Path(__file__).parent / "golden" / "fine_tuning_rows.json").read_text())
_UNUSED = [f"[unused{i}]" for i in range(104)]
_UNUSED[0], _UNUSED[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDPIECE = WordPiece([*_UNUSED, *GOLDEN["vocabulary"]])


def questions(dataset: dict, folder: Path) -> list[Question]:
    """The questions of a data set in SQuAD's layout."""
    file = folder / "data.json"
    file.write_text(json.dumps(dataset))
    return read_squad(str(file))
