"""Parallel text from a table or two files: pairs, untranslated ones left out, and bad input."""

import pytest

from ssl_jax.data.parallel_text import PairSource, read_pairs
from ssl_jax.errors import UserError


def pairs_of(entry):
    return read_pairs(PairSource.parse(entry))


def test_a_table(tmp_path):
    file = tmp_path / "pairs.tsv"
    rows = [
        "en\tzh",
        "a kernel\t一个内核",
        "the Linux kernel\tthe Linux kernel",
        "a file\ta file name",
        "42\t42号",
    ]
    file.write_text("\n".join(rows))
    found = pairs_of(f"en,zh={file}")
    assert list(zip(found.first, found.second, strict=True)) == [("a kernel", "一个内核"), ("42", "42号")]
    assert found.untranslated == 2
    back = pairs_of(f"zh,en={file}")
    assert back.first == found.second


def test_two_files(tmp_path):
    first, second = tmp_path / "en.txt", tmp_path / "de.conllu"
    first.write_text("A house.\nA tree.\n\n")
    second.write_text("# text = Ein Haus.\n1\tEin\n\n# text = Ein Baum.\n1\tEin\n\n")
    found = pairs_of(f"en,de={first},{second}")
    assert found.second == ["Ein Haus.", "Ein Baum."]


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ("a\nb\n", "c\n", "en.txt has 2 sentences, .*de.txt has 1"),
        ("a\n\nb\n", "c\nd\ne\n", "sentence 2: the text in en is empty"),
        ("a\nb\n", "", "has no sentence"),
        ("a\nb\n", "A\nb\n", "no pair has sides in two languages"),
    ],
)
def test_bad_files(first, second, named, tmp_path):
    (tmp_path / "en.txt").write_text(first)
    (tmp_path / "de.txt").write_text(second)
    with pytest.raises(UserError, match=named):
        pairs_of(f"en,de={tmp_path}/en.txt,{tmp_path}/de.txt")


def test_a_table_without_the_language(tmp_path):
    file = tmp_path / "pairs.tsv"
    file.write_text("en\tde\na\tb\n")
    with pytest.raises(UserError, match="no column 'fr'; its columns are en, de"):
        pairs_of(f"en,fr={file}")


@pytest.mark.parametrize("entry", ["en=a.tsv", "en,de", "en,de=", "en,de=a,b,c", "en,en=a.tsv"])
def test_bad_entries(entry):
    with pytest.raises(UserError, match="expected"):
        PairSource.parse(entry)
