"""Questions about the parameters of functions of the installed documentation, with answers in the text or without.

A context describes some parameters, as numpydoc does: "axis : int, optional. Axis to sum over." Questions are for the
type or the default of one of them. A question has no answer if the parameter has no default, or belongs to another
function; about a third of them are of these kinds, as in SQuAD 2.0.
"""

import numpy as np

from ssl_jax.data.labelled_text import Answer, Question
from ssl_jax.data.numpydoc import Parameter
from ssl_jax.data.pretraining_text import HELDOUT_SEED
from ssl_jax.data.pydocs import PyDocs
from ssl_jax.data.section_labels import heldout_documents

PARAMETERS = 2
"""Parameters of a context."""
_DESCRIBED = 6
"""Words of a description."""
_ASKED = 0.4
"""Share of the parameters without a default that are asked for it; most parameters have none."""


def parameter_questions() -> tuple[list[Question], list[Question]]:
    """(training, held-out) questions; documents are held out as in pretraining."""
    documents = PyDocs()
    hashes, heldout = heldout_documents(documents)
    rng = np.random.default_rng(HELDOUT_SEED)
    names = sorted({p.name for of in documents.parameters for described in of for p in described})
    parts: tuple[list[Question], list[Question]] = ([], [])
    seen: set[str] = set()
    for number, docstrings in enumerate(documents.parameters):
        for described in docstrings:
            for first in range(0, len(described) - PARAMETERS + 1, PARAMETERS):
                chosen = described[first : first + PARAMETERS]
                context = " ".join(map(_text, chosen))
                if context in seen:
                    continue
                seen.add(context)
                other = names[rng.integers(len(names))]
                made = questions_of(chosen, context, other, rng)
                for asked, answers in made:
                    parts[int(heldout[number])].append(
                        Question(
                            id=f"{number}-{len(parts[0]) + len(parts[1])}",
                            question=asked,
                            context=context,
                            answers=answers,
                            document=str(hashes[number]),
                            place=f"data source {documents.name!r}, document {number}",
                        )
                    )
    return parts


def questions_of(
    chosen: list[Parameter], context: str, other: str, rng: np.random.Generator
) -> list[tuple[str, tuple[Answer, ...]]]:
    """(question, answers) pairs: of one parameter its type, of one its default, and of another function's either.

    Args:
      chosen: the parameters of the context, in its order.
      context: their text.
      other: name of a parameter of another function.
      rng: chooses.
    """
    starts = np.cumsum([0, *(len(_text(p)) + 1 for p in chosen[:-1])])
    kinds = [int(start) + len(f"{p.name} : ") for start, p in zip(starts, chosen, strict=True)]
    found: list[tuple[str, tuple[Answer, ...]]] = []
    one, another = rng.permutation(len(chosen))[:2]
    if chosen[one].type:
        found.append((f"What is the type of {chosen[one].name}?", (Answer(chosen[one].type, kinds[one]),)))
    default = chosen[another].default
    place = chosen[another].kind.rfind(default) if default else -1
    answers = (Answer(default, kinds[another] + place),) if default and place >= 0 else ()
    stated = "default" in f"{chosen[another].kind} {chosen[another].description}".lower()
    if answers or (not stated and rng.random() < _ASKED):
        found.append((f"What is the default of {chosen[another].name}?", answers))
    if other not in {p.name for p in chosen} and rng.random() < 0.5:
        found.append((f"What is the {('type', 'default')[rng.integers(2)]} of {other}?", ()))
    return found


def _text(parameter: Parameter) -> str:
    description = " ".join(parameter.description.split()[:_DESCRIBED])
    return f"{parameter.name} : {parameter.kind}. {description}".strip()
