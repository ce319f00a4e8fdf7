"""JSON lines as documents, plain and compressed."""

import gzip
import json
import subprocess
import sys

import pytest

from ssl_jax.data.labelled_tables import Columns, read_labelled_text
from ssl_jax.data.sources import open_source
from ssl_jax.errors import UserError

TEXTS = ["One sentence. Another one.\n\nA paragraph.", "Line one\nline two", "\u2028 ends no line"]


@pytest.fixture
def write(tmp_path):
    def write(name: str, lines: list[str]) -> str:
        content = "\n".join([*lines, ""]).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return str(tmp_path / name)

    return write


def of_texts(texts: list[str], field: str = "text") -> list[str]:
    return [json.dumps({"url": "u", field: text}, ensure_ascii=False) for text in texts]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json.gz", "A.JSONL.gz"])
def test_a_document_for_each_object(write, tmp_path, name):
    lines = of_texts(TEXTS)
    source = open_source(write(name, [lines[0], "", *lines[1:]]))
    assert [source[i] for i in range(len(source))] == [
        ["One sentence.", "Another one.", "A paragraph."],
        ["Line one line two"],
        ["\u2028 ends no line".strip()],
    ]
    verbatim = open_source(str(tmp_path / name), "verbatim")
    assert ["".join(verbatim[i]) for i in range(3)] == TEXTS
    assert verbatim.fingerprint != source.fingerprint


def test_several_files_are_one_source(write, tmp_path):
    write("b.jsonl", of_texts(TEXTS[:1], "body"))
    write("c.jsonl", of_texts(TEXTS[1:], "body"))
    source = open_source(f"{tmp_path}/*.jsonl", "verbatim", column="body")
    assert ["".join(source[i]) for i in range(len(source))] == TEXTS
    with pytest.raises(
        UserError, match=r"b.jsonl', byte 0: no text 'text'; it has url, body. Name the field with"
    ):
        open_source(f"{tmp_path}/*.jsonl")[0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], r"byte 0: not JSON"),
        (['["text"]'], r"byte 0: no text 'text'; it is no object"),
        (['{"text": 3}'], r"no text 'text'; it has text"),
        ([*of_texts(TEXTS[:1]), '{"text": "\udcff"}'], None),
    ],
)
def test_lines_that_are_no_text_are_named(tmp_path, lines, message):
    file = tmp_path / "a.jsonl"
    file.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    source = open_source(str(file))
    with pytest.raises(UserError, match=message or rf"offset {len(lines[0]) + 11} is not UTF-8"):
        source[len(lines) - 1]


def test_files_that_are_none(write, tmp_path):
    with pytest.raises(UserError, match="no such file, and no file matches"):
        open_source(str(tmp_path / "none*.jsonl"))
    with pytest.raises(UserError, match="the corpus is empty; expected a JSON object a line"):
        open_source(write("empty.jsonl", []))
    (tmp_path / "a.json.gz").write_bytes(b"no gzip")
    with pytest.raises(UserError, match=r"a.json.gz': cannot be read"):
        open_source(str(tmp_path / "a.json.gz"))


def test_a_csv_file_is_refused_with_a_command_that_converts_it(tmp_path):
    table = tmp_path / "my reviews.csv"
    table.write_text('text,label\n"One, and ""two"".\nThree.",good\nFour.,bad\n')
    with pytest.raises(UserError, match="a table is read from") as error:
        open_source(str(table))
    with pytest.raises(UserError, match=r"expected a \.tsv file") as labelled:
        read_labelled_text(str(table), Columns())
    command = str(error.value).partition("is converted by: ")[2]
    assert str(labelled.value).endswith(command)
    subprocess.run(command.replace("python", sys.executable, 1), shell=True, check=True)
    rows = read_labelled_text(str(tmp_path / "my reviews.jsonl"), Columns())
    assert [(row.text, row.label) for row in rows] == [
        ('One, and "two".\nThree.', "good"),
        ("Four.", "bad"),
    ]
