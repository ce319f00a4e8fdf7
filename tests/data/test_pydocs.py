import pytest

from ssl_jax.data import pydocs
from ssl_jax.data.docstrings import CODE, paragraphs, prose
from ssl_jax.errors import UserError

NUMPY_STYLE = """Return the sum of *all* elements, see :func:`~numpy.add`.

Longer text with ``code`` and a `link <https://x.org>`_ goes [1]_
over two lines.

.. versionadded:: 1.7
    Never seen.

Parameters
----------
axis : int, optional
    Axis along which the sum is computed. The default
    is to sum over all axes.
out : ndarray

See Also
--------
add : Add two arrays, element by element.

Notes
-----
.. note::
    A note is read aloud.

The value is given by::

    x = y + z

====== =======
Method Meaning of the method.
====== =======

Examples
--------
>>> sum([1, 2])
3
An output which is skipped.

A sentence between examples.
"""

GOOGLE_STYLE = """Computes the loss of a batch.

```python
never = "This is code and is not read."
```

Args:
  logits: Unnormalised scores of the classes,
    one row for each example.
  labels (int): The right class of each.

Returns:
  A scalar with the mean loss.

- First item of a list.
- Second item of a list
"""


def test_prose_of_numpy_style():
    assert prose(NUMPY_STYLE) == [
        "Return the sum of all elements, see add.",
        "Longer text with code and a link goes over two lines.",
        "Axis along which the sum is computed. The default is to sum over all axes.",
        "A note is read aloud.",
        "The value is given by:",
        "A sentence between examples.",
    ]


def test_the_sections_of_paragraphs():
    assert [paragraph.section for paragraph in paragraphs(NUMPY_STYLE)] == [
        *("", "", "parameters", "notes", "notes", "examples"),
    ]
    assert [paragraph.section for paragraph in paragraphs(GOOGLE_STYLE)] == [
        "",
        "args",
        "args",
        "returns",
        "returns",
    ]
    fields = "What it does at all.\n\n:param x: The first of the numbers.\n:returns: The sum of both numbers."
    assert [paragraph.section for paragraph in paragraphs(fields)] == ["", "parameters", "returns"]


def test_code_is_marked():
    first, second = paragraphs("It takes ``a b`` and *c*.\n\nNothing of ``it`` is `lost` at all.")
    assert first.marked == f"It takes {CODE[0]}a b{CODE[1]} and c."
    assert second.marked == f"Nothing of {CODE[0]}it{CODE[1]} is lost at all."
    assert {paragraph.marked for paragraph in paragraphs("There is no code in this one.")} == {""}


def test_prose_of_google_style():
    assert prose(GOOGLE_STYLE) == [
        "Computes the loss of a batch.",
        "Unnormalised scores of the classes, one row for each example.",
        "The right class of each.",
        "A scalar with the mean loss.",
        "First item of a list.",
    ]


@pytest.mark.parametrize(
    "part",
    ["`", "`a ", "`a<", "[", "[a](", " ", ":a", "a:b:`", ".", "(", "a(", "*", "** ", "| ", "= "],
    ids=repr,
)
@pytest.mark.parametrize("before", ["", "`", "[A", "x "])
def test_the_time_is_proportional_to_the_length_of_a_docstring(part, before):
    """A quadratic time is that of hours for a paragraph of 300,000 characters."""
    text = before + part * (300_000 // len(part)) + "x y"
    assert prose(f"This is a whole sentence.\n\nA header\n    {text}")[0] == "This is a whole sentence."


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that cannot be imported, only read."""
    folder = tmp_path / "site" / "madeup"
    (folder / "tests").mkdir(parents=True)
    (folder / "__init__.py").write_text(
        '"""What the module holds. It has one class. It has a function. It shares a paragraph.\n\n'
        'This paragraph is everywhere."""\n'
        "raise RuntimeError('imported')\n"
    )
    (folder / "b.py").write_text(
        "class Box:\n"
        '    """A box for numbers. It can be opened.\n\n    This paragraph is everywhere."""\n'
        "    if True:\n"
        "        def open(self):\n"
        '            """Open the box at once. It stays open after that."""\n'
        "def short():\n"
        '    """One sentence is too short. Two are as well."""\n'
        'add_newdoc("b", "f", ("g", """Added later by a call. So it has no body. It counts too. It is read."""))\n'
        'print("""A string that is no docstring. It is not read. Not at all. Not ever here.""")\n'
    )
    (folder / "broken.py").write_text("this is not Python {{")
    (folder / "tests" / "c.py").write_text(
        '"""Tests are not read. They are not prose. Not at all. Not ever."""'
    )
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setattr(pydocs, "PACKAGES", ("madeup", "absent_package"))
    return folder


def test_documents_of_a_package(package):
    source = pydocs.PyDocs()
    assert [source[i] for i in range(len(source))] == [
        [
            "What the module holds.",
            "It has one class.",
            "It has a function.",
            "It shares a paragraph.",
            "This paragraph is everywhere.",
        ],
        ["A box for numbers.", "It can be opened.", "Open the box at once.", "It stays open after that."],
        ["Added later by a call.", "So it has no body.", "It counts too.", "It is read."],
    ]
    assert source.modules == ["madeup", "madeup.b", "madeup.b"]


def test_is_read_once(package, monkeypatch):
    first = pydocs.PyDocs()
    monkeypatch.delattr(pydocs, "read_packages")
    assert pydocs.PyDocs().fingerprint == first.fingerprint


def test_without_packages(monkeypatch):
    monkeypatch.setattr(pydocs, "PACKAGES", ("absent_package",))
    with pytest.raises(UserError, match="no Python source files"):
        pydocs.PyDocs()


def test_real_packages_are_english_and_repeat_nothing(monkeypatch):
    monkeypatch.setattr(pydocs, "PACKAGES", ("optax", "absl"))
    documents = pydocs.read_packages()
    text = " ".join(sentence for document in documents for sentence, _ in document.sentences)
    assert len(documents) > 250
    assert len(text) > 150_000
    assert documents == pydocs.read_packages()
    assert text.split().count("the") / len(text.split()) > 0.04
    for markup in (">>>", "`", "\n", "import jax", "-----"):
        assert markup not in text
