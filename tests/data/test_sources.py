import bz2
import gzip
import lzma
import os
import re
import resource
from pathlib import Path

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


def test_verbatim_text_is_the_file(write):
    text = "\ufeff\n\nOne.  Two\r\n\tthree\n\n \n##four"
    path = write("a.txt", text)
    lines = ["\ufeff\n", "\n", "One.  Two\r\n", "\tthree\n", "\n", " \n", "##four"]
    assert documents(path, format="verbatim") == [lines]
    assert documents(path, format="verbatim", separator="##") == [[*lines[:-1], "##"], ["four"]]
    whole, divided = (open_source(path, "verbatim", separator=mark) for mark in ("", "##"))
    assert len({whole.fingerprint, divided.fingerprint, open_source(path).fingerprint}) == 3
    assert documents(write("a.tsv", "text\n two. Three \n"), format="verbatim") == [[" two. Three "]]


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


def test_the_fingerprint_is_that_of_the_contents(write, tmp_path):
    """A changed file with the size and the time of the old one is seen; a copy elsewhere has the same tokens."""
    path = write("a.txt", "One.\n\nTwo.")
    first, status = open_source(path).fingerprint, os.stat(path)
    write("a.txt", "One.\n\nTen.")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert os.stat(path).st_mtime_ns == status.st_mtime_ns
    assert open_source(path).fingerprint != first
    assert open_source(write("elsewhere/b.txt", "One.\n\nTwo.")).fingerprint == first


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_lines_end_at_newline_only(write, separator):
    line = f"One{separator}two."
    assert documents(write("a.txt", f"{line}\r\nThree.\n")) == [[line, "Three."]]
    path = write("a.tsv", f"text\tother{separator}\n{line}\tb\r\n")
    assert Tsv(path)[0] == {"text": line, f"other{separator}": "b"}


def test_what_a_folder_of_text_has_beside_its_text(write, tmp_path):
    """The rules of image folders: hidden copies, links to nothing and what is no file are left out."""
    write("data/a.txt", "One.")
    write("data/sub/B.TXT", "Two.")
    for other in (
        "._a.txt",
        ".a.txt",
        ".ipynb_checkpoints/a-checkpoint.txt",
        ".git/b.txt",
        "notes.md",
        "a.txt~",
    ):
        write(f"data/{other}", b"\0\5\x16\7\xff\xfe")
    (tmp_path / "data" / "folder.txt").mkdir()
    (tmp_path / "data" / "nothing.txt").symlink_to("/nonexistent")
    (tmp_path / "data" / "itself.txt").symlink_to("itself.txt")
    os.mkfifo(tmp_path / "data" / "pipe.txt")
    assert documents(str(tmp_path / "data")) == [["One."], ["Two."]]


def test_linked_folders_are_read_once(write, tmp_path):
    write("store/part/a.txt", "One.")
    write("store/b.txt", "Two.")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "part1").symlink_to(tmp_path / "store")
    (tmp_path / "links" / "file.txt").symlink_to(tmp_path / "store" / "b.txt")
    (tmp_path / "links" / "again").symlink_to(tmp_path / "links")
    (tmp_path / "store" / "up").symlink_to(tmp_path / "store")
    assert documents(str(tmp_path / "links")) == [["Two."], ["Two."], ["One."]]
    assert documents(str(tmp_path / "store")) == [["Two."], ["One."]]
    assert documents(f"{tmp_path}/store/**/*.txt") == [["Two."], ["One."]]


