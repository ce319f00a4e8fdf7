"""Questions with their answers as parts of a text: SQuAD's JSON, versions 1.1 and 2.0, and such TFDS data sets."""

from typing import Any, TypeVar

from ssl_jax.data.labelled_tables import open_rows
from ssl_jax.data.labelled_text import Answer, Question
from ssl_jax.data.lines import read_lines
from ssl_jax.data.vocabularies import parse_json
from ssl_jax.errors import UserError

Kind = TypeVar("Kind")

_KINDS = {list: "a list", str: "a text", int: "an integer", bool: "true or false"}


def read_squad(spec: str) -> list[Question]:
    """Reads questions.

    Args:
      spec: a .json file in the layout of SQuAD 1.1 or 2.0, or `tfds:squad:split`, `tfds:squad/v2.0:split` or another
        data set with these fields. Without `answers`, a question's answers are not known. A question with an empty
        list of answers has none (version 2.0).

    Raises:
      UserError: the file has another layout or no question, two questions have the same id, or an answer is not where
        the file says that it is; the message names the question.
    """
    if spec.startswith("tfds:"):
        questions = _tfds(spec)
    elif spec.lower().endswith(".json"):
        questions = _json(spec)
    else:
        raise UserError(
            f"data source {spec!r}: expected a .json file in SQuAD's layout, or tfds:squad:split or the like."
        )
    if not questions:
        raise UserError(f"data source {spec!r}: it has no question.")
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise UserError(f"{question.place}: another question has the same id; expected distinct ones.")
        seen.add(question.id)
    return questions


def _json(name: str) -> list[Question]:
    source = f"data source {name!r}"
    try:
        content = parse_json("\n".join(read_lines(name)))
    except ValueError as error:
        raise UserError(f"{source}: not JSON ({error}).") from None
    questions = []
    for number, article in enumerate(_get(content, "data", list, source), 1):
        where = f"{source}, article {number}"
        title = _get(article, "title", str, where, "") or f"article {number}"
        for paragraph in _get(article, "paragraphs", list, where):
            context = _get(paragraph, "context", str, where)
            for entry in _get(paragraph, "qas", list, where):
                place = f"{source}, question {_get(entry, 'id', str, where)!r}"
                found = _get(entry, "answers", list, place, [])
                answers = _answers(
                    [(_get(one, "text", str, place), _get(one, "answer_start", int, place)) for one in found],
                    context,
                    place,
                )
                impossible = _get(entry, "is_impossible", bool, place, None)
                _check(answers, "answers" in entry, impossible, place)
                known = answers if "answers" in entry or impossible else None
                question = _get(entry, "question", str, place)
                questions.append(Question(entry["id"], question, context, known, title, place))
    return questions


def _get(entry: Any, key: str, kind: type[Kind], place: str, *otherwise: Any) -> Kind:
    """The value of a key, if it has the type that is expected."""
    if not isinstance(entry, dict) or key not in entry:
        if otherwise and isinstance(entry, dict):
            return otherwise[0]
        raise UserError(f"{place}: it has no {key!r}; expected the layout of SQuAD's JSON files.")
    if not isinstance(entry[key], kind):
        raise UserError(f"{place}: {key!r} is {str(entry[key])[:50]!r}; expected {_KINDS[kind]}.")
    return entry[key]


def _tfds(spec: str) -> list[Question]:
    questions = []
    for row in open_rows(spec, ["id", "title", "context", "question", "answers"]):
        cells: Any = row.cells
        place = f"{row.place}, question {cells['id']!r}"
        found = zip(cells["answers"]["text"], cells["answers"]["answer_start"], strict=True)
        answers = _answers([(text, int(start)) for text, start in found], cells["context"], place)
        questions.append(
            Question(cells["id"], cells["question"], cells["context"], answers, cells["title"], place)
        )
    return questions


def _answers(found: list[tuple[str, int]], context: str, place: str) -> tuple[Answer, ...]:
    for text, start in found:
        if not text.strip():
            raise UserError(
                f"{place}: an answer is empty; expected a text, or an empty list of answers if there is none."
            )
        there = context[max(start, 0) : max(start, 0) + len(text)]
        if start < 0 or there != text:
            elsewhere = context.find(text)
            hint = f"it is at character {elsewhere}" if elsewhere >= 0 else "the context does not have it"
            raise UserError(
                f"{place}: its answer {text!r} is not at character {start} of the context, which has {there!r} there; "
                f"{hint}. Correct answer_start or the text."
            )
    return tuple(Answer(text, start) for text, start in found)


def _check(answers: tuple[Answer, ...], given: bool, impossible: bool | None, place: str) -> None:
    if impossible and answers:
        raise UserError(
            f"{place}: it has an answer although is_impossible is true; expected one or the other."
        )
    if impossible is False and given and not answers:
        raise UserError(
            f"{place}: it has no answer although is_impossible is false; expected one or the other."
        )
