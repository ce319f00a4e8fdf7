import re

import pytest

from ssl_jax.data.sources import open_source
from ssl_jax.data.tsv import Tsv
from ssl_jax.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write(name: str, data: str | bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return str(path)

    return write


def documents(spec: str, **options) -> list[list[str]]:
    source = open_source(spec, **options)
    return [source[i] for i in range(len(source))]


def test_lines_are_sentences_and_blank_lines_end_documents(write):
    text = "\ufeff\n\nOne. Still one.\nTwo\n\n \t\nThree\r\n\r\nFour  \n"
    assert documents(write("a.txt", text)) == [["One. Still one.", "Two"], ["Three"], ["Four"]]


def test_raw_text_is_split_by_rule(write):
    text = "One two. Three\nfour.\n\nA title\n\n\nSecond document. Here.\n"
    assert documents(write("a.txt", text), format="raw") == [
        ["One two.", "Three four.", "A title"],
        ["Second document.", "Here."],
    ]


def test_folders_and_patterns_in_the_order_of_names(write, tmp_path):
    for name in ("b.txt", "a.txt", "sub/c.txt", "d.md"):
        write(name, f"{name} one\n\n{name} two")
    write("empty.txt", "")
    one_each = [[f"{name} {n}"] for name in ("a.txt", "b.txt", "sub/c.txt") for n in ("one", "two")]
    assert documents(str(tmp_path)) == one_each
    assert documents(f"{tmp_path}/*.md") == [["d.md one"], ["d.md two"]]


def test_the_fingerprint_follows_the_files(write):
    path = write("a.txt", "One.\n\nTwo.")
    first = open_source(path).fingerprint
    assert open_source(path).fingerprint == first
    assert open_source(path, format="raw").fingerprint != first
    write("a.txt", "One.\n\nTwo. Three.")
    assert open_source(path).fingerprint != first


def test_invalid_utf8_is_located_and_never_replaced(write):
    path = write("a.txt", b"Good.\n\nBad: \xe9t\xe9.\n\nGood.")
    source = open_source(path)
    assert source[0] == ["Good."]
    with pytest.raises(UserError, match=f"{re.escape(path)}.*offset 12 is not UTF-8"):
        source[1]


def test_missing_and_empty_sources(write, tmp_path):
    for spec, message in {
        str(tmp_path / "absent.txt"): "no such file or folder",
        str(tmp_path / "*.nothing"): "no such file or folder",
        str(tmp_path / "absent.tsv"): "no such file",
        write("empty.txt", ""): "the corpus is empty",
        write("blank.txt", " \n\n \t\n"): "the corpus is empty",
        write("none/x.md", "text"): None,
        "": "expected 'pydocs'",
        "hf:glue": "expected 'pydocs'",
    }.items():
        if message:
            with pytest.raises(UserError, match=message):
                open_source(spec)
    with pytest.raises(UserError, match=r"no \*\.txt below this folder"):
        open_source(str(tmp_path / "none"))


def test_tsv_rows_and_documents(write):
    path = write("a.tsv", 'label\ttext\nx\t"One. Two.\ny\tThree.\n')
    rows = Tsv(path)
    assert len(rows) == 2
    assert rows[0] == {"label": "x", "text": '"One. Two.'}
    assert documents(path) == [['"One.', "Two."], ["Three."]]
    assert documents(path, column="label") == [["x"], ["y"]]
    assert Tsv(write("b.tsv", "1\t2\n"), columns=("left", "right"))[0] == {"left": "1", "right": "2"}


def test_tsv_errors_name_the_file_the_line_and_the_columns(write):
    path = write("a.tsv", "label\ttext\n\nx\tone\ny\n")
    with pytest.raises(
        UserError, match=rf"{re.escape(path)}', line 4: 1 columns; expected 2 \(label, text\)"
    ):
        Tsv(path)
    path = write("b.tsv", "label\ttext\nx\tone\n")
    with pytest.raises(UserError, match=r"line 1: no column 'body'; its columns are label, text"):
        open_source(path, column="body")
    with pytest.raises(UserError, match="it has no rows"):
        Tsv(write("c.tsv", "label\ttext\n"))
    with pytest.raises(UserError, match="offset 11 is not UTF-8"):
        Tsv(write("d.tsv", b"label\ttext\n\xff\tone\n"))