def test_a_folder_may_have_more_files_than_a_process_may_open(write, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(200):
        write(f"data/{number:03}.txt", f"Text {number}.")
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 50, limits[1]))
    try:
        assert documents(str(tmp_path / "data")) == [[f"Text {number}."] for number in range(200)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("One.\n\nTwo.".encode("utf-16"), "UTF-16 text, .* iconv -f UTF-16 -t"),
        (b"\xfe\xff" + "One.".encode("utf-16-be"), "UTF-16 text, .* iconv -f UTF-16 -t"),
        ("One.\n\nTwo.".encode("utf-16-le"), "UTF-16 text, .* iconv -f UTF-16LE -t"),
        ("One.\n\nTwo.".encode("utf-16-be"), "UTF-16 text, .* iconv -f UTF-16BE -t"),
        ("One.".encode("utf-32"), "UTF-32 text, .* iconv -f UTF-32 -t"),
        ("One.".encode("utf-32-be"), "UTF-32 text, .* iconv -f UTF-32BE -t"),
        ("One.".encode("utf-32-le"), "UTF-32 text, .* iconv -f UTF-32LE -t"),
        (gzip.compress(b"One.", mtime=0), "compressed with gzip: decompress it with gunzip"),
        (bz2.compress(b"One."), "bunzip2"),
        (lzma.compress(b"One."), "unxz"),
        (b"PK\3\4rest", "unzip"),
        (b"One.\n\0\0\0\0", "not text: the byte at offset 5 is 0"),
        (bytes(100), "not text: the byte at offset 0 is 0"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.tsv", "folder/a.txt"])
def test_other_encodings_and_formats_are_named(write, tmp_path, data, message, name):
    path = write(name, data)
    with pytest.raises(UserError, match=f"{re.escape(path)}.*{message}"):
        open_source(str(tmp_path / name.split("/")[0]))


def test_zeros_further_on_are_located(write):
    source = open_source(write("a.txt", b"One. " * 1000 + b"\n\n" + bytes(3)))
    assert len(source[0]) == 1
    with pytest.raises(UserError, match=r"offset 5002 is 0.* damaged"):
        source[1]


def test_names_with_colons_suffixes_in_capitals_and_compressed_files(write, tmp_path, monkeypatch):
    assert documents(write("10:30.txt", "One.\n\nTwo.")) == [["One."], ["Two."]]
    monkeypatch.chdir(tmp_path)
    assert documents("10:30.txt") == documents("*:30.txt") == [["One."], ["Two."]]
    for name in ("Q.TSV", "q.Tsv"):
        assert documents(write(name, "id\ttext\n1\thello\n")) == [["hello"]]
    assert documents(write("folder.tsv/a.txt", "One.").removesuffix("/a.txt")) == [["One."]]
    with pytest.raises(UserError, match="expected 'pydocs'"):
        open_source("tdfs:wiki")
    write("packed/a.txt.gz", gzip.compress(b"One."))
    with pytest.raises(UserError, match=r"packed'.* compressed \(a\.txt\.gz\)"):
        open_source("packed")


def test_what_is_no_file_and_cannot_be_read(write, tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.txt")
    os.mkfifo(tmp_path / "pipe.tsv")
    for name, message in {
        "pipe.txt": "neither a file nor a folder",
        "pipe.tsv": "is not a file",
        "x" * 300: "cannot be read",
        "~no_such_user/a.txt": "no such file",
        "~no_such_user/a.tsv": "no such file",
    }.items():
        with pytest.raises(UserError, match=message):
            open_source(name if name.startswith("~") else str(tmp_path / name))

    def refuse(*arguments, **keywords) -> None:
        raise PermissionError(13, "Permission denied")

    paths = [write("a.txt", "One."), write("a.tsv", "text\tid\nOne.\t1\n")]
    source = open_source(paths[0])
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    for path in paths:
        with pytest.raises(UserError, match=rf"{re.escape(path)}.*cannot be read \(Permission denied\)"):
            open_source(path)
    with pytest.raises(UserError, match=r"a\.txt.*cannot be read \(Permission denied\)"):
        source[0]


def test_a_file_that_becomes_shorter(write):
    source = open_source(write("a.txt", "One.\n\nTwo."))
    write("a.txt", "One.")
    assert source[0] == ["One."]
    with pytest.raises(UserError, match="shorter"):
        source[1]


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
    with pytest.raises(UserError, match=r"none/\*\*/\*\.md'"):  # a pattern that finds what is there
        open_source(str(tmp_path / "none"))
    assert documents(str(tmp_path / "none" / "**" / "*.md")) == [["text"]]


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
